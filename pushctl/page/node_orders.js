// The buttons by which a node is drained, killed and started again. They act at once: this fleet is there to
// be tried out.

import { setText } from "./keyed.js";
import { order } from "./orders.js";

const EXPLAINED = {
  drain: "it sends its people to other nodes, then ends",
  kill: "it is gone from one moment to the next, as in a crash",
  start: "a new node at the same addresses",
};
/** What may be done with a node in each of its states. */
const POSSIBLE = {
  starting: ["drain", "kill"],
  ready: ["drain", "kill"],
  draining: ["kill"],
  stopped: ["start"],
};
/** So long after the answer the fleet has been told of anew, whatever its state. */
const TOLD_WITHIN_MS = 2_000;

export class NodeOrders {
  #nodeId;
  #buttons;
  #problem;
  #state = null;
  /** The order that is being carried out: what it was, in which state, and when it was answered. */
  #pending = null;

  constructor(nodeId, card) {
    this.#nodeId = nodeId;
    this.#problem = card.querySelector(".problem");
    this.#buttons = [...card.querySelectorAll(".orders button")];
    for (const button of this.#buttons) {
      const verb = button.dataset.order;
      button.setAttribute("aria-label", `${button.textContent} ${nodeId}`);
      button.title = `${button.textContent} ${nodeId}: ${EXPLAINED[verb]}`;
      button.addEventListener("click", () => this.#press(verb));
    }
  }

  update(state) {
    this.#state = state;
    const { state: before, answeredAt = null } = this.#pending ?? {};
    const isOver = before !== state || performance.now() - answeredAt > TOLD_WITHIN_MS;
    if (answeredAt !== null && isOver) this.#pending = null;
    this.#show();
  }

  async #press(verb) {
    if (this.#pending !== null || !this.#isPossible(verb)) return;
    const pending = { verb, state: this.#state, answeredAt: null };
    this.#pending = pending;
    setText(this.#problem, "");
    this.#show();
    const problem = await order(this.#nodeId, verb);
    setText(this.#problem, problem);
    pending.answeredAt = performance.now();
    // What the fleet is like now has been told before the answer, or comes next.
    if (problem !== "" || this.#state !== pending.state) this.#pending = null;
    this.#show();
  }

  #isPossible(verb) {
    return (POSSIBLE[this.#state] ?? []).includes(verb);
  }

  #show() {
    const focused = this.#buttons.find((button) => button === document.activeElement);
    const isStopped = this.#state === "stopped";
    for (const button of this.#buttons) {
      const verb = button.dataset.order;
      button.hidden = (verb === "start") !== isStopped;
      // Not `disabled`: that would take the focus away from whoever has just pressed it.
      button.setAttribute("aria-disabled", String(this.#pending !== null || !this.#isPossible(verb)));
      button.setAttribute("aria-busy", String(this.#pending?.verb === verb));
    }
    if (focused?.hidden) this.#buttons.find(({ hidden }) => !hidden).focus();
  }
}
