// The picture: manager, nodes and people, kept up to date with the fleet and with the people of this page.

import { crowdOf } from "./fleet.js";
import { atNextFrame } from "./frames.js";
import { Ghosts } from "./ghosts.js";
import { reconcile, setText } from "./keyed.js";
import { NodeCard } from "./node_card.js";
import { Routes } from "./routes.js";
import { connections, counted, whole } from "./words.js";

const byId = (id) => document.getElementById(id);

export class Stage {
  routes;
  #element = byId("stage");
  #cards = new Map();
  #fleet;
  #people;
  #hooks;
  #resizes;
  #ghosts = new Ghosts(this.#element);
  /** What the lines depend on beside the places of things. */
  #links = "";

  /** `hooks` as a node's card wants them. */
  constructor(fleet, people, hooks) {
    this.#fleet = fleet;
    this.#people = people;
    this.#hooks = hooks;
    this.routes = new Routes(this.#element, byId("lines"), byId("source"), byId("manager"));
    this.#resizes = new ResizeObserver(() => atNextFrame(this.#layRoutes));
    for (const id of ["stage", "source", "manager"]) this.#resizes.observe(byId(id));
  }

  /** Draws what has changed, at the next frame. */
  refresh = () => atNextFrame(this.#draw);

  #draw = () => {
    const { manager, nodes } = this.#fleet;
    if (manager === null) return;
    setText(byId("manager-id"), manager.id.slice(0, 8));
    setText(
      byId("newest"),
      manager.newest_seq === 0 ? "no message yet" : `message ${whole(manager.newest_seq)}`,
    );
    const crowds = new Map(nodes.map((node) => [node.node_id, crowdOf(node, this.#people)]));
    this.#drawTotals(nodes, [...crowds.values()]);
    const moving = this.#ghosts.leaving(this.#people);
    reconcile(byId("nodes"), nodes, {
      key: (node) => node.node_id,
      create: (node) => this.#createCard(node.node_id),
      update: (_, node) => {
        this.#cards.get(node.node_id).update(node, crowds.get(node.node_id), {
          isSilent: this.#fleet.isSilent(node),
          behind: this.#fleet.behind(node),
        });
      },
    });
    this.#forgetCards(new Set(crowds.keys()));
    this.#ghosts.arriving(moving);
    const links = JSON.stringify(nodes.map((node) => [node.node_id, node.link, node.state]));
    if (links !== this.#links) atNextFrame(this.#layRoutes);
    this.#links = links;
  };

  #drawTotals(nodes, crowds) {
    const all = crowds.reduce((sum, crowd) => sum + crowd.all, 0);
    const there = nodes.filter(({ state }) => state !== "stopped").length;
    const some = there < nodes.length ? `${whole(there)} of ` : "";
    setText(byId("totals"), `${some}${counted(nodes.length, "node", "nodes")}, ${connections(all)}`);
    byId("fill").classList.toggle("strong", all === 0);
  }

  #createCard(id) {
    const card = new NodeCard(id, this.#hooks);
    this.#cards.set(id, card);
    this.#resizes.observe(card.element);
    return card.element;
  }

  #forgetCards(known) {
    for (const [id, card] of this.#cards) {
      if (known.has(id)) continue;
      this.#resizes.unobserve(card.element);
      this.#cards.delete(id);
    }
  }

  #layRoutes = () => {
    const cards = this.#fleet.nodes.map((node) => ({
      id: node.node_id,
      link: node.state === "stopped" ? "stopped" : String(node.link === "linked"),
      element: this.#cards.get(node.node_id)?.element,
    }));
    this.routes.lay(cards.filter(({ element }) => element !== undefined));
  };

  /** Middles of those at a node that a push is for, as far as they are in sight, `most` of them. */
  placesFor(nodeId, push, most) {
    const card = this.#cards.get(nodeId);
    if (card === undefined) return [];
    const origin = this.#element.getBoundingClientRect();
    const places = [];
    for (const element of card.elementsFor(push)) {
      if (places.length === most) break;
      const rect = element.getBoundingClientRect();
      if (!card.isInSight(rect)) continue;
      // One of this page's people has a bead at the left of the row.
      const { left, top, width, height } = element.querySelector(".bead")?.getBoundingClientRect() ?? rect;
      places.push({ x: left + width / 2 - origin.left, y: top + height / 2 - origin.top });
    }
    return places;
  }

  highlight(nodeId, push) {
    this.#cards.get(nodeId)?.highlight(push);
  }

  judge(nodeId, recipients) {
    this.#cards.get(nodeId)?.judge(recipients);
  }

  /** Marks what is drawn as old, or as true again. */
  markOld(isOld) {
    document.body.classList.toggle("old", isOld);
  }
}
