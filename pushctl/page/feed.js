// The event stream of the server: what happens in the fleet, and whether the server is there at all.

const EVENTS = ["fleet", "figures", "push", "ack", "skipped"];

/** The server tells figures every second; so long without a word means that it is gone, or hangs. */
const SILENCE_MS = 6_000;
const FIRST_RETRY_MS = 400;
const LONGEST_RETRY_MS = 3_000;

/**
 * Passes on the events of the stream as CustomEvents with the data as `detail`; beside them `live` when the
 * stream stands and `lost` when it is gone. It comes back by itself: EventSource alone would not after every
 * error. A page that nobody sees has no stream: a browser opens six connections to a server, for all of its
 * tabs together, and the seventh tab would wait for ever.
 */
export class Feed extends EventTarget {
  #url;
  #source = null;
  #live = false;
  /** Whether what comes next is the first since somebody looks again. */
  #isBack = false;
  #heardAt = 0;
  #failures = 0;

  constructor(url) {
    super();
    this.#url = url;
  }

  open() {
    this.#connect();
    setInterval(() => this.#checkSilence(), SILENCE_MS / 3);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#rest();
      else this.#connect();
    });
  }

  /** Whether the server is there; of a page that nobody sees, whether it was when somebody last did. */
  get isLive() {
    return this.#live;
  }

  #connect() {
    if (document.hidden || this.#source !== null) return;
    const source = new EventSource(this.#url);
    this.#source = source;
    this.#heardAt = performance.now();
    for (const name of EVENTS) source.addEventListener(name, (event) => this.#take(name, event.data));
    source.addEventListener("error", () => this.#lose(source));
  }

  #rest() {
    this.#source?.close();
    this.#source = null;
    this.#isBack = true;
  }

  #take(name, data) {
    this.#heardAt = performance.now();
    if (!this.#live || this.#isBack) {
      this.#live = true;
      this.#isBack = false;
      this.#failures = 0;
      this.#tell("live");
    }
    this.#tell(name, JSON.parse(data));
  }

  #checkSilence() {
    if (this.#source !== null && performance.now() - this.#heardAt > SILENCE_MS) this.#lose(this.#source);
  }

  #lose(source) {
    if (source !== this.#source) return;
    source.close();
    this.#source = null;
    this.#live = false;
    this.#tell("lost");
    const ceiling = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LONGEST_RETRY_MS);
    this.#failures += 1;
    setTimeout(() => this.#connect(), ceiling * (0.5 + Math.random() / 2));
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
