// A line chart without axes: what matters is the shape, the figure stands beside it.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 180;
const HEIGHT = 40;

export class Line {
  element = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  #area = svg("path", { class: "area" });
  #lines = [svg("path", { class: "first" }), svg("path", { class: "second" })];

  constructor(label) {
    this.element.setAttribute("aria-label", label);
    this.element.append(this.#area, ...this.#lines);
  }

  /**
   * Draws one or two series, the newest value at the right edge; `null` is a gap. `top` is the end of the
   * scale.
   */
  draw(series, length, top = niceTop(Math.max(0, ...series.flat()))) {
    series.forEach((values, i) => this.#lines[i].setAttribute("d", pathOf(pointsOf(values, length, top))));
    const first = pointsOf(series[0], length, top);
    this.#area.setAttribute("d", first.map(areaOf).join(""));
  }
}

/** Runs of points without a gap. */
function pointsOf(values, length, top) {
  const step = WIDTH / (length - 1);
  const runs = [[]];
  values.forEach((value, i) => {
    if (value === null) {
      runs.push([]);
      return;
    }
    const x = WIDTH - (values.length - 1 - i) * step;
    runs.at(-1).push([x.toFixed(1), (HEIGHT - 2 - (HEIGHT - 4) * Math.min(value / top, 1)).toFixed(1)]);
  });
  return runs.filter((run) => run.length > 0);
}

function pathOf(runs) {
  // A line to itself makes a lone point a dot.
  return runs
    .map((run) => `M${run.map((point) => point.join(" ")).join("L")}${run.length === 1 ? "h0" : ""}`)
    .join("");
}

function areaOf(run) {
  const outline = run.map((point) => point.join(" ")).join("L");
  return `M${run[0][0]} ${HEIGHT}L${outline}L${run.at(-1)[0]} ${HEIGHT}Z`;
}

/** The next of 1, 2, 5, 10 … above: a scale that does not jump with every value. */
function niceTop(most) {
  if (most <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((factor) => factor * unit).find((top) => top >= most);
}

function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
