// One person of this page: a WebSocket client of a connect-node, as proto/README.md describes it.

import { GOOD_WHILE_MS, isFinal, waitAfter } from "./reconnect.js";
import { Bookmark } from "./resume.js";
import { Seen } from "./seen.js";

const SUBPROTOCOL = "pushcast.v1.json";
const CONNECT_ID = 1;
/** A node that has not let somebody in by then is tried anew. */
const CONNECT_WITHIN_MS = 10_000;

/**
 * `state` is "connecting", "open", "waiting" (for the next try) or "ended" (for good; `reason` says why).
 * `changed(person)` is called when anything but a message came, `arrived(person, push)` for every new
 * message, `cameBack(person)` when a lost connection was replaced: `went` says from where to where, and
 * whether messages may have been missed meanwhile.
 */
export class Person {
  state = "connecting";
  reason = "";
  connectionId = null;
  userId;
  /** The node they are on, or were last; while they try another one, that is `target`. */
  nodeId;
  target = null;
  /** The node that has just failed them. */
  avoided = null;
  /** No node takes anybody, as far as is known. */
  isStranded = false;
  went = null;
  rooms;
  #hooks;
  #socket = null;
  #seen = new Seen();
  #bookmark = new Bookmark();
  #wasIn = false;
  /** Resumes that were sent since the last connection. */
  #attempt = 0;
  #failures = 0;
  #retry = null;
  #nextId = CONNECT_ID + 1;
  #requests = new Map();
  #openedAt = 0;
  #heardAt = 0;
  #heartbeatMs = Infinity;

  /**
   * `hooks.urlOf(nodeId)` says where the node is now: it may be elsewhere after a restart.
   * `hooks.whereTo(person)` says which node to try after a lost connection.
   */
  constructor(userId, rooms, nodeId, hooks) {
    Object.assign(this, { userId, rooms, nodeId });
    this.#hooks = hooks;
  }

  connect() {
    clearTimeout(this.#retry);
    // Who has never been in goes where they were put.
    this.target = (this.#wasIn ? this.#hooks.whereTo(this) : this.nodeId) ?? null;
    this.isStranded = this.target === null;
    const url = this.isStranded ? undefined : this.#hooks.urlOf(this.target);
    if (url === undefined) return this.#retryLater(null);
    this.#become("connecting");
    const socket = new WebSocket(url, SUBPROTOCOL);
    this.#socket = socket;
    this.#heardAt = performance.now();
    socket.onopen = () => this.#sayWhoIAm();
    socket.onmessage = (event) => this.#take(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code);
    };
  }

  /** Tries at once, if it waits for a try: the server is known to be back. */
  hurry() {
    if (this.state !== "waiting") return;
    this.#failures = 0;
    Object.assign(this, { avoided: null, isStranded: false });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.connect(), waitAfter(null, 0));
  }

  /** Leaves for good. */
  close() {
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    this.#refuseRequests("the connection was closed");
    this.#become("ended");
  }

  /** Takes a connection for dead on which nothing came for two heartbeats, or that does not come about. */
  checkLife() {
    const most = { open: 2 * this.#heartbeatMs + 1_000, connecting: CONNECT_WITHIN_MS }[this.state];
    if (most === undefined || performance.now() - this.#heardAt <= most) return;
    const socket = this.#socket;
    this.#socket = null;
    socket.close();
    this.#closed(null);
  }

  /** Enters a room; the promise is kept when the node has done it. */
  enter(room) {
    return this.#change("join", room);
  }

  leave(room) {
    return this.#change("leave", room);
  }

  #change(verb, room) {
    if (this.state !== "open") return Promise.reject(new Error("not connected now"));
    const id = this.#nextId++;
    this.#send({ id, [verb]: { rooms: [room] } });
    return new Promise((done, refused) => this.#requests.set(id, { done, refused }));
  }

  #sayWhoIAm() {
    const connect = { user_id: this.userId, rooms: this.rooms };
    const resume = this.#bookmark.resume(this.#attempt);
    if (resume !== undefined) this.#attempt += 1;
    this.#send({ id: CONNECT_ID, connect: { ...connect, ...(resume && { resume }) } });
  }

  #send(frame) {
    this.#socket?.send(JSON.stringify(frame));
  }

  #take(frame) {
    this.#heardAt = performance.now();
    if (frame.push) this.#push(frame.push);
    else if (frame.heartbeat) this.#heartbeat(frame.heartbeat);
    else if (frame.ticket) this.#bookmark.keep(frame.ticket.ticket);
    else if (frame.connected) this.#connected(frame.connected);
    else if (frame.ok) this.#answered(frame.id, frame.ok.rooms ?? []);
    else if (frame.rooms) this.#moved(frame.rooms);
    else if (frame.error) this.#refused(frame.id ?? 0, frame.error);
  }

  #heartbeat(heartbeat) {
    this.#bookmark.reached(heartbeat);
    this.#send({ pong: {} });
  }

  #push(push) {
    this.#bookmark.handedOut(push);
    if (push.message_id === undefined || this.#seen.isNew(push.message_id)) this.#hooks.arrived(this, push);
  }

  #connected(connected) {
    this.connectionId = connected.connection_id;
    this.userId = connected.user_id;
    this.rooms = connected.rooms ?? [];
    this.#heartbeatMs = connected.heartbeat_ms;
    this.#openedAt = performance.now();
    this.reason = "";
    if (connected.recovered !== true) this.#bookmark.startAnew();
    this.#bookmark.reached(connected);
    if (this.#wasIn) this.went = { from: this.nodeId, to: this.target, missed: connected.recovered !== true };
    const isBack = this.#wasIn;
    this.#wasIn = true;
    Object.assign(this, { nodeId: this.target, target: null, avoided: null });
    this.#attempt = 0;
    this.#become("open");
    if (isBack) this.#hooks.cameBack(this);
  }

  #answered(id, rooms) {
    this.rooms = rooms;
    this.#requests.get(id)?.done();
    this.#requests.delete(id);
    this.#hooks.changed(this);
  }

  #moved({ joined = [], left = [] }) {
    this.rooms = [...new Set([...this.rooms, ...joined])].filter((room) => !left.includes(room)).sort();
    this.#hooks.changed(this);
  }

  #refused(id, { code, message }) {
    this.reason = `${code}: ${message}`;
    this.#requests.get(id)?.refused(new Error(this.reason));
    this.#requests.delete(id);
  }

  #closed(code) {
    this.#socket = null;
    this.avoided = this.target ?? this.nodeId;
    this.target = null;
    this.#refuseRequests("the connection broke");
    const lasted = performance.now() - this.#openedAt;
    if (this.state === "open" && lasted >= GOOD_WHILE_MS) this.#failures = 0;
    if (isFinal(code)) {
      this.reason ||= `closed with ${code}`;
      this.#become("ended");
    } else {
      this.#retryLater(code);
    }
  }

  #retryLater(code) {
    this.#retry = setTimeout(() => this.connect(), waitAfter(code, this.#failures));
    this.#failures += 1;
    this.#become("waiting");
  }

  #refuseRequests(why) {
    for (const { refused } of this.#requests.values()) refused(new Error(why));
    this.#requests.clear();
  }

  #become(state) {
    if (state !== "open") this.connectionId = null;
    this.state = state;
    this.#hooks.changed(this);
  }
}
