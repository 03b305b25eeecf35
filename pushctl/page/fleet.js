// The fleet as the server last told of it, and how a node's people are grouped in the picture.

const BY_NAME = new Intl.Collator("en", { numeric: true });

/** What `fleet` events say. Empty before the first one. */
export class Fleet {
  manager = null;
  nodes = [];
  #silent = new Set();
  /** The newest message at the last look, and by node id how many were missing there at two looks. */
  #looked = { manager: null, newest: 0 };
  #behind = new Map();

  take({ manager, nodes, silent_nodes: silent }) {
    // Sorted once here, not whenever they are drawn.
    for (const node of nodes) node.people.sort((a, b) => BY_NAME.compare(a.user_id, b.user_id));
    Object.assign(this, { manager, nodes });
    this.#silent = new Set(silent);
  }

  node(id) {
    return this.nodes.find((node) => node.node_id === id);
  }

  /** The nodes that take people. */
  ready() {
    return this.nodes.filter(
      (node) => node.state === "ready" && node.link === "linked" && !this.isSilent(node),
    );
  }

  /** The nodes that are there to be chosen: those that are up, or are coming up. */
  chosen() {
    const there = this.nodes.filter((node) => ["starting", "ready"].includes(node.state));
    return there.length > 0 ? there : this.nodes;
  }

  /**
   * Takes note of who is behind; called every second. A message that is just on its way makes no node lag, one
   * that was on its way at the look before does.
   */
  look() {
    if (this.manager === null) return;
    const { id, newest_seq: newest } = this.manager;
    const before = this.#looked.manager === id ? this.#looked.newest : 0;
    this.#behind = new Map(
      this.nodes.map(({ node_id: node, lag }) => [node, Math.max(before - (newest - lag), 0)]),
    );
    this.#looked = { manager: id, newest };
  }

  /** How many messages the node is behind with that it should have had at the last look. */
  behind(node) {
    return this.#behind.get(node.node_id) ?? 0;
  }

  /** Whether the node did not answer when it was asked who is there. */
  isSilent(node) {
    return this.#silent.has(node.node_id);
  }

  /** Everybody known, a sample where a node has many. */
  *people() {
    for (const node of this.nodes) yield* node.people;
  }

  names() {
    return new Set(Array.from(this.people(), (person) => person.user_id));
  }

  rooms() {
    return new Set(Array.from(this.people(), (person) => person.rooms).flat());
  }
}

/**
 * The people to be drawn at a node: `groups` of those that are in the same rooms, each person once, how many
 * of them are `drawn` of `all` that are there, and how many `rooms` they are in. `people` are those of this
 * page.
 */
export function crowdOf(node, people) {
  const own = [...people].filter((person) => person.nodeId === node.node_id);
  // One that is just connecting may be told of before it knows its own id.
  const arriving = new Set(
    [...people]
      .filter((person) => person.connectionId === null && (person.target ?? person.nodeId) === node.node_id)
      .map((person) => person.userId),
  );
  const others = node.people.filter(
    (person) => !people.ownIds.has(person.connection_id) && !arriving.has(person.user_id),
  );
  const gone = ["waiting", "ended"];
  const drawn = own.filter((person) => !gone.includes(person.state)).length + others.length;
  // Without a sample everybody is drawn, and nobody has to wait for the fleet to be told anew.
  const isSample = node.people.length < node.connections;
  const groups = groupsOf(own, others);
  return {
    groups,
    drawn,
    others: others.length,
    isSample,
    all: isSample ? node.connections : drawn,
    rooms: isSample ? node.rooms : new Set(groups.flatMap((group) => group.rooms)).size,
  };
}

function groupsOf(own, others) {
  const groups = new Map();
  const groupOf = (rooms) => {
    const key = JSON.stringify(rooms);
    if (!groups.has(key)) groups.set(key, { key, rooms, own: [], others: [] });
    return groups.get(key);
  };
  for (const person of own) groupOf(person.rooms).own.push(person);
  for (const person of others) groupOf(person.rooms).others.push(person);
  return [...groups.values()].sort((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1));
}

/**
 * People of this page come first, so that a crowd does not push them out of sight; those in no room come
 * last.
 */
function rank(group) {
  return (group.own.length > 0 ? 0 : 2) + (group.rooms.length === 0 ? 1 : 0);
}

/** Whether a push is for somebody with this name, tenant and rooms. */
export function isFor({ target, app }, person) {
  if (app !== person.app) return false;
  switch (target.kind) {
    case "room":
      return person.rooms.includes(target.ids[0]);
    case "everyone":
      return true;
    default:
      return target.ids.includes(person.userId);
  }
}
