"""Pushes through a fleet with gRPC stubs made from the protos, and receives with plain WebSockets.

Knows nothing of Pushcast but its protos and the names of its subprotocols.
"""

import argparse
import asyncio
import json
import pathlib
import sys
import tempfile

import grpc
import websockets
from grpc_tools import protoc

PROTOS = ["pushmanager/v1/push_manager.proto", "client/v1/client.proto", "google/rpc/status.proto"]


def generate(protos: str, out: str) -> None:
    """Makes Python modules of the protos, and lets them be imported."""
    include = pathlib.Path(protoc.__file__).parent / "_proto"
    arguments = ["protoc", f"-I{protos}", f"-I{include}", f"--python_out={out}", f"--grpc_python_out={out}"]
    if protoc.main(arguments + PROTOS) != 0:
        sys.exit("the protos do not compile")
    sys.path.insert(0, out)


class JsonClient:
    """Speaks JSON in text frames."""

    subprotocol = "pushcast.v1.json"

    def connect_frame(self, user, rooms):
        return json.dumps({"id": 1, "connect": {"user_id": user, "rooms": rooms}})

    def join_frame(self, rooms):
        return json.dumps({"id": 2, "join": {"rooms": rooms}})

    def pong_frame(self):
        return json.dumps({"pong": {}})

    def read(self, data):
        frame = json.loads(data)
        frame.pop("id", None)
        ((kind, body),) = frame.items()
        if kind == "push":
            return kind, body["text"].encode()
        return kind, body.get("rooms")


class ProtobufClient:
    """Speaks protobuf in binary frames."""

    subprotocol = "pushcast.v1.protobuf"

    def __init__(self, client_pb2):
        self.pb = client_pb2

    def connect_frame(self, user, rooms):
        connect = self.pb.Connect(user_id=user, rooms=rooms)
        return self.pb.ClientFrame(id=1, connect=connect).SerializeToString()

    def join_frame(self, rooms):
        return self.pb.ClientFrame(id=2, join=self.pb.Join(rooms=rooms)).SerializeToString()

    def pong_frame(self):
        return self.pb.ClientFrame(pong=self.pb.Pong()).SerializeToString()

    def read(self, data):
        frame = self.pb.ServerFrame.FromString(data)
        kind = frame.WhichOneof("frame")
        body = getattr(frame, kind)
        if kind == "push":
            return kind, body.content
        return kind, list(getattr(body, "rooms", []))


async def receive(socket, client, wanted):
    """The body of the next frame of the wanted kind; heartbeats are answered."""
    while True:
        kind, body = client.read(await asyncio.wait_for(socket.recv(), 20))
        if kind == "heartbeat":
            await socket.send(client.pong_frame())
        elif kind == wanted:
            return body
        else:
            sys.exit(f"got {kind} while waiting for {wanted}: {body}")


async def connect(url, client, user, rooms):
    socket = await websockets.connect(url, subprotocols=[client.subprotocol])
    assert socket.subprotocol == client.subprotocol, socket.subprotocol
    await socket.send(client.connect_frame(user, rooms))
    assert await receive(socket, client, "connected") == rooms
    return socket


async def main(arguments):
    from client.v1 import client_pb2
    from pushmanager.v1 import push_manager_pb2, push_manager_pb2_grpc

    pushes = push_manager_pb2
    sockets = []
    for number, url in enumerate(arguments.node):
        for client in (JsonClient(), ProtobufClient(client_pb2)):
            user = f"user-{number}-{client.subprotocol}"
            socket = await connect(url, client, user, ["lobby"])
            await socket.send(client.join_frame(["room"]))
            assert await receive(socket, client, "ok") == ["lobby", "room"]
            sockets.append((socket, client, user))

    async with grpc.aio.insecure_channel(arguments.manager) as channel:
        manager = push_manager_pb2_grpc.PushManagerServiceStub(channel)
        content = "grüße ☃".encode()
        answer = await manager.PushToRoom(pushes.PushToRoomRequest(room_id="room", content=content), timeout=10)
        assert (answer.recipients, answer.delivered_nodes) == (len(sockets), len(arguments.node)), answer
        for socket, client, user in sockets:
            assert await receive(socket, client, "push") == content
            request = pushes.PushToUserRequest(user_id=user, content=user.encode())
            answer = await manager.PushToUser(request, timeout=10)
            assert answer.recipients == 1, answer
            assert await receive(socket, client, "push") == user.encode()

        items = [
            pushes.PushItem(tag=tag, broadcast=pushes.BroadcastRequest(content=str(tag).encode()))
            for tag in range(100)
        ]
        # One that is refused does not end the stream.
        items.append(pushes.PushItem(tag=100, to_room=pushes.PushToRoomRequest(room_id="")))
        requests = [pushes.PushStreamRequest(items=items[at : at + 7]) for at in range(0, len(items), 7)]
        results = []
        async for response in manager.PushStream(iter(requests)):
            results.extend(response.results)
        assert [result.tag for result in results] == list(range(101)), results
        assert all(result.answer.recipients == len(sockets) for result in results[:100]), results
        assert results[100].error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0], results[100]

        try:
            await manager.PushToRoom(pushes.PushToRoomRequest(room_id="x" * 129), timeout=10)
            sys.exit("an overlong id was accepted")
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error

    for socket, client, user in sockets:
        for tag in range(100):
            assert await receive(socket, client, "push") == str(tag).encode(), (user, tag)
        await socket.close()
    print("all received")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protos", required=True, help="directory of the protos")
    parser.add_argument("--manager", required=True, help="host:port of a push-manager's gRPC")
    parser.add_argument("--node", action="append", required=True, help="WebSocket URL of a connect-node")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as modules:
        generate(given.protos, modules)
        asyncio.run(main(given))
