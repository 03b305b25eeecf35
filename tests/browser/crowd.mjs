// The page beside a crowd from elsewhere that is pushed to all the time: `crowd.mjs URL CROWD FOLDER`. Whoever
// runs this brings the crowd, and starts and stops to push when told to; a screenshot goes to the folder.

import assert from "node:assert/strict";
import { join } from "node:path";

import { DESKTOP, open, run, tell } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { counted, expectAnswer, fill, push } from "./visitor.mjs";

/** Frames are counted over this time, long enough for a garbage collection or two to make no difference. */
const WATCHED_MS = 4_000;
/**
 * Of the frames drawn without load, those that are drawn with it. A page that does work for every event falls
 * to a few frames in a second; the bound is low because the machine is busy with the crowd, the server and
 * other tests.
 */
const ENOUGH_FRAMES = 0.3;
/** Elements that may come with load: messages in the list, notes; not one for each push. */
const MORE_ELEMENTS = 600;

await run(async (browser, url, crowd, folder) => {
  const { page, complaints } = await open(browser, url, DESKTOP);
  const others = Number(crowd);
  await counted(page, others);
  await sampled(page, others);
  await fill(page);
  await counted(page, others + 6);

  const quietBefore = await frames(page);
  const before = await elements(page);
  tell("push");
  await page
    .locator("#sampling")
    .filter({ hasText: /a sample is drawn: [\d,]+ messages not shown/ })
    .waitFor();
  await page
    .locator("#messages-note")
    .filter({ hasText: /more not listed/ })
    .waitFor();
  const busy = await frames(page);
  await page.screenshot({ path: join(folder, "crowd.png") });

  // Somebody who works on the page gets true answers meanwhile.
  expectAnswer(await push(page, "room", "room-002", "between all that"), 1, 2);
  expectAnswer(await push(page, "user", "user1", "between all that"), 1, 1);
  expectAnswer(await push(page, "everyone", "", "between all that"), 3, others + 6);
  const after = await elements(page);
  assert.ok(after <= before + MORE_ELEMENTS, `${before} elements before, ${after} after`);
  assert.ok((await page.locator("#messages li").count()) <= 50);

  tell("stop");
  await page.locator("#sampling").waitFor({ state: "hidden" });
  // The machine may have been busier with others at one time than at another: the worse one counts.
  const quiet = Math.min(quietBefore, await frames(page));
  tell(`frames: ${quiet} without load, ${busy} with it; elements: ${before} and ${after}`);
  assert.ok(busy >= ENOUGH_FRAMES * quiet, `${busy} frames under load, ${quiet} without`);
  expectNone(complaints);
});

/** With more people than a picture can show it says so, at every node, and draws no more than it says. */
async function sampled(page, all) {
  const captions = await page.locator(".caption").allTextContents();
  const shown = captions.map((caption) => caption.match(/^showing (\d+) of ([\d,]+) connections/));
  assert.ok(
    shown.every((match) => match !== null),
    captions.join(" | "),
  );
  assert.equal(
    shown.reduce((sum, [, , there]) => sum + Number(there.replace(",", "")), 0),
    all,
  );
  assert.equal(
    await page.locator(".person.other").count(),
    shown.reduce((sum, [, drawn]) => sum + Number(drawn), 0),
  );
}

function elements(page) {
  return page.evaluate(() => document.getElementsByTagName("*").length);
}

/** Frames that the page draws in a while. */
function frames(page) {
  return page.evaluate(
    (watched) =>
      new Promise((done) => {
        const began = performance.now();
        let drawn = 0;
        const next = (now) => {
          if (now - began >= watched) return done(drawn);
          drawn += 1;
          requestAnimationFrame(next);
        };
        requestAnimationFrame(next);
      }),
    WATCHED_MS,
  );
}
