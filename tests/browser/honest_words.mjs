// What the page says when something is not as usual: `honest_words.mjs URL`.

import assert from "node:assert/strict";

import { DESKTOP, open, run } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { connected, counted, expectAnswer, fill, nextAnswer, push, putIn } from "./visitor.mjs";

await run(async (browser, url) => {
  const { page, complaints } = await open(browser, url, DESKTOP);
  await notAsked(page);
  await nobodyPutIn(page);
  await twoSockets(page);
  await lateNodes(page);
  expectNone(complaints);
  await strangeAnswers(page);
});

/** What a browser cannot ask for, or nobody would, is not sent, and not taken for a silent server. */
async function notAsked(page) {
  for (const [kind, target, problem] of [
    ["a room", "  ", "a room to push to is missing"],
    ["a user", "", "a user to push to is missing"],
    ["users", " , ", "a user to push to is missing"],
    ["a room", "..", "a browser cannot ask for a room called ..; pushctl can"],
    ["a user", ".", "a browser cannot ask for a user called .; pushctl can"],
    ["a room", "\ud800", '"\\ud800" is no valid Unicode'],
  ]) {
    await refusal(page, kind, target, "not pushed", problem);
  }
  for (const uri of ["\ud800", ""]) {
    await page.evaluate((typed) => {
      document.getElementById("uri").value = typed;
    }, uri);
    if (uri !== "") await refusal(page, "everyone", "", "not pushed", '"\\ud800" is no valid Unicode');
  }
}

async function refusal(page, kind, target, code, problem) {
  await page.locator("#push").getByRole("radio", { name: kind, exact: true }).check();
  await page.evaluate((typed) => {
    const field = document.getElementById("target");
    // A browser asks for a field to be filled by itself; what it lets through is looked at here.
    field.required = false;
    field.value = typed;
  }, target);
  await page.locator("#push").getByRole("button", { name: "Push", exact: true }).click();
  await page.locator("#answer p.problem:not(.headline)").filter({ hasText: problem }).waitFor();
  assert.equal(await page.locator("#answer .headline").textContent(), code);
}

/** Names and rooms of blanks are refused with a word; blanks around them are nobody's intention. */
async function nobodyPutIn(page) {
  const form = page.locator("#join");
  for (const [name, rooms, problem] of [
    ["   ", "room-001", "A name is needed."],
    ["kim", "room-001,, room-002", "A room is needed on both sides of a comma."],
    ["kim", " , ", "A room is needed on both sides of a comma."],
  ]) {
    await form.getByLabel("Name").fill(name);
    await form.getByLabel("Rooms").fill(rooms);
    await form.getByRole("button", { name: "Put in" }).click();
    await page.locator("#join-said").filter({ hasText: problem }).waitFor();
  }
  assert.equal(await page.locator(".person.own").count(), 0);
  await putIn(page, "  kim ", " room-003 , room-004 ", "n1");
  await page.locator("#join-said").filter({ hasText: "\u2068kim\u2069 came in on n1." }).waitFor();
  assert.equal(await page.locator(".person.own .name").textContent(), "kim");
  assert.equal(await page.locator(".group h4").textContent(), "room-003 + room-004");
  expectAnswer(await push(page, "room", " room-004  ", "trimmed"), 1, 1);

  await page.locator(".person.own").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Enter a room").fill("  ");
  await dialog.getByRole("button", { name: "Enter", exact: true }).click();
  await dialog.locator("#person-said").filter({ hasText: "A room needs a name." }).waitFor();
  await dialog.getByRole("button", { name: "Back to the page" }).click();
}

/** Somebody with two sockets is two connections, and nobody says two people. */
async function twoSockets(page) {
  await fill(page);
  await putIn(page, "kim", "room-003", "n2");
  await connected(page, 8);
  await counted(page, 8);
  const answer = await push(page, "user", "kim", "to both");
  expectAnswer(answer, 2, 2);
  assert.equal(answer.headline, "Reached 2 connections on 2 of 3 nodes.");
}

/** Nodes that have not answered are named, and not taken for such as have filtered it. */
async function lateNodes(page) {
  for (const [counts, pending, headline] of [
    [[2, 1, 4], ["n3"], "Reached 4 connections on 1 of 3 nodes. n3 has not answered yet."],
    [[1, 0, 0], ["n2", "n3"], "Nobody so far. 1 node filtered it. n2, n3 have not answered yet."],
    [[0, 0, 0], ["n1", "n2", "n3"], "Sent to 3 nodes. n1, n2, n3 have not answered yet."],
    [[3, 0, 0], [], "Nobody is connected for it. 3 nodes filtered it."],
  ]) {
    const [acked, delivered_nodes, recipients] = counts;
    const told = { nodes: 3, acked, delivered_nodes, recipients, pending_nodes: pending };
    const body = JSON.stringify({ message_id: `late-${pending.length}`, ...told });
    await page.route("**/push", (route) => route.fulfill({ contentType: "application/json", body }));
    const answer = await nextAnswer(page, () =>
      page.locator("#push").getByRole("button", { name: "Push", exact: true }).click(),
    );
    await page.unroute("**/push");
    assert.equal(answer.headline, headline);
  }
}

/** An answer that is none of a manager's is told as what it is. */
async function strangeAnswers(page) {
  for (const [status, body] of [
    [200, "<h1>Log in</h1>"],
    [502, "bad gateway"],
    [404, "{}"],
  ]) {
    await page.route("**/push", (route) => route.fulfill({ status, contentType: "text/html", body }));
    await refusal(page, "a room", "room-001", `HTTP ${status}`, `the answer is not a manager's: ${body}`);
    await page.unroute("**/push");
  }
}
