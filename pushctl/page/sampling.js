// Says how many messages are not drawn when there are too many to be told apart.

import { atNextFrame } from "./frames.js";
import { setText } from "./keyed.js";
import { counted } from "./words.js";

/** So long after the last message that was not drawn, the note goes. */
const LINGER_MS = 6_000;

export class Sampling {
  #place = document.getElementById("sampling");
  #undrawn = 0;
  #timer = null;

  /** So many more were not drawn. */
  skip(pushes) {
    this.#undrawn += pushes;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.clear(), LINGER_MS);
    atNextFrame(this.#draw);
  }

  clear() {
    this.#undrawn = 0;
    atNextFrame(this.#draw);
  }

  #draw = () => {
    this.#place.hidden = this.#undrawn === 0;
    if (this.#undrawn > 0)
      setText(this.#place, `a sample is drawn: ${counted(this.#undrawn, "message", "messages")} not shown`);
  };
}
