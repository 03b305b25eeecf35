// The page without a mouse: `keyboard.mjs URL`.

import assert from "node:assert/strict";

import { DESKTOP, open, run } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { arrived, connected, expectAnswer, nextAnswer, reload } from "./visitor.mjs";

await run(async (browser, url) => {
  const { page, complaints } = await open(browser, url, DESKTOP);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the push form");
  await expectVisibleFocus(page);

  await tabTo(page, "Fill the picture");
  await page.keyboard.press("Enter");
  await connected(page, 6);

  await tabTo(page, "Put somebody on n2");
  await page.keyboard.press("Space");
  await connected(page, 7);

  await tabTo(page, "a room");
  for (const kind of ["a user", "users", "everyone"]) {
    await page.keyboard.press("ArrowRight");
    assert.equal(await focused(page), kind);
    await expectVisibleFocus(page);
  }
  await tabTo(page, "Content");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("typed");
  expectAnswer(await nextAnswer(page, () => page.keyboard.press("Enter")), 3, 7);
  await arrived(page, { user1: 1, user2: 1, user3: 1, user4: 1, user5: 1, user6: 1, user7: 1 });

  await tabTo(page, "Name");
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.type("kim");
  await tabTo(page, "Node");
  await page.keyboard.press("ArrowDown");
  await tabTo(page, "Put in");
  await page.keyboard.press("Enter");
  await connected(page, 8);
  assert.equal(await page.locator("[data-node=n2] .person.own", { hasText: "kim" }).count(), 1);

  await page.keyboard.press("Shift+Tab");
  await reload(page);
  await fromTheTop(page);
  await somebodyCloser(page);
  expectNone(complaints);
});

/** The skip link goes where it says. */
async function fromTheTop(page) {
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the push form");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.ok(["a room", "everyone"].includes(await focused(page)));
}

/** The dialog opens, holds the focus, and gives it back. */
async function somebodyCloser(page) {
  await tabTo(page, "Put somebody on n1");
  await page.keyboard.press("Enter");
  await connected(page, 1);
  for (const order of ["Drain n1", "Kill n1"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), order);
    await expectVisibleFocus(page);
  }
  await page.keyboard.press("Tab");
  const person = await focused(page);
  assert.match(person, /^user1/);
  await page.keyboard.press("Enter");
  await tabTo(page, "Enter a room");
  await page.keyboard.type("room-003");
  await page.keyboard.press("Enter");
  await page.getByRole("button", { name: "Leave room-003" }).waitFor();
  await page.keyboard.press("Escape");
  // The row has moved with its person into the new room's group, and the focus with it.
  await page.waitForFunction(() => {
    const group = document.activeElement.closest(".group");
    return group?.querySelector("h4").textContent === "room-001 + room-003";
  });
  assert.match(await focused(page), /^user1/);
}

/** What a screen reader would call the element that has the focus. */
function focused(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const label =
      element.labels?.[0]?.querySelector("span")?.textContent ?? element.labels?.[0]?.firstChild.textContent;
    return (element.getAttribute("aria-label") ?? label ?? element.textContent).trim();
  });
}

/** Presses Tab until the focus is there; every stop on the way has to be seen. */
async function tabTo(page, name) {
  const passed = [];
  while (passed.length < 80) {
    await page.keyboard.press("Tab");
    const here = await focused(page);
    if (here === name) return expectVisibleFocus(page);
    passed.push(here);
  }
  throw new Error(`Tab does not reach ${name}; it went over ${passed.join(" | ")}`);
}

async function expectVisibleFocus(page) {
  const outline = await page.evaluate(() => {
    const element = document.activeElement;
    // A radio button lies unseen over its text, which shows the focus instead.
    const shown = element.type === "radio" ? element.nextElementSibling : element;
    const { outlineStyle, outlineWidth } = getComputedStyle(shown);
    return outlineStyle === "none" ? 0 : parseFloat(outlineWidth);
  });
  assert.ok(outline >= 2, `an outline of ${outline} pixels at ${await focused(page)}`);
}
