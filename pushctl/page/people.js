// The people of this page: who they are, what they got, and when the picture shows it.

import { atNextFrame } from "./frames.js";
import { Person } from "./person.js";
import { whereTo } from "./whereto.js";

/** Browsers bound the sockets of a page (Chromium 255, Firefox 200), and a picture has to stay readable. */
export const MOST_PEOPLE = 60;
const LIFE_CHECK_MS = 5_000;
const MESSAGES_KEPT = 8;
/** After this long without a word of it, the fleet will not tell of a connection again. */
const FORGET_MS = 30_000;

/** The six of the project's first drawing: which of the nodes, which room. */
const DRAWING = [
  [0, "room-001"],
  [0, "room-001"],
  [1, "room-001"],
  [1, "room-001"],
  [2, "room-002"],
  [2, "room-002"],
];

/**
 * Tells of `changed` (who is in, in which state), `arrived` (what they got) and `back` (who is in again, in
 * `detail`).
 */
export class People extends EventTarget {
  /**
   * Ids of connections that are or were of this page, each with when it last was one of the fleet: that may
   * still tell of one that has just left.
   */
  ownIds = new Map();
  #people = new Set();
  #fleet;
  #delay;
  #isServerThere;
  #arrivals = [];
  #came = 0;

  /**
   * `fleet` is the fleet as last told; `delay()` how long from now the picture brings a message to people;
   * `isServerThere()` whether what was told of the fleet still holds.
   */
  constructor(fleet, delay, isServerThere) {
    super();
    this.#fleet = fleet;
    this.#delay = delay;
    this.#isServerThere = isServerThere;
    setInterval(() => {
      for (const person of this.#people) person.checkLife();
      this.#forgetIds();
    }, LIFE_CHECK_MS);
  }

  [Symbol.iterator]() {
    return this.#people.values();
  }

  get size() {
    return this.#people.size;
  }

  get room() {
    return MOST_PEOPLE - this.#people.size;
  }

  /** Puts somebody in; `undefined` if the page is full. */
  add(name, rooms, nodeId) {
    if (this.room <= 0) return undefined;
    const person = new Person(name, rooms, nodeId, {
      urlOf: (id) => this.#fleet.node(id)?.ws_url,
      whereTo: (lost) => this.#whereTo(lost),
      cameBack: (back) => this.dispatchEvent(new CustomEvent("back", { detail: back })),
      changed: (changed) => this.#changed(changed),
      arrived: (at, push) => this.#arrived(at, push),
    });
    this.#came += 1;
    Object.assign(person, { number: this.#came, got: 0, messages: [] });
    this.#people.add(person);
    person.connect();
    return person;
  }

  /** Puts in the drawing's six, or as many as there is room for, under names that nobody has; says whom. */
  fill() {
    const ready = this.#fleet.ready();
    const nodes = ready.length > 0 ? ready : this.#fleet.nodes;
    if (nodes.length === 0) return [];
    const names = this.freeNames(DRAWING.length);
    const added = DRAWING.map(([node, room], i) =>
      this.add(names[i], [room], nodes[node % nodes.length].node_id),
    );
    return added.filter((person) => person !== undefined);
  }

  remove(person) {
    this.#people.delete(person);
    person.close();
  }

  /** Names `user1`, `user2` … that nobody known has, here or elsewhere. */
  freeNames(count) {
    const taken = this.#fleet.names();
    for (const person of this.#people) taken.add(person.userId);
    const free = [];
    for (let n = 1; free.length < count; n += 1) if (!taken.has(`user${n}`)) free.push(`user${n}`);
    return free;
  }

  /** The server is back: nobody needs to wait out a long pause. */
  hurry() {
    for (const person of this.#people) person.hurry();
  }

  /** The fleet was told anew: who waits for a node may try one that is ready again. */
  hurryStranded() {
    if (this.#fleet.ready().length === 0) return;
    for (const person of this.#people) if (person.isStranded) person.hurry();
  }

  /** When the whole server is gone, everybody waits for the node they were on. */
  #whereTo(person) {
    if (!this.#isServerThere()) return person.nodeId;
    return whereTo({
      ready: this.#fleet.ready().map((node) => node.node_id),
      home: person.nodeId,
      avoided: person.avoided,
      peopleOn: (id) => [...this.#people].filter((other) => (other.target ?? other.nodeId) === id).length,
    });
  }

  /** Counts from nothing: another manager numbers its messages anew. */
  forgetMessages() {
    this.#arrivals = [];
    for (const person of this.#people) Object.assign(person, { got: 0, messages: [] });
    this.dispatchEvent(new Event("arrived"));
  }

  #changed(person) {
    if (person.connectionId !== null) this.ownIds.set(person.connectionId, performance.now());
    this.dispatchEvent(new Event("changed"));
  }

  #forgetIds() {
    const now = performance.now();
    const present = [...this.#people, ...this.#fleet.people()];
    const known = new Set(present.map((person) => person.connectionId ?? person.connection_id));
    for (const [id, since] of this.ownIds) {
      if (known.has(id)) this.ownIds.set(id, now);
      else if (now - since > FORGET_MS) this.ownIds.delete(id);
    }
  }

  #arrived(person, push) {
    const wait = this.#delay();
    if (wait === 0) this.#land(Infinity);
    const last = this.#arrivals.at(-1)?.at ?? 0;
    this.#arrivals.push({ at: Math.max(last, performance.now() + wait), person, push });
    if (wait === 0) this.#land(Infinity);
    else atNextFrame(this.#landDue);
  }

  #landDue = () => {
    this.#land(performance.now());
    if (this.#arrivals.length > 0) atNextFrame(this.#landDue);
  };

  /** What came is shown when the picture has brought it there, in order. */
  #land(now) {
    const due = this.#arrivals.findIndex(({ at }) => at > now);
    const landed = this.#arrivals.splice(0, due === -1 ? this.#arrivals.length : due);
    for (const { person, push } of landed) {
      person.got += 1;
      person.messages.unshift(push);
      person.messages.length = Math.min(person.messages.length, MESSAGES_KEPT);
    }
    if (landed.length > 0) this.dispatchEvent(new Event("arrived"));
  }
}
