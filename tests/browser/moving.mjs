// Nodes are drained, killed and started again under the people of the page, on a screen of this size:
// `moving.mjs URL desktop|phone FOLDER`; screenshots go to the folder.

import assert from "node:assert/strict";
import { join } from "node:path";

import { DESKTOP, PHONE, open, run } from "./browser.mjs";
import {
  expectContrast,
  expectFingerSized,
  expectInside,
  expectNone,
  expectNoSidewaysScrolling,
  expectNothingHidden,
} from "./complaints.mjs";
import { arrived, connected, counted, counts, fill, people, push } from "./visitor.mjs";

const SCREENS = { desktop: DESKTOP, phone: PHONE };
const EVERYBODY = ["user1", "user2", "user3", "user4", "user5", "user6"];
/** How a move can have gone: a node that can go on from a ticket misses nothing. */
const HOW = "nothing missed";

await run(async (browser, url, size, folder) => {
  const screen = SCREENS[size];
  const { page, complaints } = await open(browser, url, { ...screen, colorScheme: "light" });
  await fill(page);
  await counted(page, 6);
  await everybodyGets(page, 3, "before");

  // Clocks may be 5 s apart, so nodes that are younger send people on (README, "Honest gaps").
  await page.waitForTimeout(8_000);
  await drained(page);
  await page.screenshot({ path: join(folder, `moving-${size}-drained.png`), fullPage: true });
  await everybodyGets(page, 2, "while n1 is down");

  await killed(page);
  await everybodyGets(page, 1, "while two are down");
  await page.screenshot({ path: join(folder, `moving-${size}.png`), fullPage: true });
  await fits(page, screen);
  await page.emulateMedia({ colorScheme: "dark" });
  await expectContrast(page);
  await page.screenshot({ path: join(folder, `moving-${size}-dark.png`), fullPage: true });
  await page.emulateMedia({ colorScheme: "light" });

  await lookedAtClosely(page);
  await startedAgain(page);
  await everybodyGets(page, 3, "all are back");
  expectNone(complaints);

  await nowhereToGo(page);
  await everybodyGets(page, 1, "one is back");
  // Nobody asks a node that is known to be down: a browser would complain of every try. Whoever asks the last one in the
  // moment it dies is refused, once.
  const refused = complaints.filter((line) => /WebSocket connection to .* failed/.test(line));
  assert.ok(refused.length <= EVERYBODY.length, refused.join("\n"));
  expectNone(complaints.filter((line) => !refused.includes(line)));
});

function card(page, node) {
  return page.locator(`[data-node=${node}]`);
}

function button(page, verb, node) {
  return page.getByRole("button", { name: `${verb} ${node}`, exact: true });
}

function inState(page, node, state) {
  return page.locator(`[data-node=${node}][data-state=${state}]`).waitFor();
}

/** Everybody gets one more message of exactly one push. */
async function everybodyGets(page, nodes, content) {
  await connected(page, 6);
  const before = await counts(page);
  assert.deepEqual(Object.keys(before), EVERYBODY);
  const answer = await push(page, "everyone", "", content);
  assert.deepEqual(
    [answer.nodes, answer.acked, answer.recipients, answer.pending_nodes],
    [nodes, nodes, 6, "none"],
  );
  await arrived(page, Object.fromEntries(EVERYBODY.map((name) => [name, before[name] + 1])));
}

async function peopleOn(page, node) {
  return (await people(page)).filter((person) => person.node === node).map(({ name }) => name);
}

/** Waits until nobody is on the node and everybody is in again. */
async function everybodyLeft(page, node) {
  await page.waitForFunction((left) => document.querySelector(`[data-node=${left}] .person`) === null, node);
  await connected(page, 6);
}

/** Waits until the manager knows it, too. */
async function listed(page, node, state) {
  await card(page, node)
    .locator(".state")
    .filter({ hasText: new RegExp(`^${state}$`) })
    .waitFor();
}

/** Two are sent away in good order, each to another of the two nodes that are left. */
async function drained(page) {
  await button(page, "Drain", "n1").click();
  await everybodyLeft(page, "n1");
  await inState(page, "n1", "stopped");
  assert.equal((await peopleOn(page, "n2")).length, 3);
  assert.equal((await peopleOn(page, "n3")).length, 3);
  for (const name of ["user1", "user2"]) {
    const row = page.locator("button.person.own").filter({ hasText: name });
    assert.match(await row.locator(".went").textContent(), new RegExp(`^moved to n[23], ${HOW}$`));
  }
  assert.equal(
    await page.locator(".person.own .went:not(:empty)").count(),
    2,
    "of the others nothing is said",
  );
  const line = page.locator("#messages li.move").first();
  await line.waitFor();
  assert.match(await line.textContent(), new RegExp(`^\u2068user[12]\u2069 moved from n1 to n[23], ${HOW}$`));
  await page.locator("#spoken").filter({ hasText: "moved from n1" }).waitFor({ state: "attached" });
  await expectOrders(page, "n1", ["Start"]);
  await expectOrders(page, "n2", ["Drain", "Kill"]);
  assert.equal(await button(page, "Put somebody on", "n1").isVisible(), false);
  assert.deepEqual(await page.locator("#join-node option").allTextContents(), ["n2", "n3"]);
  await listed(page, "n1", "stopped");
}

/** By keyboard, and without a goodbye: those on it go to the last one that is left. */
async function killed(page) {
  await button(page, "Kill", "n3").focus();
  await page.keyboard.press("Enter");
  await everybodyLeft(page, "n3");
  await inState(page, "n3", "stopped");
  assert.deepEqual(await peopleOn(page, "n2"), EVERYBODY);
  await page.waitForFunction(() => document.activeElement.getAttribute("aria-label") === "Start n3");
  await listed(page, "n3", "stopped");
}

async function startedAgain(page) {
  for (const node of ["n1", "n3"]) {
    await button(page, "Start", node).click();
    await inState(page, node, "ready");
    await listed(page, node, "ready");
    await expectOrders(page, node, ["Drain", "Kill"]);
  }
  assert.deepEqual(await peopleOn(page, "n2"), EVERYBODY, "who is well stays");
}

/** With every node down people wait; they are in again as soon as one takes them. */
async function nowhereToGo(page) {
  for (const node of ["n1", "n3", "n2"]) {
    await button(page, "Kill", node).click();
    await inState(page, node, "stopped");
  }
  await page.locator(".person.own .last").filter({ hasText: "waits for a node" }).nth(5).waitFor();
  for (const node of ["n1", "n2", "n3"]) await listed(page, node, "stopped");
  await button(page, "Start", "n3").click();
  await connected(page, 6);
  assert.deepEqual(await peopleOn(page, "n3"), EVERYBODY);
  await listed(page, "n3", "ready");
}

async function expectOrders(page, node, names) {
  const shown = card(page, node).locator(".orders button:visible");
  assert.deepEqual(await shown.allTextContents(), names);
  for (const order of await shown.all()) assert.equal(await order.getAttribute("aria-disabled"), "false");
}

async function lookedAtClosely(page) {
  await page.locator("button.person.own").filter({ hasText: "user1" }).click();
  const said = await page.locator("#person-state").textContent();
  assert.match(said, new RegExp(`^connected to n2, moved to n2, ${HOW}, \\d+ messages$`));
  await page.keyboard.press("Escape");
}

async function fits(page, screen) {
  await expectNoSidewaysScrolling(page);
  await expectInside(page);
  await expectContrast(page);
  if (screen.hasTouch) await expectFingerSized(page);
  else await expectNothingHidden(page);
}
