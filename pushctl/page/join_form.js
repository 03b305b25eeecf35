// The form that puts people in.

import { reconcile } from "./keyed.js";
import { MOST_PEOPLE } from "./people.js";

const byId = (id) => document.getElementById(id);
const FULL = `This page has its ${MOST_PEOPLE} people; open it once more, or use pushctl listen.`;

export class JoinForm {
  #fleet;
  #people;
  /** The name that was offered; anything else was typed. */
  #offered = "";

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
    reconcile(byId("join-node"), this.#fleet.nodes, {
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
    this.#say(added === 0 ? FULL : `${added} people came in.`);
  }

  #submit() {
    const field = byId("join-name");
    if (!this.#add(field.value, byId("join-node").value)) return;
    [this.#offered] = this.#people.freeNames(1);
    field.value = this.#offered;
  }

  #add(name, nodeId) {
    const rooms = byId("join-rooms")
      .value.split(",")
      .map((room) => room.trim())
      .filter(Boolean);
    const person = this.#people.add(name, [...new Set(rooms)].sort(), nodeId);
    this.#say(person === undefined ? FULL : `${name} came in on ${nodeId}.`);
    return person !== undefined;
  }

  #say(text) {
    byId("join-said").textContent = text;
  }
}
