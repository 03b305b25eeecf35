// A push over HTTP, as curl would make it.

/** What an answer says when the server could not be asked at all. */
const GONE = { code: "no answer", message: "the server cannot be reached" };

/**
 * Pushes; `target` is `{kind, ids}`. Says `{answer, took}` (milliseconds) or `{error: {code, message,
 * fields}}` in the server's own words.
 */
export async function push(target, content, uri) {
  const began = performance.now();
  try {
    const response = await fetch(...requestFor(target, content, uri));
    const body = await response.json();
    if (response.ok) return { answer: body, took: performance.now() - began };
    return { error: withFields(body.error) };
  } catch {
    return { error: { ...GONE, fields: [] } };
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
