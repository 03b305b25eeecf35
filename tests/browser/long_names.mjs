// Names and rooms as long as they may be, and in other directions than this text, on a screen of this size:
// `long_names.mjs URL desktop|tablet|phone FOLDER`; a screenshot goes to the folder.

import { join } from "node:path";

import { DESKTOP, PHONE, TABLET, open, run } from "./browser.mjs";
import { expectInside, expectNone, expectNoSidewaysScrolling } from "./complaints.mjs";
import { counted, expectAnswer, newest, push, putIn } from "./visitor.mjs";

const SCREENS = { desktop: DESKTOP, tablet: TABLET, phone: PHONE };

/** What is typed into the form: name, rooms, node. */
const OWN = [
  ["anna-has-a-name-of-forty-characters-oh-my", "a-room-that-has-forty-characters-in-all-1", "n1"],
  ["x".repeat(64), `${"r".repeat(120)}, ${"s".repeat(120)}`, "n1"],
  ["مرحبا بالعالم", "غرفة, room-001", "n2"],
  ["\u202eevil", "room-001", "n2"],
  ["👩‍👩‍👧‍👦 family", "聊天室的人聊天室的人聊天室的人聊天室的人聊天室的人", "n3"],
];
/** Who comes from elsewhere, where nothing bounds a name but the protocol (128 bytes). */
const OTHERS = [
  ["y".repeat(120), ["room-001"]],
  ["bert-has-a-name-of-forty-characters-oh-my", ["t".repeat(120), "room-001"]],
  ["שלום ".repeat(12), ["חדר"]],
];
const CONTENT = `שלום ${"w".repeat(300)}`;

await run(async (browser, url, size, folder) => {
  const { page, complaints } = await open(browser, url, { ...SCREENS[size], colorScheme: "light" });
  for (const [name, rooms, node] of OWN) await putIn(page, name, rooms, node);
  await page.evaluate(guests, OTHERS);
  await counted(page, OWN.length + OTHERS.length);
  await fits(page);

  const all = OWN.length + OTHERS.length;
  expectAnswer(await push(page, "everyone", "", CONTENT, "u".repeat(80)), 3, all);
  await newest(page, ["everyone", CONTENT.slice(0, 120), "5 · 2 · 1", "100 %"]);
  expectAnswer(await push(page, "users", OWN.map(([name]) => name).join(", "), "to all of them"), 3, 5);
  await page.locator("#messages .target").filter({ hasText: "and 2 more" }).waitFor();
  await fits(page);

  await troubled(page);
  await fits(page);
  await page.screenshot({ path: join(folder, `long-names-${size}.png`), fullPage: true });

  await page.locator(".person.own").filter({ hasText: "xxxx" }).click();
  await page.locator("#person-rooms li").nth(1).waitFor();
  await fits(page);
  await page.screenshot({ path: join(folder, `long-names-${size}-dialog.png`) });
  expectNone(complaints);
});

async function fits(page) {
  await expectNoSidewaysScrolling(page);
  await expectInside(page);
}

/** Connects clients that are not of the page, all of them to the first node. */
async function guests(people) {
  const { Fleet } = await import("/page/fleet.js");
  const fleet = new Fleet();
  const feed = new EventSource("/page/feed");
  await new Promise((told) => {
    feed.addEventListener("fleet", ({ data }) => told(fleet.take(JSON.parse(data))), { once: true });
  });
  feed.close();
  globalThis.guests = people.map(([user_id, rooms]) => {
    const socket = new WebSocket(fleet.nodes[0].ws_url, "pushcast.v1.json");
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, connect: { user_id, rooms } }));
    return socket;
  });
}

/** The longest that a node's head can have to say, while it judges a message. */
function troubled(page) {
  return page.locator(".node-head").evaluateAll((heads) => {
    for (const head of heads) {
      head.querySelector(".state").textContent = "ready, link connecting, 1,234,567 behind";
      head.querySelector(".verdict").textContent = "to 1,234 connections";
    }
  });
}
