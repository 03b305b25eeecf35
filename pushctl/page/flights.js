// Messages on their way, drawn slowly enough to be seen: from the business server to the manager, from there
// to every node, and, where somebody wants them, on to people.

import { atNextFrame } from "./frames.js";
import { Paint } from "./paint.js";
import { pointAt } from "./routes.js";

const TO_MANAGER_MS = 260;
const TO_NODE_MS = 640;
const TO_PEOPLE_MS = 380;
/** A message that a node filters fades for so long. */
const FADE_MS = 420;
/** A node that has not answered by then is left alone: its acknowledgement may have been lost under load. */
const PATIENCE_MS = 3_000;
/** More messages at once than this are a swarm in which nothing can be told apart. */
const MOST = 24;
/** Dots from one node to its people. */
const MOST_DOTS = 10;

const WHOLE_WAY_MS = TO_MANAGER_MS + TO_NODE_MS + TO_PEOPLE_MS;

export class Flights {
  #stage;
  #paint;
  #air = new Map();
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  /** `stage` knows the lines, the nodes and where their people are. */
  constructor(canvas, stage) {
    this.#stage = stage;
    this.#paint = new Paint(canvas);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.clear();
    });
  }

  /** How long from now a message that comes now is drawn to be with people. */
  delay() {
    return this.#mayFly() ? WHOLE_WAY_MS : 0;
  }

  /** Draws a push; says whether it does. A hidden page draws nothing. */
  start(push) {
    if (document.hidden) return true;
    if (this.#air.size >= MOST) return false;
    const legs = push.nodes.map((node) => ({
      node,
      recipients: null,
      arrivedAt: null,
      dots: [],
      done: false,
    }));
    this.#air.set(push.seq, { push, legs, since: performance.now() });
    if (this.#calm.matches) this.#stage.routes.highlight("");
    atNextFrame(this.#draw);
    return true;
  }

  /** A node has placed a message. */
  ack({ seq, node_id: node, recipients }) {
    const leg = this.#air.get(seq)?.legs.find((candidate) => candidate.node === node);
    if (leg) leg.recipients = recipients;
  }

  clear() {
    this.#air.clear();
    this.#paint.clear();
  }

  #mayFly() {
    return !document.hidden && !this.#calm.matches && this.#air.size < MOST;
  }

  #draw = () => {
    const now = performance.now();
    this.#paint.clear();
    for (const [seq, flight] of this.#air) {
      if (this.#calm.matches) this.#settle(flight, now);
      else this.#move(flight, now);
      if (flight.legs.every((leg) => leg.done)) this.#air.delete(seq);
    }
    if (this.#air.size > 0) atNextFrame(this.#draw);
  };

  /** Where nothing may move: nodes and people light up as soon as the answer is known. */
  #settle({ push, legs, since }, now) {
    for (const leg of legs.filter((candidate) => !candidate.done)) {
      if (leg.recipients === null && now - since < PATIENCE_MS) continue;
      leg.done = true;
      if (leg.recipients === null) continue;
      this.#stage.routes.highlight(leg.node);
      this.#stage.judge(leg.node, leg.recipients);
      if (leg.recipients > 0) this.#stage.highlight(leg.node, push);
    }
  }

  #move(flight, now) {
    const elapsed = now - flight.since;
    if (elapsed < TO_MANAGER_MS) {
      this.#paint.comet(this.#stage.routes.toManager, ease(elapsed / TO_MANAGER_MS));
      return;
    }
    const progress = (elapsed - TO_MANAGER_MS) / TO_NODE_MS;
    for (const leg of flight.legs) if (!leg.done) this.#moveLeg(flight, leg, progress, now);
  }

  #moveLeg({ push, since }, leg, progress, now) {
    const line = this.#stage.routes.toNodes.get(leg.node);
    if (line === undefined) {
      leg.done = true;
    } else if (progress < 1) {
      this.#paint.comet(line, ease(progress));
    } else if (leg.recipients === null) {
      leg.done = now - since > PATIENCE_MS;
      this.#paint.dot(line.at(-1), 1);
    } else {
      if (leg.arrivedAt === null) this.#arrive(push, leg, line.at(-1), now);
      this.#spread(push, leg, line.at(-1), now - leg.arrivedAt);
    }
  }

  #arrive(push, leg, port, now) {
    leg.arrivedAt = now;
    this.#stage.judge(leg.node, leg.recipients);
    if (leg.recipients > 0) {
      const places = this.#stage.placesFor(leg.node, push, MOST_DOTS);
      leg.dots = places.map((place) => [port, place]);
    }
  }

  #spread(push, leg, port, elapsed) {
    if (leg.recipients === 0) {
      this.#paint.filtered(port, elapsed / FADE_MS);
      leg.done = elapsed > FADE_MS;
      return;
    }
    const progress = elapsed / TO_PEOPLE_MS;
    for (const way of leg.dots) this.#paint.dot(pointAt(way, ease(progress)), 0.85);
    if (progress >= 1) {
      leg.done = true;
      this.#stage.highlight(leg.node, push);
    }
  }
}

/** Starts and ends gently. */
function ease(progress) {
  return progress < 0.5 ? 2 * progress ** 2 : 1 - (2 - 2 * progress) ** 2 / 2;
}
