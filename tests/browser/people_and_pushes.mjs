// Puts people in, pushes to each kind of target, and checks that exactly the right people got it, on a screen
// of this size: `people_and_pushes.mjs URL desktop|tablet|phone FOLDER`; screenshots go to the folder.

import assert from "node:assert/strict";
import { join } from "node:path";

import { DESKTOP, PHONE, TABLET, open, run } from "./browser.mjs";
import {
  expectContrast,
  expectFingerSized,
  expectInside,
  expectNone,
  expectNoSidewaysScrolling,
  expectNothingHidden,
} from "./complaints.mjs";
import { arrived, counted, expectAnswer, fill, newest, people, push, putIn, reload } from "./visitor.mjs";

const SCREENS = { desktop: DESKTOP, tablet: TABLET, phone: PHONE };

await run(async (browser, url, size, folder) => {
  const screen = SCREENS[size];
  const { page, complaints } = await open(browser, url, { ...screen, colorScheme: "light" });
  await everyTarget(page);
  await sixUsers(page);
  await oneCloser(page);
  await expectNoSidewaysScrolling(page);
  await expectInside(page);
  if (screen.hasTouch) {
    await expectFingerSized(page);
    await page.screenshot({ path: join(folder, `${size}.png`), fullPage: true });
    await page.emulateMedia({ colorScheme: "dark" });
    await expectContrast(page);
    await page.screenshot({ path: join(folder, `${size}-dark.png`), fullPage: true });
  } else {
    await expectNothingHidden(page);
    await linesToCopy(page, url);
    await keepPushing(page);
    await bothColours(page, folder);
  }
  expectNone(complaints);
  await refused(page, complaints);
});

async function everyTarget(page) {
  await fill(page);
  await putIn(page, "user7", "room-001, room-002", "n2");
  await counted(page, 7);
  assert.deepEqual(
    (await people(page)).map(({ name, node, rooms }) => [name, node, rooms]),
    [
      ["user1", "n1", "room-001"],
      ["user2", "n1", "room-001"],
      ["user3", "n2", "room-001"],
      ["user4", "n2", "room-001"],
      ["user5", "n3", "room-002"],
      ["user6", "n3", "room-002"],
      ["user7", "n2", "room-001 + room-002"],
    ],
  );

  const room = await push(page, "room", "room-001", "to the room", "chat/Message");
  expectAnswer(room, 2, 5);
  assert.equal(room.headline, "Reached 5 connections on 2 of 3 nodes.");
  await newest(page, ["room room-001", "to the room", "2 · 3 · –", "67 %"]);
  await arrived(page, { user1: 1, user2: 1, user3: 1, user4: 1, user5: 0, user6: 0, user7: 1 });

  expectAnswer(await push(page, "user", "user5", "to one"), 1, 1);
  await newest(page, ["user user5", "to one", "– · – · 1", "33 %"]);

  expectAnswer(await push(page, "users", "user1, user7, nobody", "to two"), 2, 2);
  await newest(page, ["users user1, user7, nobody", "to two", "1 · 1 · –", "67 %"]);

  const none = await push(page, "room", "a room of nobody", "to none");
  expectAnswer(none, 0, 0);
  assert.equal(none.headline, "Nobody is connected for it. 3 nodes filtered it.");
  await newest(page, ["room a room of nobody", "to none", "– · – · –", "0 %"]);

  expectAnswer(await push(page, "everyone", "", "to all"), 3, 7);
  await newest(page, ["everyone", "to all", "2 · 3 · 2", "100 %"]);
  // The last push reached all of them behind everything before it, so these counts are final.
  await arrived(page, { user1: 3, user2: 2, user3: 2, user4: 2, user5: 2, user6: 1, user7: 3 });
  assert.deepEqual(new Set((await people(page)).map(({ last }) => last)), new Set(["to all"]));
}

/** More users than a line has room for: the list counts the rest, the picture lights every one of them. */
async function sixUsers(page) {
  const six = ["user1", "user2", "user3", "user4", "user5", "user6"];
  await page.evaluate(() => {
    globalThis.lit = new Set();
    const { animate } = Element.prototype;
    Element.prototype.animate = function watched(...rest) {
      const name = this.classList.contains("person") && this.querySelector(".name").textContent;
      if (name) globalThis.lit.add(name);
      return animate.apply(this, rest);
    };
  });
  expectAnswer(await push(page, "users", six.join(", "), "to six"), 3, 6);
  await newest(page, ["users user1, user2, user3 and 3 more", "to six", "2 · 2 · 2", "100 %"]);
  await page.waitForFunction(() => globalThis.lit.size >= 6);
  assert.deepEqual(await page.evaluate(() => [...globalThis.lit].sort()), six);
}

