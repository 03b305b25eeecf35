// The lines of the picture: from the business server to the manager, and from there to every node.

import { reconcile } from "./keyed.js";

/** Points of a line that flights go along: enough for a smooth curve. */
const STEPS = 32;
/** How far left of the nodes the common line of a narrow screen runs. */
const TRUNK = 10;
const CORNER = 8;
const OUT_OF_SIGHT = { x: -100, y: -100 };

export class Routes {
  toManager = [];
  /** Node id to the points of its line. */
  toNodes = new Map();
  #stage;
  #svg;
  #source;
  #manager;

  constructor(stage, svg, source, manager) {
    this.#stage = stage;
    this.#svg = svg;
    this.#source = source;
    this.#manager = manager;
  }

  /**
   * Lays the lines anew; `cards` are node ids, elements, and whether there is a `link`: "true", "false", or
   * "stopped" where there is nothing to be linked to.
   */
  lay(cards) {
    const origin = this.#stage.getBoundingClientRect();
    const source = boxIn(origin, this.#source);
    const manager = boxIn(origin, this.#manager);
    const nodes = cards.map(({ id, element, link }) => ({ id, link, box: boxIn(origin, element) }));
    const stacked = nodes.length > 1 && nodes.every(({ box }) => Math.abs(box.left - nodes[0].box.left) < 2);
    const line = stacked ? trunk : fan;
    const lines = [
      { id: "", d: `M${source.right} ${source.middle}H${manager.left}`, link: "true" },
      ...nodes.map(({ id, link, box }) => ({ id, link, d: line(manager, box) })),
    ];
    const paths = new Map();
    reconcile(this.#svg, lines, {
      key: ({ id }) => id,
      create: () => document.createElementNS("http://www.w3.org/2000/svg", "path"),
      update: (path, { id, d, link }) => {
        path.setAttribute("d", d);
        path.dataset.linked = link;
        paths.set(id, path);
      },
    });
    this.toManager = pointsOf(paths.get(""));
    this.toNodes = new Map(nodes.map(({ id }) => [id, pointsOf(paths.get(id))]));
    this.paths = paths;
  }

  /** Lets a line light up, where nothing may move. */
  highlight(id) {
    this.paths?.get(id)?.animate([{ stroke: "var(--accent)", strokeWidth: 3 }, {}], 900);
  }
}

/** Where a flight is that has gone this part of its way; out of sight as long as the line is not laid. */
export function pointAt(points, progress) {
  if (points.length === 0) return OUT_OF_SIGHT;
  const place = Math.min(Math.max(progress, 0), 1) * (points.length - 1);
  const before = points[Math.floor(place)];
  const after = points[Math.ceil(place)];
  const rest = place - Math.floor(place);
  return { x: before.x + (after.x - before.x) * rest, y: before.y + (after.y - before.y) * rest };
}

function boxIn(origin, element) {
  const rect = element.getBoundingClientRect();
  const [left, top] = [rect.left - origin.left, rect.top - origin.top];
  return {
    left,
    top,
    right: left + rect.width,
    bottom: top + rect.height,
    centre: left + rect.width / 2,
    middle: top + rect.height / 2,
  };
}

/** Side by side: curves that fan out. */
function fan(manager, node) {
  const bend = (node.top - manager.bottom) * 0.6;
  return (
    `M${manager.centre} ${manager.bottom}C${manager.centre} ${manager.bottom + bend} ` +
    `${node.centre} ${node.top - bend} ${node.centre} ${node.top}`
  );
}

/** One below the other: a common line beside them, with a branch to each. */
function trunk(manager, node) {
  const x = node.left - TRUNK;
  const y = node.top + 22;
  const turn = manager.bottom + CORNER;
  return (
    `M${manager.centre} ${manager.bottom}V${turn}H${x + CORNER}Q${x} ${turn} ${x} ${turn + CORNER}` +
    `V${y - CORNER}Q${x} ${y} ${x + CORNER} ${y}H${node.left}`
  );
}

function pointsOf(path) {
  const length = path.getTotalLength();
  return Array.from({ length: STEPS + 1 }, (_, step) => {
    const { x, y } = path.getPointAtLength((length * step) / STEPS);
    return { x, y };
  });
}
