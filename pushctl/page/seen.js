// Messages that came already: business servers retry, and then the same id may come again.

const REMEMBERED_MS = 10 * 60_000;
/** Ids in one generation: bounds the memory of a page that is left open under load. */
const MOST = 4_096;

/**
 * Remembers ids for 10 minutes, or the last 4,096 at least, in two generations of which the older is dropped.
 */
export class Seen {
  #young = new Set();
  #old = new Set();
  #since = performance.now();

  /** Whether this id is new; from then on it is not. */
  isNew(id) {
    if (this.#young.has(id) || this.#old.has(id)) return false;
    const now = performance.now();
    if (this.#young.size >= MOST || now - this.#since > REMEMBERED_MS) {
      this.#old = this.#young;
      this.#young = new Set();
      this.#since = now;
    }
    this.#young.add(id);
    return true;
  }
}
