// The answer to a push of this page, as the server gave it.

import { connections, counted, few, percent, short } from "./words.js";

const place = document.getElementById("answer-text");

const EXPLAINED = {
  nodes: "Nodes the push was sent to: all of them",
  acked: "Nodes that have placed it",
  delivered_nodes: "Nodes that had somebody for it",
  recipients: "Connections it was placed in",
  pending_nodes: "Nodes that have not answered yet",
  message_id: "What clients know a repeated message by",
};

export function showAnswer(answer, took) {
  const { nodes, delivered_nodes: delivered } = answer;
  const list = element("dl");
  for (const [name, title] of Object.entries(EXPLAINED)) {
    list.append(pair(name, title, valueOf(answer[name]), name === "message_id" ? "wide" : ""));
  }
  place.replaceChildren(
    element("p", "headline", headlineOf(answer)),
    bar(delivered, nodes),
    list,
    element("p", "hint", `Answered in ${short(took)} ms; the picture shows it in slow motion.`),
  );
}

export function showError({ code, message, fields }) {
  const lines = [element("p", "headline problem", code), element("p", "problem", message)];
  // The server repeats its only complaint in the message.
  const more = fields.filter((field) => !message.includes(field));
  if (more.length > 0) {
    const list = element("ul", "problem");
    list.append(...more.map((field) => element("li", "", field)));
    lines.push(list);
  }
  place.replaceChildren(...lines);
}

function headlineOf({ nodes, acked, delivered_nodes: delivered, recipients, pending_nodes: pending }) {
  const fleet = counted(nodes, "node", "nodes");
  const late =
    pending.length === 0 ? "" : ` ${few(pending)} ${pending.length === 1 ? "has" : "have"} not answered yet.`;
  if (nodes === 0) return "There is no node to send it to.";
  if (recipients > 0) return `Reached ${connections(recipients)} on ${delivered} of ${fleet}.${late}`;
  if (acked === 0) return `Sent to ${fleet}.${late}`;
  const nobody = acked < nodes ? "Nobody so far." : "Nobody is connected for it.";
  return `${nobody} ${counted(acked, "node", "nodes")} filtered it.${late}`;
}

function valueOf(value) {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.join(", ");
  return String(value);
}

function pair(name, title, value, className) {
  const group = element("div", className);
  group.title = title;
  const term = element("dt", "", name);
  const description = element("dd", "", value);
  description.dataset.field = name;
  group.append(term, description);
  return group;
}

/** The efficiency of this push: how many of its nodes had somebody for it. */
function bar(delivered, nodes) {
  const line = element("p", "efficiency");
  const meter = element("meter");
  Object.assign(meter, { min: 0, max: Math.max(nodes, 1), value: delivered });
  meter.setAttribute("aria-label", "Efficiency of this push");
  const ratio = element("span", "", nodes === 0 ? "no nodes" : `${percent(delivered / nodes)} efficiency`);
  ratio.title = "delivered_nodes / nodes";
  line.append(meter, ratio);
  return line;
}

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}
