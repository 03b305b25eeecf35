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
  assert.deepEqual(await alone(idsOfPage), [[true, true], [true, true], [false, true]]);
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
    new Person("u", [], "n1", { urlOf: () => "ws://n1/ws", changed() {}, arrived() {} }).connect();
  });
  return waits;
}

/** A node that takes the connection and then says nothing: the states after 0 s, 10 s, a little more, a try. */
async function neverLetIn() {
  const { Person } = await import("/page/person.js");
  let time = 0;
  let again;
  performance.now = () => time;
  globalThis.setTimeout = (next) => {
    again = next;
  };
  globalThis.WebSocket = class {
    close() {}
  };
  const person = new Person("u", [], "n1", { urlOf: () => "ws://n1/ws", changed() {}, arrived() {} });
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
