// Modules of the page alone, with time and sockets in the hand of this script: `modules.mjs URL`. Each look is
// taken at a document of its own, in which nothing else runs.

import assert from "node:assert/strict";

import { run } from "./browser.mjs";

await run(async (browser, url) => {
  const page = await browser.newPage();
  const alone = async (look, argument) => {
    await page.goto(`${url}v1/nodes`);
    return page.evaluate(look, argument);
  };
  const failed = page.waitForEvent("pageerror");
  assert.deepEqual(await alone(drawings), ["before", "behind", "next frame"]);
  assert.equal((await failed).message, "as asked");
  const { x, y } = await alone(nowhere);
  assert.ok(x < 0 && y < 0, "a line that is not laid is out of sight");
  assert.deepEqual(await alone(behind), [0, 0, 0, 10, 5, 0, 0]);
  for (const [lasts, waits] of [
    [9_999, [500, 1_000, 2_000, 4_000, 8_000]],
    [10_000, [500, 500, 500, 500, 500]],
  ]) {
    assert.deepEqual(await alone(thrownOut, [lasts, waits.length]), waits, `each lasted ${lasts} ms`);
  }
  assert.deepEqual(await alone(neverLetIn), ["connecting", "connecting", "waiting", "connecting"]);
  assert.deepEqual(await alone(positions), {
    merged: { a: "9", b: "18446744073709551615", c: "10", d: "0" },
    nothing: { one: { a: "1" }, none: {} },
    untouched: { a: "9", b: "18446744073709551614" },
  });
  assert.deepEqual(await alone(bookmark), [
    undefined,
    { ticket: "t1", position: {}, attempt: 0 },
    { ticket: "t2", position: { m: "9007199254740993", n: "7" }, as_of: "1000", attempt: 2 },
    undefined,
    { ticket: "t3", position: { m: "3" }, as_of: "900", attempt: 0 },
  ]);
  assert.deepEqual(await alone(resumes), {
    connects: [
      ["ws://n1/ws", undefined],
      ["ws://n2/ws", { ticket: "t1", position: { m: "6", k: "2" }, as_of: "200", attempt: 0 }],
      ["ws://n3/ws", { ticket: "t1", position: { m: "6", k: "2" }, as_of: "200", attempt: 1 }],
      ["ws://n1/ws", { ticket: "t2", position: { m: "6", k: "2" }, as_of: "200", attempt: 0 }],
      ["ws://n2/ws", undefined],
    ],
    waits: [1_000, 1_000, 500, 500],
    went: [
      { from: "n1", to: "n3", missed: false },
      { from: "n3", to: "n1", missed: true },
      { from: "n1", to: "n2", missed: true },
    ],
    arrived: ["m-5", "m-6", "m-3"],
    end: ["ended", "n2"],
  });
  assert.deepEqual(await alone(wayOut), ["n1", "n2", "n3", "n3", "n1", null]);
  assert.deepEqual(await alone(idsOfPage), [
    [true, true],
    [true, true],
    [false, true],
  ]);
});

/** A drawing that fails is told of, and takes no other with it. */
async function drawings() {
  const { atNextFrame } = await import("/page/frames.js");
  const calls = [];
  atNextFrame(() => calls.push("before"));
  atNextFrame(() => {
    throw new Error("as asked");
  });
  for (const name of ["behind", "next frame"])
    await new Promise((done) => {
      atNextFrame(() => done(calls.push(name)));
    });
  return calls;
}

async function nowhere() {
  const { pointAt } = await import("/page/routes.js");
  return pointAt([], 0.5);
}

/** A node is behind with what it had not taken at the look before either, and with nothing newer. */
async function behind() {
  const { Fleet } = await import("/page/fleet.js");
  const fleet = new Fleet();
  return [
    ["a", 10, 1],
    ["a", 20, 1],
    ["a", 30, 10],
    ["a", 30, 10],
    ["a", 40, 15],
    ["a", 40, 0],
    ["b", 3, 3],
  ].map(([id, newest_seq, lag]) => {
    const node = { node_id: "n1", lag, people: [] };
    fleet.take({ manager: { id, newest_seq }, nodes: [node], silent_nodes: [] });
    fleet.look();
    return fleet.behind(node);
  });
}

