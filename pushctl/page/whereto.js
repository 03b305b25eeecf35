// Which node somebody tries.

/**
 * The id of the node to try next, or `undefined` if none takes anybody. `ready` are ids of nodes that do.
 * Whoever can goes `home`, to the node they were on last; the node that has just failed them, `avoided`,
 * comes last of all; of the others it is the one with the fewest people, as `peopleOn(id)` counts them.
 */
export function whereTo({ ready, home, avoided, peopleOn }) {
  const others = ready.filter((id) => id !== avoided);
  if (others.includes(home)) return home;
  const [emptiest] = others.toSorted((a, b) => peopleOn(a) - peopleOn(b));
  return emptiest ?? ready[0];
}
