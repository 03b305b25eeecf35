// The last messages, whoever pushed them, with what each node made of them.

import { reconcile, setText } from "./keyed.js";
import { atNextFrame } from "./frames.js";
import { connections, contentOf, counted, percent, targetOf, whole } from "./words.js";

const KEPT = 50;
/** The heading of a larger fleet would be longer than the list is wide. */
const NODES_NAMED = 5;
/** Under load the list is drawn this often, and spoken of far more rarely. */
const DRAW_MS = 250;
const SPEAK_MS = 5_000;

export class Messages {
  #list = document.getElementById("messages");
  #messages = [];
  #bySeq = new Map();
  #unlisted = 0;
  #timer = null;
  #spokenAt = -Infinity;

  add(push) {
    const message = { push, acks: new Map() };
    this.#messages.unshift(message);
    this.#bySeq.set(push.seq, message);
    for (const old of this.#messages.splice(KEPT)) this.#bySeq.delete(old.push.seq);
    this.#refresh();
  }

  ack({ seq, node_id: node, recipients }) {
    const message = this.#bySeq.get(seq);
    if (message === undefined) return;
    message.acks.set(node, recipients);
    this.#refresh();
    if (message.acks.size === message.push.nodes.length) this.#speak(message);
  }

  skip(pushes) {
    this.#unlisted += pushes;
    this.#refresh();
  }

  clear() {
    this.#messages = [];
    this.#bySeq.clear();
    this.#unlisted = 0;
    this.#refresh();
  }

  #refresh() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      atNextFrame(this.#draw);
    }, DRAW_MS);
  }

  #draw = () => {
    const nodes = this.#messages[0]?.push.nodes ?? [];
    const notes = [
      nodes.length > 0 && nodes.length <= NODES_NAMED ? `connections on ${nodes.join(" · ")}` : "",
      this.#unlisted > 0 ? `${whole(this.#unlisted)} more not listed` : "",
    ];
    setText(document.getElementById("messages-note"), notes.filter(Boolean).join(", "));
    reconcile(this.#list, this.#messages, { key: ({ push }) => push.seq, create, update });
  };

  /** Says one message aloud; the next only after a while, or nothing else could be heard. */
  #speak({ push, acks }) {
    const now = performance.now();
    if (now - this.#spokenAt < SPEAK_MS) return;
    this.#spokenAt = now;
    const counts = [...acks.values()];
    const reached = counts.reduce((sum, count) => sum + count, 0);
    const nodes = counts.filter((count) => count > 0).length;
    setText(
      document.getElementById("spoken"),
      `Message ${push.seq} to ${targetOf(push.target)} reached ${connections(reached)} ` +
        `on ${nodes} of ${counted(acks.size, "node", "nodes")}.`,
    );
  }
}

function create({ push }) {
  const item = document.createElement("li");
  item.value = push.seq;
  item.append(
    span("seq", `#${push.seq}`),
    span("target", targetOf(push.target)),
    span("content", contentOf(push.text, push.bytes)),
    span("counts", ""),
    span("ratio", ""),
  );
  const details = [
    push.message_id,
    push.api,
    push.uri,
    counted(push.bytes, "byte", "bytes"),
    push.nodes.join(" · "),
  ];
  item.title = details.filter(Boolean).join(", ");
  return item;
}

function update(item, { push, acks }) {
  const counts = push.nodes.map((node) => countOf(acks.get(node)));
  const delivered = [...acks.values()].filter((count) => count > 0).length;
  setText(item.querySelector(".counts"), counts.join(" · "));
  setText(
    item.querySelector(".ratio"),
    acks.size < push.nodes.length ? "" : percent(delivered / Math.max(push.nodes.length, 1)),
  );
}

function countOf(recipients) {
  return recipients === undefined ? "…" : recipients === 0 ? "–" : whole(recipients);
}

function span(className, text) {
  return Object.assign(document.createElement("span"), { className, textContent: text });
}
