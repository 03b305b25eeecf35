"""Calls a manager that asks for keys, with gRPC stubs made from the protos and a bearer in the metadata.

The key is in the environment, as KEY; it may call PushToRoom in the default app and nothing else.
"""

import argparse
import os
import sys
import tempfile

import grpc

from roundtrip import generate


def refused(call, code):
    """The call is refused with this code."""
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
    else:
        sys.exit(f"accepted instead of {code}")


def main(address, key):
    from pushmanager.v1 import push_manager_pb2 as pb, push_manager_pb2_grpc

    bearer = [("authorization", f"Bearer {key}")]
    with grpc.insecure_channel(address) as channel:
        manager = push_manager_pb2_grpc.PushManagerServiceStub(channel)
        push = pb.PushToRoomRequest(room_id="r", content=b"hello")
        answer = manager.PushToRoom(push, timeout=10, metadata=bearer)
        assert answer.acked == 1, answer

        status = grpc.StatusCode
        refused(lambda: manager.PushToRoom(push, timeout=10), status.UNAUTHENTICATED)
        wrong = [("authorization", f"Bearer {key}x")]
        refused(lambda: manager.PushToRoom(push, timeout=10, metadata=wrong), status.UNAUTHENTICATED)
        elsewhere = pb.PushToRoomRequest(app="other", room_id="r", content=b"hello")
        refused(lambda: manager.PushToRoom(elsewhere, timeout=10, metadata=bearer), status.PERMISSION_DENIED)
        nodes = pb.ListNodesRequest()
        refused(lambda: manager.ListNodes(nodes, timeout=10, metadata=bearer), status.PERMISSION_DENIED)

        items = [
            pb.PushItem(tag=1, to_room=push),
            pb.PushItem(tag=2, to_user=pb.PushToUserRequest(user_id="u", content=b"hello")),
        ]
        requests = iter([pb.PushStreamRequest(items=items)])
        results = []
        for response in manager.PushStream(requests, timeout=10, metadata=bearer):
            results.extend(response.results)
        assert results[0].answer.acked == 1, results
        assert results[1].error.code == status.PERMISSION_DENIED.value[0], results
        requests = iter([pb.PushStreamRequest(items=items)])
        refused(lambda: list(manager.PushStream(requests, timeout=10)), status.UNAUTHENTICATED)
    print("as it should be")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protos", required=True, help="directory of the protos")
    parser.add_argument("--manager", required=True, help="host:port of a push-manager's gRPC")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as modules:
        generate(given.protos, modules)
        main(given.manager, os.environ["KEY"])
