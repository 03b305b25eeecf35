// The server goes away under the open page, and comes back: `server_stopped.mjs URL ROUNDS FOLDER`. Whoever
// runs this stops and starts the server when it is told to; a screenshot goes to the folder.

import assert from "node:assert/strict";
import { join } from "node:path";

import { DESKTOP, open, run, tell } from "./browser.mjs";
import { expectNothingHidden } from "./complaints.mjs";
import { arrived, connected, counted, expectAnswer, fill, newest, push, reload } from "./visitor.mjs";

await run(async (browser, url, rounds, folder) => {
  const { page, complaints } = await open(browser, url, DESKTOP);
  await fill(page);
  for (let round = 1; round <= Number(rounds); round += 1) {
    await counted(page, 6);
    expectAnswer(await push(page, "everyone", "", `before ${round}`), 3, 6);
    await arrived(page, everybody(1));

    tell(`stop ${round}`);
    await page.getByRole("alert").filter({ hasText: "The server is gone" }).waitFor();
    assert.equal(await page.locator("#live-text").textContent(), "server gone");
    assert.ok(
      await page.evaluate(() => document.body.classList.contains("old")),
      "what is drawn is marked as old",
    );
    assert.equal(await page.locator(".person.own").count(), 6, "and stays");
    await page.locator(".person.own[data-state=open]").first().waitFor({ state: "detached" });
    await expectNoAnswer(page);
    await expectNothingHidden(page);
    await page.screenshot({ path: join(folder, "server-gone.png") });
    await putInTooEarly(page);

    tell(`start ${round}`);
    await page.locator("#live[data-state=live]").waitFor();
    await connected(page, 7);
    await said(page, /^\u2068late\u2069 came in on n2\.$/);
    await takeAway(page, "late");
    await counted(page, 6);
    assert.equal(await page.getByRole("alert").textContent(), "");
    assert.ok(await page.evaluate(() => !document.body.classList.contains("old")));
    // Another manager: nothing of the one before is left in counts and lists.
    await arrived(page, everybody(0));
    await page.waitForFunction(() => document.querySelector("#messages li:not(.move)") === null);
    expectAnswer(await push(page, "room", "room-001", `after ${round}`), 2, 4);
    await newest(page, ["room room-001", `after ${round}`, "2 · 2 · –", "67 %"]);
    await arrived(page, { ...everybody(1), user5: 0, user6: 0 });
    if (round < Number(rounds)) await startOver(page);
  }
  // A browser says by itself that nobody answers at an address; anything else would be the page's own fault.
  const others = complaints.filter((line) => !/ERR_|WebSocket connection to|: net::/.test(line));
  assert.deepEqual(others, []);
});

/** Who is put in now comes in when the server is back, and nobody says otherwise. */
async function putInTooEarly(page) {
  const form = page.locator("#join");
  await form.getByLabel("Name").fill(" late ");
  await form.getByLabel("Node").selectOption("n2");
  await form.getByRole("button", { name: "Put in" }).click();
  await said(page, /^\u2068late\u2069: no connection on n2 yet, the page goes on trying\.$/);
}

function said(page, text) {
  return page.locator("#join-said").filter({ hasText: text }).waitFor();
}

async function takeAway(page, name) {
  const row = page.locator("button.person.own").filter({ hasText: name });
  await row.click();
  await page.getByRole("dialog").getByRole("button", { name: "Close the connection" }).click();
  await row.waitFor({ state: "detached" });
}

async function startOver(page) {
  await reload(page);
  await fill(page);
}

function everybody(count) {
  return Object.fromEntries([1, 2, 3, 4, 5, 6].map((n) => [`user${n}`, count]));
}

/** A push now says that nobody is there to take it. */
async function expectNoAnswer(page) {
  await page.locator("#push").getByRole("button", { name: "Push", exact: true }).click();
  await page.locator("#answer .problem").filter({ hasText: "the server cannot be reached" }).waitFor();
}
