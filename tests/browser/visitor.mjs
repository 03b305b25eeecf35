// What a visitor does on the page, and what they read there.

import assert from "node:assert/strict";

/** Loads the page anew, and waits until its people of before are gone from the fleet, where nobody else is. */
export async function reload(page) {
  await page.reload();
  await page.locator("#live[data-state=live]").waitFor();
  await counted(page, 0);
}

/** Puts in the six people of the first drawing. */
export async function fill(page) {
  const before = (await people(page)).length;
  await page.getByRole("button", { name: "Fill the picture" }).click();
  await connected(page, before + 6);
}

/** Puts somebody in by the form. */
export async function putIn(page, name, rooms, node) {
  const before = (await people(page)).length;
  const form = page.locator("#join");
  await form.getByLabel("Name").fill(name);
  await form.getByLabel("Rooms").fill(rooms);
  await form.getByLabel("Node").selectOption(node);
  await form.getByRole("button", { name: "Put in" }).click();
  await connected(page, before + 1);
}

/** Waits until so many people of the page, and no others of it, are connected. */
export async function connected(page, count) {
  await page.waitForFunction((expected) => {
    const own = [...document.querySelectorAll("button.person.own")];
    return own.length === expected && own.every((person) => person.dataset.state === "open");
  }, count);
}

/** Waits until the server counts so many people in the whole fleet. */
export async function counted(page, count) {
  const text = `, ${count === 1 ? "1 connection" : `${count.toLocaleString("en")} connections`}`;
  await page.waitForFunction((end) => document.querySelector("#totals").textContent.endsWith(end), text);
}

/** The people of the page, as they are shown, by name. */
export function people(page) {
  return page.locator("button.person.own").evaluateAll((buttons) =>
    buttons
      .map((button) => ({
        name: button.querySelector(".name").textContent,
        node: button.closest(".node").dataset.node,
        rooms: button.closest(".group").querySelector("h4").textContent,
        last: button.querySelector(".last").textContent,
        count: Number(button.querySelector(".count").textContent),
      }))
      .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true })),
  );
}

/** How many messages each got, by name. */
export async function counts(page) {
  return Object.fromEntries((await people(page)).map(({ name, count }) => [name, count]));
}

/** Waits until each of these people has got exactly so many messages. */
export async function arrived(page, expected) {
  await page.waitForFunction((wanted) => {
    const own = [...document.querySelectorAll("button.person.own")];
    const text = (button, part) => button.querySelector(part).textContent;
    return (
      own.length === Object.keys(wanted).length &&
      own.every((button) => Number(text(button, ".count")) >= wanted[text(button, ".name")])
    );
  }, expected);
  assert.deepEqual(await counts(page), expected);
}

const KINDS = { room: "a room", user: "a user", users: "users", everyone: "everyone" };

/** Pushes by the form, and reads the answer. */
export async function push(page, kind, target, content, uri = "") {
  const form = page.locator("#push");
  await form.getByRole("radio", { name: KINDS[kind], exact: true }).check();
  if (kind !== "everyone") await form.locator("#target").fill(target);
  await form.getByLabel("Content").fill(content);
  await form.getByLabel("uri, optional").fill(uri);
  return nextAnswer(page, () => form.getByRole("button", { name: "Push", exact: true }).click());
}

/** The answer to the push that `act` makes. */
export async function nextAnswer(page, act) {
  const before = await answerId(page);
  await act();
  await page.waitForFunction(
    (old) => (document.querySelector("[data-field=message_id]")?.textContent ?? "") !== old,
    before,
  );
  return answer(page);
}

function answerId(page) {
  return page.evaluate(() => document.querySelector("[data-field=message_id]")?.textContent ?? "");
}

/** The answer as the page shows it. */
function answer(page) {
  return page.evaluate(() => {
    const field = (name) => document.querySelector(`[data-field=${name}]`).textContent;
    const numbers = ["nodes", "acked", "delivered_nodes", "recipients"].map((name) => [
      name,
      Number(field(name)),
    ]);
    return {
      ...Object.fromEntries(numbers),
      pending_nodes: field("pending_nodes"),
      message_id: field("message_id"),
      headline: document.querySelector("#answer .headline").textContent,
      efficiency: document.querySelector("#answer .efficiency span").textContent,
    };
  });
}

/** Checks the counts of an answer of a fleet of three nodes that are all well. */
export function expectAnswer(actual, deliveredNodes, recipients) {
  const { nodes, acked, delivered_nodes, recipients: reached, pending_nodes } = actual;
  assert.deepEqual(
    { nodes, acked, delivered_nodes, recipients: reached, pending_nodes },
    { nodes: 3, acked: 3, delivered_nodes: deliveredNodes, recipients, pending_nodes: "none" },
  );
  assert.equal(actual.efficiency, `${Math.round((deliveredNodes / 3) * 100)} % efficiency`);
}

/**
 * Waits until the newest message of the list reads like this: target, content, counts by node, efficiency.
 */
export async function newest(page, expected) {
  await page.waitForFunction((wanted) => {
    const item = document.querySelector("#messages li:not(.move)");
    const shown = [".target", ".content", ".counts", ".ratio"].map(
      (part) => item?.querySelector(part).textContent,
    );
    return JSON.stringify(shown) === JSON.stringify(wanted);
  }, expected);
}
