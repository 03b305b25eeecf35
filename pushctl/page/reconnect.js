// When to connect again, as proto/README.md says: full jitter, and not at all after a final close.

const FIRST_MS = 500;
const LONGEST_MS = 20_000;
/** After a close by which the node asks for it, the first try waits up to this long. */
const ASKED_MS = 1_000;
/**
 * A connection that stood this long was a good one, and the failures before it are forgotten. A node that
 * lets people in only to throw them out again would otherwise be tried anew without any back-off.
 */
export const GOOD_WHILE_MS = 10_000;

const SERVICE_RESTART = 1012;
const MOVED = 4003;
/** The client broke the protocol: the same again would not help. */
const BROKEN = [1002, 1003, 1007, 1009];

/** Whether a close code means that connecting again is of no use. */
export function isFinal(code) {
  return (code >= 4500 && code <= 4999) || BROKEN.includes(code);
}

/** How long to wait before the next try, in milliseconds, after so many failures in a row. */
export function waitAfter(code, failures) {
  const asked = failures === 0 && (code === SERVICE_RESTART || code === MOVED);
  const ceiling = asked ? ASKED_MS : Math.min(FIRST_MS * 2 ** failures, LONGEST_MS);
  return Math.random() * ceiling;
}
