// How numbers and messages read.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

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

export function people(number) {
  return counted(number, "person", "people");
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
  const names = ids.join(", ") + (more > 0 ? ` and ${whole(more)} more` : "");
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
