// People on their way from one node's card to another's: the row itself changes its card at once, and what is
// seen flying after it is only its likeness.

const FLIGHT_MS = 700;

export class Ghosts {
  #stage;
  /** Who is drawn on which node. */
  #drawnOn = new WeakMap();
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(stage) {
    this.#stage = stage;
  }

  /** Before the cards are drawn: those who change theirs, and where they are still. */
  leaving(people) {
    const leaving = [];
    for (const person of people) {
      const before = this.#drawnOn.get(person);
      if (before !== undefined && before !== person.nodeId) {
        leaving.push({ person, from: rectOf(person) });
      }
      this.#drawnOn.set(person, person.nodeId);
    }
    return leaving;
  }

  /** After that: sends them over. */
  arriving(leaving) {
    if (leaving.length === 0 || this.#calm.matches || document.hidden) return;
    const origin = this.#stage.getBoundingClientRect();
    for (const { person, from } of leaving) {
      const row = rowOf(person);
      const to = rectOf(person);
      if (row === null || from === undefined || to === undefined) continue;
      this.#fly(person.userId, from, to, origin);
      row.animate([{ opacity: 0 }, { opacity: 0, offset: 0.9 }, { opacity: 1 }], FLIGHT_MS);
    }
  }

  #fly(name, from, to, origin) {
    const ghost = Object.assign(document.createElement("div"), { className: "ghost", textContent: name });
    ghost.setAttribute("aria-hidden", "true");
    Object.assign(ghost.style, { width: `${to.width}px`, height: `${to.height}px` });
    this.#stage.append(ghost);
    const at = ({ left, top }) => `translate(${left - origin.left}px, ${top - origin.top}px)`;
    const flight = ghost.animate([{ transform: at(from) }, { transform: at(to) }], {
      duration: FLIGHT_MS,
      easing: "cubic-bezier(0.5, 0, 0.2, 1)",
    });
    flight.onfinish = () => ghost.remove();
    flight.oncancel = () => ghost.remove();
  }
}

function rowOf({ number }) {
  return document.querySelector(`[data-person="${number}"]`);
}

/** Where somebody's row is, at the edge of a long list if it is scrolled out of sight there. */
function rectOf(person) {
  const row = rowOf(person);
  if (row === null) return undefined;
  const list = row.closest(".groups").getBoundingClientRect();
  const { left, top, width, height } = row.getBoundingClientRect();
  return { left, width, height, top: Math.max(list.top, Math.min(top, list.bottom - height)) };
}