/** Somebody is let in and thrown out again, always after so long; says how long the waits between are. */
async function thrownOut([lasts, rounds]) {
  const { Person } = await import("/page/person.js");
  const hooks = { urlOf: () => "ws://n1/ws", whereTo: () => "n1", changed() {}, cameBack() {}, arrived() {} };
  let time = 0;
  const waits = [];
  Math.random = () => 1;
  performance.now = () => time;
  globalThis.WebSocket = class {
    constructor() {
      queueMicrotask(() => this.onopen());
    }
    send() {
      const connected = { connection_id: "c", user_id: "u", rooms: [], heartbeat_ms: 30_000 };
      this.onmessage({ data: JSON.stringify({ connected }) });
      time += lasts;
      queueMicrotask(() => this.onclose({ code: 1013 }));
    }
    close() {}
  };
  await new Promise((done) => {
    globalThis.setTimeout = (next, wait) => {
      waits.push(wait);
      if (waits.length < rounds) queueMicrotask(next);
      else done();
    };
    new Person("u", [], "n1", hooks).connect();
  });
  return waits;
}

/** A node that takes the connection and then says nothing: the states after 0 s, 10 s, a little more, a try. */
async function neverLetIn() {
  const { Person } = await import("/page/person.js");
  const hooks = { urlOf: () => "ws://n1/ws", whereTo: () => "n1", changed() {}, cameBack() {}, arrived() {} };
  let time = 0;
  let again;
  performance.now = () => time;
  globalThis.setTimeout = (next) => {
    again = next;
  };
  globalThis.WebSocket = class {
    close() {}
  };
  const person = new Person("u", [], "n1", hooks);
  const states = [];
  person.connect();
  for (const wait of [0, 10_000, 1]) {
    time += wait;
    person.checkLife();
    states.push(person.state);
  }
  again();
  states.push(person.state);
  return states;
}

/** The larger number of each manager, as numbers of 64 bits and not as text or as what a double can hold. */
async function positions() {
  const { furthest } = await import("/page/resume.js");
  const one = { a: "9", b: "18446744073709551614" };
  return {
    merged: furthest(one, { a: "8", b: "18446744073709551615", c: "10", d: "0" }),
    nothing: { one: furthest({ a: "1" }, {}), none: furthest({}, {}) },
    untouched: one,
  };
}

/** What a bookmark makes of what came: the `resume` at several moments. */
async function bookmark() {
  const { Bookmark } = await import("/page/resume.js");
  const mark = new Bookmark();
  mark.reached({ position: {} });
  const resumes = [mark.resume(0)];
  mark.keep("t1");
  resumes.push(mark.resume(0));
  mark.keep("t2");
  mark.reached({ position: { m: "9007199254740992", n: "7" }, as_of: "1000" });
  mark.handedOut({ manager: "m", seq: "9007199254740993" });
  mark.handedOut({ manager: "n", seq: "5" });
  mark.handedOut({ text: "to this node alone, without a number" });
  mark.reached({ position: { n: "6" }, as_of: "999" });
  resumes.push(mark.resume(2));
  mark.startAnew();
  resumes.push(mark.resume(0));
  // One that came on the new connection, before the node said that it starts anew.
  mark.keep("t3");
  mark.startAnew();
  mark.reached({ position: { m: "3" }, as_of: "900" });
  resumes.push(mark.resume(0));
  return resumes;
}

/**
 * Somebody goes from node to node: what each connect frame said, how long the waits before were, how it went,
 * and which messages were handed out.
 */
