// Three lines to copy into a terminal, for the ports that this fleet really has.

import { reconcile, setText } from "./keyed.js";

const MANAGER = "127.0.0.1:9000";
const NODE = "ws://127.0.0.1:8000/ws";

/** Draws the lines for the fleet. */
export function showCommands({ manager, nodes }) {
  if (manager === null) return;
  const node = (nodes.find(({ state }) => state === "ready") ?? nodes[0])?.ws_url ?? NODE;
  const pushctl = manager.pushctl ?? "pushctl";
  const lines = [
    { id: "curl", text: `curl -d hello http://${manager.http_addr}/v1/rooms/room-001/push` },
    {
      id: "push",
      text: `${pushctl} push room room-001 hello${option("--manager", manager.grpc_addr, MANAGER)}`,
    },
    { id: "listen", text: `${pushctl} listen --rooms room-001${option("--url", node, NODE)}` },
  ];
  reconcile(document.getElementById("commands"), lines, {
    key: ({ id }) => id,
    create: createLine,
    update: (item, { text }) => setText(item.querySelector("code"), text),
  });
}

function option(flag, value, usual) {
  return value === usual ? "" : ` ${flag} ${value}`;
}

function createLine({ id }) {
  const item = document.createElement("li");
  const code = document.createElement("code");
  const copy = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
  copy.setAttribute("aria-label", `Copy the ${id} line`);
  copy.addEventListener("click", async () => {
    copy.textContent = (await copied(code)) ? "Copied" : "Selected";
    setTimeout(() => {
      copy.textContent = "Copy";
    }, 1_500);
  });
  item.append(code, copy);
  return item;
}

/** Copies, or else selects, which is the most a page may do without the right to the clipboard. */
async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
