// The canvas above the picture: dots, their tails, and what is left of a message that nobody wanted.

import { pointAt } from "./routes.js";

const RADIUS = 5;
const TAIL = 5;
/** Finer than this nobody sees, but every pixel costs. */
const MOST_PIXELS_PER_POINT = 2;

export class Paint {
  #canvas;
  #pen;
  #accent = "";
  #faint = "";
  #isClear = true;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#fit()).observe(canvas);
    document.addEventListener("themechange", () => this.#readColours());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#readColours());
    this.#readColours();
  }

  clear() {
    if (this.#isClear) return;
    this.#pen.clearRect(0, 0, this.#canvas.clientWidth, this.#canvas.clientHeight);
    this.#isClear = true;
  }

  /** A dot this far along a line, with a tail. */
  comet(line, progress) {
    for (let i = TAIL; i > 0; i -= 1) {
      this.#disc(
        pointAt(line, progress - i * 0.022),
        RADIUS * (1 - i / (TAIL + 2)),
        0.34 * (1 - i / (TAIL + 1)),
        this.#accent,
      );
    }
    this.dot(pointAt(line, progress), 1);
  }

  dot(point, scale) {
    this.#disc(point, RADIUS * scale, 1, this.#accent);
  }

  /** A message that is dropped here: it loses its colour, grows and is gone. */
  filtered(point, progress) {
    const rest = Math.max(1 - progress, 0);
    this.#disc(point, RADIUS * (1 + progress * 1.4), rest * 0.75, this.#faint);
  }

  #disc({ x, y }, radius, alpha, colour) {
    const pen = this.#pen;
    this.#isClear = false;
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fill();
  }

  #fit() {
    const scale = Math.min(devicePixelRatio, MOST_PIXELS_PER_POINT);
    this.#canvas.width = this.#canvas.clientWidth * scale;
    this.#canvas.height = this.#canvas.clientHeight * scale;
    this.#pen.scale(scale, scale);
    this.#isClear = true;
  }

  /** The style sheet gives the canvas its colours, as those of its text and outline. */
  #readColours() {
    const style = getComputedStyle(this.#canvas);
    this.#accent = style.color;
    this.#faint = style.outlineColor;
  }
}
