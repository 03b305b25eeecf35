// One node of the picture: its state, its rooms, who is in them, and what it made of the last message.

import { atNextFrame } from "./frames.js";
import { isFor } from "./fleet.js";
import { fromTemplate, reconcile, setText } from "./keyed.js";
import { NodeOrders } from "./node_orders.js";
import { connections, contentOfFrame, counted, wentWell, whole } from "./words.js";

/** More people from elsewhere than this are drawn as beads without their names. */
const NAMED = 12;
const HIGHLIGHT_MS = 900;
const VERDICT_MS = 1_800;

export class NodeCard {
  element = fromTemplate("node-card");
  #head = this.element.querySelector(".node-head");
  #groups = this.element.querySelector(".groups");
  #orders;
  /** Who is drawn: element to `{userId, app, rooms}`. */
  #drawn = new Map();
  #hitAt = new WeakMap();
  #verdict = null;
  #hooks;

  /** `hooks.add(nodeId)` puts somebody in here, `hooks.open(person)` shows one of this page. */
  constructor(nodeId, hooks) {
    this.#hooks = hooks;
    this.element.dataset.node = nodeId;
    setText(this.element.querySelector("h3"), nodeId);
    const add = this.element.querySelector(".add");
    add.setAttribute("aria-label", `Put somebody on ${nodeId}`);
    add.title = `Put somebody on ${nodeId}`;
    add.addEventListener("click", () => hooks.add(nodeId));
    this.#orders = new NodeOrders(nodeId, this.element);
  }

  update(node, crowd, { isSilent, behind }) {
    const isUp = ["starting", "ready"].includes(node.state);
    const state = stateOf(node, isSilent);
    const text = isUp && behind > 0 ? `${state}, ${whole(behind)} behind` : state;
    setText(this.#head.querySelector(".state"), text);
    this.element.dataset.state = node.state;
    this.element.dataset.well = String(state === "ready");
    this.#head.querySelector(".add").hidden = !isUp;
    this.#orders.update(node.state);
    const sample = `showing ${whole(crowd.drawn)} of ${connections(crowd.all)}`;
    const rooms = counted(crowd.rooms, "room", "rooms");
    const caption = `${crowd.isSample ? sample : connections(crowd.all)}, ${rooms}`;
    setText(this.element.querySelector(".caption"), node.state === "stopped" ? "" : caption);
    this.element.classList.toggle("crowded", crowd.others > NAMED);
    this.#drawn.clear();
    reconcile(this.#groups, crowd.groups, {
      key: (group) => group.key,
      create: () => fromTemplate("room-group"),
      update: (element, group) => this.#updateGroup(element, group),
    });
  }

  #updateGroup(element, group) {
    setText(element.querySelector("h4"), group.rooms.length === 0 ? "in no room" : group.rooms.join(" + "));
    reconcile(element.querySelector(".own"), group.own, {
      key: (person) => person,
      create: (person) => this.#createOwn(person),
      update: (item, person) => this.#updateOwn(item.firstElementChild, person),
    });
    reconcile(element.querySelector(".others"), group.others, {
      key: (person) => person.connection_id,
      create: createOther,
      update: (item, person) =>
        this.#drawn.set(item, { userId: person.user_id, app: person.app, rooms: person.rooms }),
    });
  }

  #createOwn(person) {
    const item = fromTemplate("own-person");
    item.firstElementChild.dataset.person = person.number;
    item.firstElementChild.addEventListener("click", () => this.#hooks.open(person));
    return item;
  }

  #updateOwn(button, person) {
    const last = person.messages[0];
    setText(button.querySelector(".name"), person.userId);
    const showsLast = person.state === "open" && last !== undefined;
    setText(button.querySelector(".last"), showsLast ? contentOfFrame(last) : wordFor(person));
    setText(button.querySelector(".count"), whole(person.got));
    const went = person.state === "open" ? person.went : null;
    setText(button.querySelector(".went"), went === null ? "" : wentWell(went));
    button.dataset.missed = String(went?.missed ?? "");
    button.dataset.state = person.state;
    if (person.state !== "open") return;
    this.#drawn.set(button, { userId: person.userId, app: "", rooms: person.rooms });
  }

  /** The elements of those drawn here that a push is for. */
  elementsFor(push) {
    return [...this.#drawn].filter(([, person]) => isFor(push, person)).map(([element]) => element);
  }

  /** Whether an element is in sight, in the part of a long list that is scrolled to. */
  isInSight(rect) {
    const box = this.#groups.getBoundingClientRect();
    return rect.bottom > box.top && rect.top < box.bottom;
  }

  /** Lets those that a push is for light up. */
  highlight(push) {
    const now = performance.now();
    for (const element of this.elementsFor(push)) {
      // Under load one light follows the other, not many at once.
      if (now - (this.#hitAt.get(element) ?? -Infinity) < HIGHLIGHT_MS / 2) continue;
      this.#hitAt.set(element, now);
      element.animate(
        [{ backgroundColor: "var(--lit)", boxShadow: "0 0 0 2px var(--accent)" }, {}],
        HIGHLIGHT_MS,
      );
    }
  }

  /** Says what the node made of a message. */
  judge(recipients) {
    this.#verdict = recipients;
    atNextFrame(this.#showVerdict);
  }

  #showVerdict = () => {
    const badge = this.#head.querySelector(".verdict");
    const filtered = this.#verdict === 0;
    setText(badge, filtered ? "nobody here" : `to ${connections(this.#verdict)}`);
    badge.dataset.filtered = String(filtered);
    for (const running of badge.getAnimations()) running.cancel();
    badge.animate([{ opacity: 1 }, { opacity: 1, offset: 0.8 }, { opacity: 0 }], VERDICT_MS);
  };
}

function createOther(person) {
  const item = document.createElement("li");
  item.className = "person other";
  item.title = person.app === "" ? person.user_id : `${person.user_id} (app ${person.app})`;
  item.append(
    Object.assign(document.createElement("span"), { className: "name", textContent: person.user_id }),
  );
  return item;
}

/** A node that was killed is listed until its lease ends. */
function stateOf({ state, link }, isSilent) {
  if (state === "stopped") return link === "none" ? "stopped" : "stopped, still listed";
  if (state !== "ready") return state;
  if (link !== "linked") return `ready, link ${link}`;
  return isSilent ? "no answer" : "ready";
}

function wordFor(person) {
  switch (person.state) {
    case "open":
      return "listening";
    case "connecting":
      return person.target === person.nodeId ? "connecting …" : `connecting to ${person.target} …`;
    case "waiting":
      return person.isStranded ? "waits for a node …" : "tries again …";
    default:
      return person.reason;
  }
}
