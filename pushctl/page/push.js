// A push over HTTP, as curl would make it.

/** The manager waits for its nodes 1 s at most; one that takes longer than this is not asked, or hangs. */
const PATIENCE_MS = 5_000;
/** Of an answer that is none, what is told. */
const TOLD = 120;

/**
 * Pushes; `target` is `{kind, ids}`. Says `{answer, took}` (milliseconds) or `{error: {code, message,
 * fields}}`: in the server's own words, or in those of this page if the server has none.
 */
export async function push(target, content, uri) {
  const unaskable = whyNot(target, uri);
  if (unaskable !== null) return failed("not pushed", unaskable);
  const [path, request] = requestFor(target, content, uri);
  const began = performance.now();
  let response, text;
  try {
    response = await fetch(path, { ...request, signal: AbortSignal.timeout(PATIENCE_MS) });
    text = await response.text();
  } catch (error) {
    return error.name === "TimeoutError" ? tooLate() : failed("no answer", "the server cannot be reached");
  }
  const took = performance.now() - began;
  const body = parsed(text);
  if (response.ok && body?.message_id !== undefined) return { answer: body, took };
  if (body?.error !== undefined) return { error: withFields(body.error) };
  return failed(`HTTP ${response.status}`, `the answer is not a manager's: ${text.slice(0, TOLD)}`);
}

/** What keeps a browser from asking for it, if anything does. */
function whyNot({ kind, ids }, uri) {
  const broken = [...ids, uri].find((text) => !text.isWellFormed());
  if (broken !== undefined) return `${JSON.stringify(broken)} is no valid Unicode`;
  if (kind === "everyone") return null;
  if (ids.length === 0 || ids.includes(""))
    return `a ${kind === "room" ? "room" : "user"} to push to is missing`;
  // Such a name in the path of a URL is a way to another place, however it is written.
  if (kind !== "users" && [".", ".."].includes(ids[0]))
    return `a browser cannot ask for a ${kind} called ${ids[0]}; pushctl can`;
  return null;
}

function tooLate() {
  return failed(
    "no answer",
    `nothing came within ${PATIENCE_MS / 1_000} s, and whether it was pushed is not known. A browser opens ` +
      "six connections to a server: too many windows with this page leave none for a push.",
  );
}

function failed(code, message) {
  return { error: { code, message, fields: [] } };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function requestFor({ kind, ids }, content, uri) {
  if (kind === "users") {
    const body = JSON.stringify({ user_ids: ids, text: content, uri });
    return ["/v1/push-to-users", { method: "POST", body }];
  }
  const query = uri === "" ? "" : `?uri=${encodeURIComponent(uri)}`;
  return [`${pathFor(kind, ids)}${query}`, { method: "POST", body: content }];
}

function pathFor(kind, [id]) {
  switch (kind) {
    case "room":
      return `/v1/rooms/${encodeURIComponent(id)}/push`;
    case "user":
      return `/v1/users/${encodeURIComponent(id)}/push`;
    default:
      return "/v1/broadcast";
  }
}

function withFields({ code, message, details = [] }) {
  const fields = details.flatMap((detail) => detail.field_violations ?? []);
  return { code, message, fields: fields.map(({ field, description }) => `${field}: ${description}`) };
}