/** What the server refuses is said in its own words. */
async function refused(page, complaints) {
  await page.locator("#push").getByRole("radio", { name: "a user" }).check();
  await page.locator("#target").fill("x".repeat(129));
  await page.locator("#push").getByRole("button", { name: "Push", exact: true }).click();
  const problem = page.locator("#answer .headline.problem");
  await problem.waitFor();
  assert.equal(await problem.textContent(), "INVALID_ARGUMENT");
  assert.match(
    await page.locator("#answer").textContent(),
    /user_id is 129 bytes long, at most 128 are allowed/,
  );
  assert.equal(
    complaints.filter((line) => !line.includes("400")).length,
    0,
    "a browser tells of the status, and that is all",
  );
}

/** Somebody looked at closely: another room on the living connection, and the way out. */
async function oneCloser(page) {
  const row = page.locator("button.person.own").filter({ hasText: "user1" });
  await row.click();
  const dialog = page.getByRole("dialog");
  assert.match(
    await dialog.locator("#person-messages").textContent(),
    /chat\/Message, room-001: to the room/,
  );
  await dialog.getByLabel("Enter a room").fill("room-009");
  await dialog.getByRole("button", { name: "Enter", exact: true }).click();
  await dialog.getByRole("button", { name: "Leave room-009" }).waitFor();
  await dialog.getByRole("button", { name: "Leave room-001" }).click();
  await dialog.getByRole("button", { name: "Leave room-001" }).waitFor({ state: "detached" });
  await dialog.getByRole("button", { name: "Back to the page" }).click();
  expectAnswer(await push(page, "room", "room-009", "entered"), 1, 1);
  expectAnswer(await push(page, "room", "room-001", "left"), 2, 4);

  await row.click();
  await dialog.getByRole("button", { name: "Close the connection" }).click();
  await row.waitFor({ state: "detached" });
  await counted(page, 6);
  expectAnswer(await push(page, "user", "user1", "gone"), 0, 0);
}

/** The three lines name this fleet, and are copied as they stand. */
async function linesToCopy(page, url) {
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  const copied = [];
  for (const line of await page.locator("#commands li").all()) {
    await line.getByRole("button").click();
    await line.getByRole("button", { name: "Copy" }).filter({ hasText: "Copied" }).waitFor();
    copied.push(await page.evaluate(() => navigator.clipboard.readText()));
  }
  assert.equal(copied[0], `curl -d hello ${url}v1/rooms/room-001/push`);
  // By the name that this pushctl was started under.
  assert.match(copied[1], /^\S*pushctl push room room-001 hello --manager 127\.0\.0\.1:\d+$/);
  assert.match(copied[2], /^\S*pushctl listen --rooms room-001 --url ws:\/\/127\.0\.0\.1:\d+\/ws$/);
  assert.equal(copied[1].split(" ")[0], copied[2].split(" ")[0]);
}

/** Pushes by themselves, which the charts show, until they are switched off. */
async function keepPushing(page) {
  const pulse = page.locator("#pulse");
  await pulse.getByRole("radio", { name: "20/s" }).check();
  await page.waitForFunction(() =>
    [...document.querySelectorAll(".chart strong")].every((figure) => /[1-9]/.test(figure.textContent)),
  );
  await pulse.getByRole("radio", { name: "off" }).check();
  await page.waitForFunction(() => document.querySelector(".chart strong").textContent === "0");
  assert.equal(await page.locator("#pulse-said").textContent(), "");
}

async function bothColours(page, folder) {
  await expectContrast(page);
  await page.screenshot({ path: join(folder, "desktop-light.png") });
  const toggle = page.getByRole("button", { name: "Dark colours" });
  assert.equal(await toggle.getAttribute("aria-pressed"), "false");
  await toggle.click();
  // Remembered over a reload, against what the system says.
  await reload(page);
  assert.equal(await toggle.getAttribute("aria-pressed"), "true");
  await fill(page);
  expectAnswer(await push(page, "room", "room-001", "in the dark"), 2, 4);
  await newest(page, ["room room-001", "in the dark", "2 · 2 · –", "67 %"]);
  await expectContrast(page);
  await page.screenshot({ path: join(folder, "desktop-dark.png") });
}
