// The last messages, whoever pushed them, with what each node made of them; between them who went to another
// node, and how it went.

import { reconcile, setText } from "./keyed.js";
import { atNextFrame } from "./frames.js";
import {
  connections,
  contentOf,
  counted,
  few,
  isolated,
  percent,
  targetOf,
  wentWell,
  whole,
} from "./words.js";

const KEPT = 50;
/** The heading of a larger fleet would be longer than the list is wide. */
const NODES_NAMED = 5;
/** Under load the list is drawn this often, and spoken of far more rarely. */
const DRAW_MS = 250;
const SPEAK_MS = 5_000;
/** Those who go the same way within this time are told of in one line. */
const TOGETHER_MS = 3_000;

export class Messages {
  #place = document.getElementById("messages");
  /** `{push, acks}` or `{move, names, at}`, the newest first. */
  #messages = [];
  #bySeq = new Map();
  #unlisted = 0;
  #moves = 0;
  #tellMove = null;
  #timer = null;
  #spokenAt = -Infinity;

  add(push) {
    const message = { key: push.seq, push, acks: new Map() };
    this.#bySeq.set(push.seq, message);
    this.#list(message);
  }

  /** Somebody of the page has another connection. */
  moved({ userId, went }) {
    const now = performance.now();
    const isSame = ({ move }) =>
      move?.from === went.from && move.to === went.to && move.missed === went.missed;
    const line = this.#messages.find((entry) => isSame(entry) && now - entry.at < TOGETHER_MS);
    if (line === undefined) {
      this.#moves += 1;
      this.#list({ key: `move ${this.#moves}`, move: went, names: [userId], at: now });
    } else {
      line.names.push(userId);
      this.#refresh();
    }
    clearTimeout(this.#tellMove);
    this.#tellMove = setTimeout(() => this.#speakOfMoves(), DRAW_MS * 2);
  }

  #list(entry) {
    this.#messages.unshift(entry);
    for (const { push } of this.#messages.splice(KEPT)) if (push !== undefined) this.#bySeq.delete(push.seq);
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
    const nodes = this.#messages.find(({ push }) => push !== undefined)?.push.nodes ?? [];
    const notes = [
      nodes.length > 0 && nodes.length <= NODES_NAMED ? `connections on ${nodes.join(" · ")}` : "",
      this.#unlisted > 0 ? `${whole(this.#unlisted)} more not listed` : "",
    ];
    setText(document.getElementById("messages-note"), notes.filter(Boolean).join(", "));
    reconcile(this.#place, this.#messages, {
      key: ({ key }) => key,
      create: (entry) => (entry.push === undefined ? createMove() : create(entry)),
      update: (item, entry) =>
        entry.push === undefined ? updateMove(item, entry) : update(item, entry, nodes),
    });
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

  #speakOfMoves() {
    const now = performance.now();
    const recent = this.#messages.filter(({ move, at }) => move !== undefined && now - at < TOGETHER_MS);
    setText(document.getElementById("spoken"), recent.map((entry) => `${textOfMove(entry)}.`).join(" "));
  }
}

function createMove() {
  return Object.assign(document.createElement("li"), { className: "move" });
}

function updateMove(item, entry) {
  setText(item, textOfMove(entry));
  item.dataset.missed = String(entry.move.missed);
}

function textOfMove({ move, names }) {
  return `${few(names.map(isolated))} ${wentWell(move, { origin: true })}`;
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

/** The heading names the nodes of the newest message; where they were others, the line does. */
function update(item, { push, acks }, named) {
  const isNamed = push.nodes.length === named.length && push.nodes.every((node, i) => node === named[i]);
  const counts = push.nodes.map((node) => (isNamed ? "" : `${node} `) + countOf(acks.get(node)));
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