async function resumes() {
  const { Person } = await import("/page/person.js");
  const connected = (node_id, rest) => ({
    connected: { connection_id: "c", user_id: "u", node_id, heartbeat_ms: 30_000, ...rest },
  });
  const push = (message_id, manager, seq) => ({ push: { message_id, manager, seq, text: "" } });
  const script = [
    {
      says: [
        connected("n1", { position: { m: "4" }, as_of: "100", recovered: false }),
        { ticket: { ticket: "t1" } },
        push("m-5", "m", "5"),
        push("m-6", "m", "6"),
        { heartbeat: { position: { m: "5", k: "2" }, as_of: "200" } },
      ],
      code: 1012,
    },
    // Incomplete: a neighbour may know more.
    { says: [], code: 4003 },
    {
      says: [
        connected("n3", { position: { m: "5" }, as_of: "150", recovered: true }),
        push("m-6", "m", "6"),
        { ticket: { ticket: "t2" } },
      ],
      code: 1006,
    },
    {
      says: [connected("n1", { position: { m: "2" }, as_of: "50", recovered: false }), push("m-3", "m", "3")],
      code: 4001,
    },
    { says: [connected("n2", { recovered: false })], code: 4503 },
  ];
  const result = { connects: [], waits: [], went: [], arrived: [] };
  const nodes = ["n2", "n3", "n1", "n2"];
  let time = 0;
  Math.random = () => 1;
  performance.now = () => time;
  globalThis.WebSocket = class {
    constructor(url) {
      this.url = url;
      queueMicrotask(() => this.onopen());
    }
    send(text) {
      const frame = JSON.parse(text);
      if (frame.connect === undefined) return;
      const { says, code } = script[result.connects.length];
      result.connects.push([this.url, frame.connect.resume]);
      for (const said of says) this.onmessage({ data: JSON.stringify(said) });
      // Every connection is a good one, so that no wait is longer than the first.
      time += 10_000;
      queueMicrotask(() => this.onclose({ code }));
    }
    close() {}
  };
  await new Promise((done) => {
    globalThis.setTimeout = (next, wait) => {
      result.waits.push(wait);
      queueMicrotask(next);
    };
    const person = new Person("u", [], "n1", {
      urlOf: (id) => `ws://${id}/ws`,
      whereTo: () => nodes.shift(),
      changed: ({ state, nodeId }) => {
        if (state === "ended") done((result.end = [state, nodeId]));
      },
      cameBack: ({ went }) => result.went.push(went),
      arrived: (_, { message_id }) => result.arrived.push(message_id),
    });
    person.connect();
  });
  return result;
}

/** Home, if it takes people; else the emptiest of those that do; the one that has just failed at last. */
async function wayOut() {
  const { whereTo } = await import("/page/whereto.js");
  const crowd = { n1: 1, n2: 5, n3: 2 };
  return [
    [["n1", "n2", "n3"], "n1", null],
    [["n1", "n2", "n3"], "n2", "n3"],
    [["n1", "n2", "n3"], "n1", "n1"],
    [["n2", "n3"], "n1", "n1"],
    [["n1"], "n1", "n1"],
    [[], "n1", null],
  ].map(([ready, home, avoided]) => whereTo({ ready, home, avoided, peopleOn: (id) => crowd[id] }) ?? null);
}

/**
 * Whether the page knows the ids of a connection that left and of one that stays: at once, 30 s and a little
 * more after it was last told of.
 */
async function idsOfPage() {
  const { People } = await import("/page/people.js");
  let time = 0;
  let check;
  performance.now = () => time;
  globalThis.setInterval = (called) => {
    check = called;
  };
  const told = [{ connection_id: "stays" }, { connection_id: "left" }];
  const people = new People({ people: () => told }, () => 0);
  people.ownIds.set("stays", 0).set("left", 0);
  check();
  told.pop();
  return [0, 30_000, 1].map((wait) => {
    time += wait;
    check();
    return [people.ownIds.has("left"), people.ownIds.has("stays")];
  });
}
