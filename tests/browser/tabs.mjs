// The page in more tabs of one window than a browser opens connections to a server: `tabs.mjs URL`.

import assert from "node:assert/strict";

import { openTab, runInWindow } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { arrived, connected, counted, expectAnswer, fill, newest, push } from "./visitor.mjs";

/** One more than Chromium opens connections to one server. */
const TABS = 7;

await runInWindow(async (context, url) => {
  const tabs = [];
  for (let i = 0; i < TABS; i += 1) tabs.push(await openTab(context, url));
  const [{ page: first }, { page: last }] = [tabs[0], tabs.at(-1)];
  await fill(last);
  expectAnswer(await push(last, "room", "room-001", "in the last tab"), 2, 4);
  await arrived(last, { user1: 1, user2: 1, user3: 1, user4: 1, user5: 0, user6: 0 });

  // Who comes back to the first tab sees what is there now, and what comes.
  await bringToFront(first);
  await counted(first, 6);
  expectAnswer(await push(first, "everyone", "", "in the first tab"), 3, 6);
  await newest(first, ["everyone", "in the first tab", "2 · 2 · 2", "100 %"]);

  // Whoever is of a tab that nobody sees stays connected, and gets everything.
  await bringToFront(last);
  await connected(last, 6);
  await arrived(last, { user1: 2, user2: 2, user3: 2, user4: 2, user5: 1, user6: 1 });

  await windowsInstead(last);
  const [aborted, ...others] = tabs.flatMap(({ complaints }) => complaints);
  assert.equal(aborted, `${url}v1/rooms/room-001/push: net::ERR_ABORTED`, "the push that was given up");
  expectNone(others);
});

async function bringToFront(page) {
  await page.bringToFront();
  await page.waitForFunction(() => !document.hidden);
}

/** As many windows would hold all connections; a push then says so, and the next one goes through again. */
async function windowsInstead(page) {
  await page.evaluate(async (others) => {
    globalThis.windows = Array.from({ length: others }, () => new EventSource("/page/feed"));
    const open = (source) => new Promise((done) => source.addEventListener("figures", done, { once: true }));
    await Promise.all(globalThis.windows.map(open));
  }, TABS - 2);
  await page.locator("#push").getByRole("button", { name: "Push", exact: true }).click();
  await page
    .locator("#answer .problem")
    .filter({ hasText: /nothing came within 5 s, .* six connections to a server/ })
    .waitFor();
  await page.evaluate(() => globalThis.windows.forEach((source) => source.close()));
  const answer = await push(page, "room", "room-002", "with a connection again");
  assert.equal(answer.headline, "Reached 2 connections on 1 of 3 nodes.");
}
