// A page whose WebSocket goes over TLS: `over_tls.mjs wss://URL CA_FILE`. Prints "connected", reads pushes of room r1
// until one that says "end", and prints how many came before it.

import assert from "node:assert/strict";
import { X509Certificate, createHash } from "node:crypto";
import { readFile } from "node:fs/promises";

import { run } from "./browser.mjs";

const [url, caFile] = process.argv.slice(2);
const ca = new X509Certificate(await readFile(caFile));
const spki = ca.publicKey.export({ type: "spki", format: "der" });
// Chromium has no flag for an authority, but one for a key that makes the chain it is in a good one.
const trust = `--ignore-certificate-errors-spki-list=${createHash("sha256").update(spki).digest("base64")}`;

await run(
  async (browser) => {
    const page = await browser.newPage();
    // Nodes that let everybody in refuse pages of other machines; this one is the node's own.
    await page.goto(url.replace(/^wss/, "https").replace(/ws$/, ""));
    page.on("console", (message) => console.log(message.text()));
    const received = await page.evaluate(listen, url);
    assert.deepEqual(received.slice(0, 3), ["0", "1", "2"]);
    console.log(`received ${received.length}`);
  },
  [trust],
);

function listen(url) {
  return new Promise((resolve, reject) => {
    const received = [];
    const socket = new WebSocket(url, ["pushcast.v1.json"]);
    socket.onopen = () => socket.send(JSON.stringify({ id: 1, connect: { user_id: "page", rooms: ["r1"] } }));
    socket.onclose = (event) => reject(new Error(`closed with code ${event.code}`));
    socket.onmessage = ({ data }) => {
      const { connected, push } = JSON.parse(data);
      if (connected !== undefined) console.log("connected");
      if (push === undefined) return;
      if (push.text === "end") resolve(received);
      else received.push(push.text);
    };
  });
}
