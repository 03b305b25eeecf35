// The form that puts people in.

import { reconcile, setText } from "./keyed.js";
import { MOST_PEOPLE } from "./people.js";
import { isolated } from "./words.js";

const byId = (id) => document.getElementById(id);
const FULL = `This page has its ${MOST_PEOPLE} people; open it once more, or use pushctl listen.`;
const NO_NODE = "No node is known yet.";

export class JoinForm {
  #fleet;
  #people;
  /** The name that was offered; anything else was typed. */
  #offered = "";
  /** Those who were put in last, as long as it is open what becomes of them, and what will be said of it. */
  #newcomers = [];
  #news = { wait: "", isIn: "" };

  constructor(fleet, people) {
    this.#fleet = fleet;
    this.#people = people;
    byId("join").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("fill").addEventListener("click", () => this.#fill());
    byId("join-name").value = "";
  }

  /** Follows the fleet: which nodes there are, and which name is free. */
  refresh = () => {
    this.#tellOfNewcomers();
    reconcile(byId("join-node"), this.#fleet.chosen(), {
      key: (node) => node.node_id,
      create: (node) => new Option(node.node_id, node.node_id),
      update: () => {},
    });
    const name = byId("join-name");
    if (name.value !== this.#offered || name === document.activeElement) return;
    [this.#offered] = this.#people.freeNames(1);
    name.value = this.#offered;
  };

  /** Puts somebody on a node, in the rooms that stand in the form. */
  addTo(nodeId) {
    const [name] = this.#people.freeNames(1);
    this.#add(name, nodeId);
  }

  #fill() {
    const added = this.#people.fill();
    if (this.#fleet.nodes.length === 0) this.#say(NO_NODE);
    else this.#expect(added, added.length === 1 ? "1 person" : `${added.length} people`);
  }

  #submit() {
    const field = byId("join-name");
    if (!this.#add(field.value.trim(), byId("join-node").value)) return;
    [this.#offered] = this.#people.freeNames(1);
    field.value = this.#offered;
  }

  /** Whether somebody was put in; if not, it is said why. */
  #add(name, nodeId) {
    const typed = byId("join-rooms").value.trim();
    const rooms = typed === "" ? [] : typed.split(",").map((room) => room.trim());
    const problem = problemOf(name, rooms, nodeId);
    if (problem !== null) {
      this.#say(problem);
      return false;
    }
    const person = this.#people.add(name, [...new Set(rooms)].sort(), nodeId);
    this.#expect(person === undefined ? [] : [person], isolated(name), ` on ${nodeId}`);
    return person !== undefined;
  }

  #expect(newcomers, who, where = "") {
    this.#newcomers = newcomers;
    this.#news = {
      wait: `${who}: no connection${where} yet, the page goes on trying.`,
      isIn: `${who} came in${where}.`,
    };
    this.#say(newcomers.length === 0 ? FULL : `${who}: connecting …`);
  }

  /** Says that they are in when they are, and not before. */
  #tellOfNewcomers() {
    // One who was taken away again is ended without a reason, and nobody waits for it.
    this.#newcomers = this.#newcomers.filter(({ state, reason }) => state !== "ended" || reason !== "");
    if (this.#newcomers.length === 0) return;
    const turnedAway = this.#newcomers.find(({ state }) => state === "ended");
    const areIn = this.#newcomers.every(({ state }) => state === "open");
    if (turnedAway !== undefined) this.#say(`${isolated(turnedAway.userId)} is out: ${turnedAway.reason}`);
    else if (areIn) this.#say(this.#news.isIn);
    else if (this.#newcomers.some(({ state }) => state === "waiting")) this.#say(this.#news.wait);
    if (turnedAway !== undefined || areIn) this.#newcomers = [];
  }

  #say(text) {
    setText(byId("join-said"), text);
  }
}

function problemOf(name, rooms, nodeId) {
  if (name === "") return "A name is needed.";
  if (rooms.includes("")) return "A room is needed on both sides of a comma.";
  return nodeId === "" ? NO_NODE : null;
}
