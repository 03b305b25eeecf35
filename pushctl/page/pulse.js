// "Keep pushing": a steady rate of pushes to random targets, so that the charts have something to show.

import { push } from "./push.js";

/** A browser sends few requests of a page at once; more would only wait for each other. */
const MOST_AT_ONCE = 3;
const WORDS = [
  "hello",
  "good morning",
  "mic on",
  "a gift",
  "next song",
  "goal!",
  "well played",
  "typing …",
  "welcome",
  "bye",
];

export class Pulse {
  #fleet;
  #people;
  #isServerThere;
  #timer = null;
  #underWay = 0;
  #said = document.getElementById("pulse-said");

  constructor(fleet, people, isServerThere) {
    this.#fleet = fleet;
    this.#people = people;
    this.#isServerThere = isServerThere;
    const choice = document.getElementById("pulse");
    choice.addEventListener("change", (event) => this.#run(Number(event.target.value)));
    // After a reload nothing pushes by itself.
    choice.querySelector("[value='0']").checked = true;
  }

  #run(perSecond) {
    clearInterval(this.#timer);
    this.#say("");
    if (perSecond > 0) this.#timer = setInterval(() => this.#beat(), 1_000 / perSecond);
  }

  async #beat() {
    if (!this.#isServerThere() || this.#underWay >= MOST_AT_ONCE) return;
    this.#underWay += 1;
    const { error } = await push(this.#anyTarget(), pick(WORDS), "");
    this.#underWay -= 1;
    this.#say(error ? `${error.code}: ${error.message}` : "");
  }

  #say(text) {
    if (this.#said.textContent !== text) this.#said.textContent = text;
  }

  /** Mostly rooms, sometimes one person or everyone, and now and then a room where nobody is. */
  #anyTarget() {
    const rooms = new Set([...this.#fleet.rooms(), ...[...this.#people].flatMap((person) => person.rooms)]);
    const names = new Set([...this.#fleet.names(), ...[...this.#people].map((person) => person.userId)]);
    const chance = Math.random();
    if (chance < 0.1) return { kind: "everyone", ids: [] };
    if (chance < 0.3 && names.size > 0) return { kind: "user", ids: [pick([...names])] };
    if (chance < 0.9 && rooms.size > 0) return { kind: "room", ids: [pick([...rooms])] };
    return { kind: "room", ids: ["empty-room"] };
  }
}

function pick(list) {
  return list[Math.floor(Math.random() * list.length)];
}
