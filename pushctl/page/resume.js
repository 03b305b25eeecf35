// What somebody keeps of a connection to go on from it on another one: proto/README.md, "Positions".

/** Of two positions (manager to seq, as decimal strings of 64 bits) the larger seq of each manager. */
export function furthest(one, other) {
  const merged = { ...one };
  for (const [manager, seq] of Object.entries(other)) {
    if (merged[manager] === undefined || BigInt(seq) > BigInt(merged[manager])) merged[manager] = seq;
  }
  return merged;
}

/** The last ticket, and how far its owner has come. */
export class Bookmark {
  #ticket = null;
  #position = {};
  #asOf = "0";
  /** The ticket of the last `resume`: it is of no use any more if the node cannot go on from it. */
  #tried = null;

  /** A ticket replaces the one before. */
  keep(ticket) {
    this.#ticket = ticket;
  }

  /** What a node says in `connected` and in a heartbeat: everything up to there came. */
  reached({ position = {}, as_of: asOf = "0" }) {
    this.#position = furthest(this.#position, position);
    if (BigInt(asOf) > BigInt(this.#asOf)) this.#asOf = asOf;
  }

  /** A push was handed out. One to a single node has no number. */
  handedOut({ manager, seq }) {
    if (manager !== undefined && seq !== undefined) this.reached({ position: { [manager]: seq } });
  }

  /** The `resume` of a connect frame; `undefined` without a ticket. `attempt` counts from 0. */
  resume(attempt) {
    this.#tried = this.#ticket;
    if (this.#ticket === null) return undefined;
    const known = this.#asOf === "0" ? {} : { as_of: this.#asOf };
    return { ticket: this.#ticket, position: this.#position, ...known, attempt };
  }

  /** The node could not go on from there: what comes now is the beginning. */
  startAnew() {
    if (this.#ticket === this.#tried) this.#ticket = null;
    this.#position = {};
    this.#asOf = "0";
  }
}
