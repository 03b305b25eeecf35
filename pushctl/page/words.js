// How numbers and messages read.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
/** More names than this are counted: the rest of the line has to be seen, too. */
const NAMED = 3;

export function whole(number) {
  return WHOLE.format(number);
}

/** Two digits of what is small: enough for a figure that changes every second. */
export function short(number) {
  return number >= 10 ? WHOLE.format(number) : SHORT.format(number);
}

export function percent(ratio) {
  return `${Math.round(ratio * 100)} %`;
}

export function counted(number, one, many) {
  return `${whole(number)} ${number === 1 ? one : many}`;
}

/** What a node counts: somebody with two sockets is two of them. */
export function connections(number) {
  return counted(number, "connection", "connections");
}

/** The first names, and how many there are beside them: `more` of those are not in the list. */
export function few(names, more = 0) {
  const rest = Math.max(names.length - NAMED, 0) + more;
  return names.slice(0, NAMED).join(", ") + (rest > 0 ? ` and ${whole(rest)} more` : "");
}

/** A name inside a sentence, which it cannot turn round by its own direction of writing. */
export function isolated(name) {
  return `\u2068${name}\u2069`;
}

/** How it went with somebody whose connection was lost; `origin` names the node they come from. */
export function wentWell({ from, to, missed }, { origin = false } = {}) {
  const where = from === to ? `back on ${to}` : `moved ${origin ? `from ${from} ` : ""}to ${to}`;
  return `${where}, ${missed ? "may have missed messages" : "nothing missed"}`;
}

/** Content as far as it can be read; `text` is null for bytes that are not text. */
export function contentOf(text, bytes) {
  return text === null ? `${counted(bytes, "byte", "bytes")}, not text` : text;
}

/** The content of a client's push frame: `text`, or base64 for what is not text; neither if it is empty. */
export function contentOfFrame({ text, content }) {
  return content === undefined ? (text ?? "") : contentOf(null, atob(content).length);
}

export function targetOf({ kind, ids, more }) {
  const names = few(ids, more);
  switch (kind) {
    case "room":
      return `room ${names}`;
    case "user":
      return `user ${names}`;
    case "users":
      return `users ${names}`;
    default:
      return "everyone";
  }
}
