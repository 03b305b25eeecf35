// Content and names that are not what they seem, and a visitor who wants nothing to move:
// `strange_content.mjs URL`.

import assert from "node:assert/strict";

import { DESKTOP, open, run } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { arrived, connected, counted, expectAnswer, fill, newest, people, push, putIn } from "./visitor.mjs";

const MARKUP = "<img src=/nowhere onerror=alert(1)><script>alert(2)</script>";
const NAME = "<b>eve</b>";
const ROOM = "<i>room</i>";

await run(async (browser, url) => {
  const { page, complaints } = await open(browser, url, { ...DESKTOP, reducedMotion: "reduce" });
  await watchCanvas(page);
  await markup(page);
  await bytes(page, url);
  await repeat(page, url);
  assert.equal(await page.evaluate(() => globalThis.drawn), 0, "nothing flies where nothing may move");
  await withMotion(page);
  await fullHouse(page);
  expectNone(complaints);
});

/** Counts what is painted above the picture. */
function watchCanvas(page) {
  return page.evaluate(() => {
    globalThis.drawn = 0;
    const { arc } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.arc = function counted(...rest) {
      globalThis.drawn += 1;
      return arc.apply(this, rest);
    };
  });
}

/** Names and content are text, whatever they look like. */
async function markup(page) {
  await putIn(page, NAME, ROOM, "n1");
  await counted(page, 1);
  expectAnswer(await push(page, "room", ROOM, MARKUP, "<u>uri</u>"), 1, 1);
  await newest(page, [`room ${ROOM}`, MARKUP, "1 · – · –", "33 %"]);
  await arrived(page, { [NAME]: 1 });
  assert.deepEqual(await people(page), [{ name: NAME, node: "n1", rooms: ROOM, last: MARKUP, count: 1 }]);
  expectAnswer(await push(page, "user", NAME, MARKUP), 1, 1);

  await page.locator(".person.own").click();
  const dialog = page.getByRole("dialog");
  assert.equal(await dialog.locator("h2").textContent(), NAME);
  assert.match(await dialog.locator("#person-messages").textContent(), /<u>uri<\/u>, <i>room<\/i>: <img src/);
  await page.keyboard.press("Escape");
  assert.equal(
    await page.locator("main :is(b, i, u, script, img), dialog :is(b, i, u, script, img)").count(),
    0,
  );
}

/** Content that is not UTF-8 is told by its length. */
async function bytes(page, url) {
  const pushed = await fetch(new URL(`/v1/rooms/${encodeURIComponent(ROOM)}/push`, url), {
    method: "POST",
    body: new Uint8Array([0xff, 0xfe, 0x00, 0x80, 0x41]),
  });
  assert.equal((await pushed.json()).recipients, 1);
  await newest(page, [`room ${ROOM}`, "5 bytes, not text", "1 · – · –", "33 %"]);
  await page.waitForFunction(
    () => document.querySelector(".person.own .last").textContent === "5 bytes, not text",
  );
}

/** A business server that retries sends the same message again; people show it once. */
async function repeat(page, url) {
  const before = (await people(page))[0].count;
  const ids = [];
  for (let i = 0; i < 3; i += 1) {
    const again = await fetch(new URL("/v1/broadcast?request_id=again", url), {
      method: "POST",
      body: "again",
    });
    ids.push((await again.json()).message_id);
  }
  assert.equal(new Set(ids).size, 1);
  await push(page, "everyone", "", "behind them");
  await arrived(page, { [NAME]: before + 2 });
}

/** The same visitor with motion: now something flies, and in the end everything has landed. */
async function withMotion(page) {
  await page.emulateMedia({ reducedMotion: "no-preference" });
  await fill(page);
  await connected(page, 7);
  expectAnswer(await push(page, "everyone", "", "fly"), 3, 7);
  await page.waitForFunction(() => globalThis.drawn > 0);
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".person.own .last")].every((last) => last.textContent === "fly"),
  );
}

/** A page takes 60 people, and says so. */
async function fullHouse(page) {
  for (const count of [13, 19, 25, 31, 37, 43, 49, 55, 60]) {
    await page.getByRole("button", { name: "Fill the picture" }).click();
    await connected(page, count);
  }
  await page.getByRole("button", { name: "Put somebody on n2" }).click();
  await page.locator("#join-said").filter({ hasText: "This page has its 60 people" }).waitFor();
  assert.equal(await page.locator(".person.own").count(), 60);
  expectAnswer(await push(page, "everyone", "", "to a full house"), 3, 60);
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".person.own .last")].every(
      (last) => last.textContent === "to a full house",
    ),
  );
}
