"""A person who listens and never gives up, and a business server that pushes numbered messages."""

import asyncio
import http.client
import json

import websockets

# Longer than the slowest thing that is waited for, an answer at a manager's --max-deadline.
PATIENCE = 10.0


class Listener:
    """Follows proto/README.md: resumes with its ticket and position, drops a message_id that it has seen."""

    def __init__(self, url, token, room):
        self.url, self.token, self.room = url, token, room
        self.received, self.repeated, self.seen = [], [], set()
        self.nodes, self.closes, self.unrecovered = [], [], 0
        self.ticket, self.position, self.as_of, self.attempt = "", {}, 0, 0

    async def listen(self):
        while True:
            try:
                async with websockets.connect(self.url, subprotocols=["pushcast.v1.json"], ping_interval=None) as socket:
                    await socket.send(json.dumps({"id": 1, "connect": self.connect()}))
                    async for frame in socket:
                        await self.take(socket, json.loads(frame))
                self.closed(socket.close_code)
            except websockets.ConnectionClosedError:
                self.closed(socket.close_code)
            except (OSError, websockets.InvalidStatus, websockets.InvalidMessage):
                # The node is not there any more, or is draining: the next one may take it.
                pass
            await asyncio.sleep(0.2)

    def connect(self):
        connect = {"token": self.token, "rooms": [self.room]}
        if self.ticket:
            position = {manager: str(seq) for manager, seq in self.position.items()}
            resume = {"ticket": self.ticket, "position": position, "as_of": str(self.as_of), "attempt": self.attempt}
            connect["resume"] = resume
        return connect

    def closed(self, code):
        self.closes.append(code)
        self.attempt = self.attempt + 1 if code == 4003 else 0

    async def take(self, socket, frame):
        for kind in ("connected", "push", "heartbeat", "ticket", "error"):
            if kind in frame:
                await getattr(self, f"on_{kind}")(socket, frame[kind])

    async def on_connected(self, _socket, connected):
        if self.nodes and not connected["recovered"]:
            self.unrecovered += 1
            self.position, self.as_of = {}, 0
        self.nodes.append(connected["node_id"])
        self.attempt = 0
        self.advance(connected)

    async def on_push(self, _socket, push):
        self.advance({"position": {push["manager"]: push["seq"]}})
        if push["message_id"] in self.seen:
            self.repeated.append(push["text"])
        else:
            self.seen.add(push["message_id"])
            self.received.append(push["text"])

    async def on_heartbeat(self, socket, heartbeat):
        self.advance(heartbeat)
        try:
            await socket.send(json.dumps({"pong": {}}))
        except websockets.ConnectionClosed:
            # What came before the Close is still to be read: at a drain that is the fresh ticket.
            pass

    async def on_ticket(self, _socket, ticket):
        self.ticket = ticket.get("ticket", "")

    async def on_error(self, _socket, error):
        raise AssertionError(f"a node says {error}")

    def advance(self, frame):
        for manager, seq in frame.get("position", {}).items():
            self.position[manager] = max(self.position.get(manager, 0), int(seq))
        self.as_of = max(self.as_of, int(frame.get("as_of", 0)))


async def silent(address, token):
    """A client that takes no notice of anything any more, so that its node has to wait for it when it ends."""
    reader, writer = await asyncio.open_connection(*address)
    head = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    writer.write(f"GET /ws?token={token} HTTP/1.1\r\nHost: {address[0]}\r\n{head}{key}\r\n".encode())
    assert b" 101 " in await reader.readline()
    return writer


class Pusher:
    """Pushes 0, 1, 2 … to a room, each over a connection of its own, until one is not accepted."""

    def __init__(self, address, key, room):
        self.address, self.key, self.room = address, key, room
        self.accepted = 0
        self.stopped = False

    async def push_on(self):
        while not self.stopped:
            answer = await asyncio.to_thread(self.push, str(self.accepted))
            assert answer == 200, answer
            self.accepted += 1
            await asyncio.sleep(0.02)

    def push(self, number):
        """The status of the answer, or what was wrong."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            headers = {"Authorization": f"Bearer {self.key}"}
            connection.request("POST", f"/v1/rooms/{self.room}/push", number, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
