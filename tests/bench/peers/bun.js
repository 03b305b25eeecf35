// What a person would write with Bun to publish to rooms: `bun run bun.js PORT`.
// Sockets subscribe by their path, `/room/NAME`; a message on `/control` is a room's name of 11 bytes and the content.

const ROOM_NAME = 11;
const decoder = new TextDecoder();

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    const room = pathname.startsWith("/room/") ? pathname.slice("/room/".length) : null;
    if (server.upgrade(request, { data: { room } })) return undefined;
    return new Response("WebSockets only\n", { status: 426 });
  },
  websocket: {
    open(socket) {
      if (socket.data.room !== null) socket.subscribe(socket.data.room);
    },
    message(socket, message) {
      if (socket.data.room !== null) return;
      server.publish(decoder.decode(message.subarray(0, ROOM_NAME)), message.subarray(ROOM_NAME));
    },
  },
});
