// What the scripts check of the page as a whole: that it does not complain, fits, and can be read.

import assert from "node:assert/strict";

/** WCAG AA for text of this size. */
const ENOUGH_CONTRAST = 4.5;
/** Texts that have to be readable in both colour schemes. */
const TEXTS = [
  ".idea",
  "#live-text",
  ".source small",
  ".manager strong",
  "#newest",
  "#totals",
  ".legend",
  ".node h3",
  ".state",
  ".caption",
  ".orders button:not([aria-disabled=true])",
  ".group h4",
  ".person .name",
  ".person .count",
  ".choice span",
  "input:checked + span",
  "label",
  "button.strong",
  "#join button",
  ".headline",
  ".efficiency span",
  "dt",
  "dd",
  ".hint",
  ".chart .title",
  ".chart strong",
  ".chart small",
  "#messages .target",
  "#messages .counts",
  "#commands code",
  "#commands button",
];

export function expectNone(complaints) {
  assert.deepEqual(complaints, [], "the console is clean and no request failed");
}

export async function expectNoSidewaysScrolling(page) {
  const [needed, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(needed <= there, `the page is ${needed} wide on a screen of ${there}`);
}

/** On a desktop what one works with is in sight without scrolling. */
export async function expectNothingHidden(page) {
  const below = await page
    .locator("#stage, #push, #answer, #join, .chart, .messages, .terminal")
    .evaluateAll((parts) =>
      parts.filter((part) => part.getBoundingClientRect().bottom > innerHeight).map((part) => part.className),
    );
  assert.deepEqual(below, []);
}

/** Nothing sticks out of the panel, card or dialog it belongs to, unless it is scrolled to or cut off there. */
export async function expectInside(page) {
  const outside = await page.locator(".panel, .box, .chart, dialog[open]").evaluateAll((panels) =>
    panels.flatMap((panel) => {
      const { left, right } = panel.getBoundingClientRect();
      const isCut = (element) =>
        element !== panel &&
        (getComputedStyle(element).overflowX !== "visible" || isCut(element.parentElement));
      return [...panel.querySelectorAll("*")]
        .filter((element) => element.checkVisibility() && !element.closest(".unseen, svg, option"))
        .filter((element) => element.parentElement === panel || !isCut(element.parentElement))
        .map((element) => ({ element, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.left < left - 1 || box.right > right + 1)
        .map(({ element }) => element.outerHTML.slice(0, 120));
    }),
  );
  assert.deepEqual(outside, []);
}

/** Everything that is pressed is large enough for a finger (WCAG 2.5.5: 44 by 44). */
export async function expectFingerSized(page) {
  const small = await page
    .locator("button, select, input:not([type=radio]), .choice label")
    .evaluateAll((controls) =>
      controls
        .filter((control) => control.checkVisibility())
        .map((control) => ({ control, height: control.getBoundingClientRect().height }))
        .filter(({ height }) => height < 42)
        .map(({ control, height }) => `${control.outerHTML.slice(0, 80)}: ${height}`),
    );
  assert.deepEqual(small, []);
}

/** Computes the contrast of the main texts from their computed styles. */
export async function expectContrast(page) {
  // A colour may be on its way to another.
  await page.waitForFunction(() => document.getAnimations().every(({ playState }) => playState !== "running"));
  const poor = await page.evaluate(
    ([texts, enough]) => {
      const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", {
        willReadFrequently: true,
      });
      // A canvas turns every notation of a colour into bytes, and lays one over the other as the screen does.
      const bytes = (colours) => {
        pen.clearRect(0, 0, 1, 1);
        for (const colour of colours) {
          pen.fillStyle = colour;
          pen.fillRect(0, 0, 1, 1);
        }
        return [...pen.getImageData(0, 0, 1, 1).data.slice(0, 3)];
      };
      const luminance = (colour) => {
        const [r, g, b] = colour
          .map((byte) => byte / 255)
          .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
      };
      const grounds = (element) =>
        element === null
          ? []
          : [...grounds(element.parentElement), getComputedStyle(element).backgroundColor];
      const contrast = (element) => {
        const ground = grounds(element);
        const [a, b] = [bytes(ground), bytes([...ground, getComputedStyle(element).color])].map(luminance);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      };
      return texts.flatMap((selector) => {
        const elements = [...document.querySelectorAll(selector)];
        if (elements.length === 0) return [`${selector}: not there`];
        const least = Math.min(...elements.map(contrast));
        return least < enough ? [`${selector}: ${least.toFixed(2)}`] : [];
      });
    },
    [TEXTS, ENOUGH_CONTRAST],
  );
  assert.deepEqual(poor, []);
}
