// One person of this page, looked at closely: rooms to enter and leave, the last messages, the way out.

import { reconcile, setText } from "./keyed.js";
import { atNextFrame } from "./frames.js";
import { contentOfFrame, counted, wentWell } from "./words.js";

const byId = (id) => document.getElementById(id);

export class PersonDialog {
  #dialog = byId("person");
  #people;
  #person = null;

  constructor(people) {
    this.#people = people;
    byId("person-join").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#enter();
    });
    byId("person-close").addEventListener("click", () => {
      this.#people.remove(this.#person);
      this.#dialog.close();
    });
    // A click beside it closes it, as Escape does.
    this.#dialog.addEventListener("click", (event) => {
      if (event.target === this.#dialog) this.#dialog.close();
    });
    this.#dialog.addEventListener("close", () => this.#closed());
  }

  open(person) {
    this.#person = person;
    setText(byId("person-said"), "");
    byId("person-room").value = "";
    this.#draw();
    this.#dialog.showModal();
  }

  /**
   * Gives the focus back: to the person, who may have moved to another room, or to where one may put in the
   * next.
   */
  #closed() {
    const { number, nodeId } = this.#person;
    this.#person = null;
    atNextFrame(() => {
      const row = document.querySelector(`[data-person="${number}"]`);
      (row ?? document.querySelector(`[data-node="${CSS.escape(nodeId)}"] .add`))?.focus();
    });
  }

  /** Follows the person while it is looked at. */
  refresh = () => {
    if (this.#person !== null) atNextFrame(this.#draw);
  };

  #draw = () => {
    const person = this.#person;
    if (person === null) return;
    setText(byId("person-title"), person.userId);
    const state =
      person.state === "open" ? `connected to ${person.nodeId}` : `${person.state} ${person.reason}`.trim();
    const went = person.state === "open" && person.went !== null ? [wentWell(person.went)] : [];
    const said = [state, ...went, counted(person.got, "message", "messages")];
    setText(byId("person-state"), said.join(", "));
    setText(byId("person-close"), person.state === "ended" ? "Take away" : "Close the connection");
    reconcile(byId("person-rooms"), person.rooms, {
      key: (room) => room,
      create: (room) => this.#roomItem(room),
      update: () => {},
    });
    const lines = person.messages.map((push) =>
      Object.assign(document.createElement("li"), {
        textContent: `${describe(push)}${contentOfFrame(push)}`,
      }),
    );
    byId("person-messages").replaceChildren(...lines);
  };

  #roomItem(room) {
    const item = document.createElement("li");
    const leave = Object.assign(document.createElement("button"), { type: "button", textContent: "leave" });
    leave.setAttribute("aria-label", `Leave ${room}`);
    leave.addEventListener("click", () => this.#say(this.#person.leave(room)));
    item.append(room, leave);
    return item;
  }

  #enter() {
    const room = byId("person-room").value.trim();
    if (room === "") return setText(byId("person-said"), "A room needs a name.");
    this.#say(
      this.#person.enter(room).then(() => {
        byId("person-room").value = "";
      }),
    );
  }

  async #say(asked) {
    let problem = "";
    await asked.catch((error) => {
      problem = error.message;
    });
    setText(byId("person-said"), problem);
  }
}

function describe({ room_id: room, user_id: user, uri }) {
  const target = room !== undefined ? `${room}: ` : user !== undefined ? "to you: " : "to everyone: ";
  return uri === undefined ? target : `${uri}, ${target}`;
}
