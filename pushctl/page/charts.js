// Five small charts of the last 90 seconds, each with its figure and the name of its metric.

import { Line } from "./line.js";
import { atNextFrame } from "./frames.js";
import { setText } from "./keyed.js";
import { percent, short, whole } from "./words.js";

const SECONDS = 90;

const rate = (value) => short(value);
const millis = (value) => `${short(value)} ms`;
/** Stands where there is nothing to say: no push in the last second, for one. */
const NONE = "–";

/**
 * `lines` are the members of a `figures` event that are drawn: the first in large, the second with its label.
 * `note` is a second figure that has no line.
 */
const CHARTS = [
  {
    title: "pushes/s",
    lines: ["pushes_per_s"],
    format: rate,
    label: "in all",
    note: (figures) => whole(figures.pushes),
    metric: "push_manager_requests_total: pushes accepted by the manager, per second",
  },
  {
    title: "deliveries/s",
    lines: ["deliveries_per_s"],
    format: rate,
    label: "each push to",
    note: (figures) => eachPush(figures),
    metric: "connect_node_delivered_messages_total: messages placed in connections, per second",
  },
  {
    title: "efficiency",
    lines: ["efficiency_now", "efficiency"],
    label: "since start",
    format: percent,
    top: 1,
    metric:
      "push_manager_broadcast_delivered_total / push_manager_broadcast_nodes_total: " +
      "of the nodes a push went to, how many had somebody for it",
  },
  {
    title: "answer, p50",
    lines: ["request_p50_ms", "request_p99_ms"],
    label: "p99",
    format: millis,
    metric: "push_manager_request_seconds: from a push's acceptance to its answer",
  },
  {
    title: "acknowledged, p50",
    lines: ["ack_p50_ms", "ack_p99_ms"],
    label: "p99",
    format: millis,
    metric: "push_manager_ack_seconds: from a push's acceptance to one node's acknowledgement",
  },
];

function eachPush({ pushes_per_s: pushes, deliveries_per_s: deliveries }) {
  return pushes > 0 ? whole(Math.round(deliveries / pushes)) : NONE;
}

export class Charts {
  #history = [];
  #addedAt = 0;
  #charts = CHARTS.map((chart) => createChart(chart));

  constructor(place) {
    place.append(...this.#charts.map(({ figure }) => figure));
  }

  add(figures) {
    // Of seconds without figures, while the page was hidden or the server gone, nothing is known: a gap.
    const now = performance.now();
    const missed = Math.min(Math.floor((now - this.#addedAt) / 1_000) - 1, SECONDS);
    if (this.#history.length > 0) for (let i = 0; i < missed; i += 1) this.#history.push({});
    this.#addedAt = now;
    this.#history.push(figures);
    this.#history.splice(0, this.#history.length - SECONDS);
    atNextFrame(this.#draw);
  }

  clear() {
    this.#history = [];
    atNextFrame(this.#draw);
  }

  #draw = () => {
    const newest = this.#history.at(-1);
    for (const { chart, line, large, small } of this.#charts) {
      const series = chart.lines.map((member) => this.#history.map((figures) => figures[member] ?? null));
      line.draw(series, SECONDS, chart.top);
      const [first, second] = series.map((values) => textOf(values.at(-1), chart.format));
      setText(large, first);
      setText(small, chart.note === undefined ? second : newest === undefined ? NONE : chart.note(newest));
    }
  };
}

function textOf(value, format) {
  return value === null || value === undefined ? NONE : format(value);
}

function createChart(chart) {
  const figure = element("figure", "panel chart");
  figure.title = chart.metric;
  const [large, small] = [element("strong", "", NONE), element("strong", "", NONE)];
  const [first, second] = [element("span", "value"), element("span", "value second")];
  first.append(large);
  second.append(element("small", "", chart.label), " ", small);
  const caption = element("figcaption", "");
  caption.append(element("span", "title", chart.title), first, second);
  const line = new Line(`The last ${SECONDS} seconds of ${chart.metric}`);
  figure.append(caption, line.element);
  return { chart, figure, line, large, small };
}

function element(name, className, text = "") {
  return Object.assign(document.createElement(name), { className, textContent: text });
}
