// The form that pushes: to whom, what, and what came of it.

import { showAnswer, showError } from "./answer.js";
import { push } from "./push.js";

const byId = (id) => document.getElementById(id);
const LABELS = { room: "Room", user: "User", users: "Users, with commas" };

/** Names offered in the list of a field: more would only be scrolled through. */
const OFFERED = 100;

export class PushForm {
  #form = byId("push");
  #fleet;
  #people;
  /** What was typed for each kind of target, kept while another kind is looked at. */
  #typed = { room: "room-001", user: "user1", users: "user1, user3" };
  #kind = "room";

  constructor(fleet, people) {
    this.#fleet = fleet;
    this.#people = people;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    for (const radio of this.#form.elements.kind) {
      radio.addEventListener("change", () => this.#choose(radio.value));
    }
    byId("target").addEventListener("focus", () => this.#offer());
    // A browser restores what was chosen before a reload, but tells nobody.
    this.#choose(this.#form.elements.kind.value);
  }

  #choose(kind) {
    const field = byId("target");
    if (this.#kind in LABELS) this.#typed[this.#kind] = field.value;
    this.#kind = kind;
    const isNamed = kind in LABELS;
    byId("target-field").hidden = !isNamed;
    field.disabled = !isNamed;
    if (!isNamed) return;
    field.value = this.#typed[kind];
    byId("target-label").textContent = LABELS[kind];
    this.#offer();
  }

  #offer() {
    const names = this.#kind === "room" ? this.#fleet.rooms() : this.#fleet.names();
    for (const person of this.#people) {
      if (this.#kind === "room") person.rooms.forEach((room) => names.add(room));
      else names.add(person.userId);
    }
    const options = [...names]
      .sort()
      .slice(0, OFFERED)
      .map((name) => new Option(name, name));
    byId("targets").replaceChildren(...options);
  }

  async #submit() {
    const button = this.#form.querySelector("button[type=submit]");
    // Not disabled: that would take the focus from whoever uses the keyboard.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    const outcome = await push(this.#target(), byId("content").value, byId("uri").value);
    button.removeAttribute("aria-disabled");
    if (outcome.error) showError(outcome.error);
    else showAnswer(outcome.answer, outcome.took);
  }

  #target() {
    const typed = byId("target").value.trim();
    if (this.#kind === "users")
      return {
        kind: "users",
        ids: typed
          .split(",")
          .map((id) => id.trim())
          .filter(Boolean),
      };
    return { kind: this.#kind, ids: this.#kind === "everyone" ? [] : [typed] };
  }
}
