// What the page may have a node do: drain, be killed, start again.

/** A killed node is gone within this time, or something is wrong. */
const PATIENCE_MS = 5_000;

/** Orders a node to `drain`, `kill` or `start`; says what was wrong, or nothing. */
export async function order(nodeId, verb) {
  try {
    const response = await fetch(`/page/nodes/${encodeURIComponent(nodeId)}/${verb}`, {
      method: "POST",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (response.ok) return "";
    const { error } = await response.json();
    return error.message;
  } catch {
    return "the server does not answer";
  }
}
