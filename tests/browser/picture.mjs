// Takes the README's picture of the page in a lively moment: `picture.mjs URL FILE`. No test; it runs for as
// long as the charts reach back.

import { DESKTOP, open, run } from "./browser.mjs";
import { fill, push, putIn } from "./visitor.mjs";

const CHARTS_REACH_MS = 90_000;

await run(async (browser, url, file) => {
  const { page } = await open(browser, url, { ...DESKTOP, colorScheme: "light" });
  await fill(page);
  await putIn(page, "mei", "room-001, room-002", "n2");
  await putIn(page, "tom", "room-002", "n1");
  await page.locator("#join-rooms").fill("room-001");
  for (const [rate, share] of [
    ["1/s", 0.2],
    ["5/s", 0.45],
    ["20/s", 0.1],
    ["5/s", 0.25],
  ]) {
    await page.locator("#pulse").getByRole("radio", { name: rate }).check();
    await page.waitForTimeout(CHARTS_REACH_MS * share);
  }
  await page.locator("#pulse").getByRole("radio", { name: "off" }).check();
  await page.locator("#sampling").waitFor({ state: "hidden" });
  await page.waitForFunction(() => document.getAnimations().length === 0);
  await push(page, "room", "room-001", "good evening, everybody", "chat/Message");
  await judged(page);
  await page.screenshot({ path: file });
});

/**
 * Waits until all nodes say what they made of the message (the first two have somebody for it, the last nobody)
 * and every figure is one of it.
 */
function judged(page) {
  return page.waitForFunction(() => {
    const verdicts = [...document.querySelectorAll(".verdict")];
    const shown = verdicts.filter((verdict) => Number(getComputedStyle(verdict).opacity) > 0.9);
    const figures = [...document.querySelectorAll(".chart strong")].map((figure) => figure.textContent);
    return (
      shown.map(({ dataset }) => dataset.filtered).join() === "false,false,true" && !figures.includes("–")
    );
  });
}
