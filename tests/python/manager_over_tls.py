"""Calls a manager that asks for certificates, over gRPC and HTTP, with one and without.

The certificate may call PushToRoom in the default app and nothing else.
"""

import argparse
import json
import ssl
import sys
import tempfile
import urllib.error
import urllib.request

import grpc

from roundtrip import generate
from with_key import refused


def channel(given, with_certificate):
    """A channel that trusts the authority."""
    parts = [open(given.ca, "rb").read(), None, None]
    if with_certificate:
        parts[1:] = [open(given.key, "rb").read(), open(given.cert, "rb").read()]
    return grpc.secure_channel(given.manager, grpc.ssl_channel_credentials(*parts))


def over_grpc(given):
    """The certificate may push, and nothing else; without one nobody may."""
    from pushmanager.v1 import push_manager_pb2 as pb, push_manager_pb2_grpc

    status = grpc.StatusCode
    push = pb.PushToRoomRequest(room_id="r", content=b"hello")
    with channel(given, True) as mine:
        manager = push_manager_pb2_grpc.PushManagerServiceStub(mine)
        answer = manager.PushToRoom(push, timeout=10)
        assert answer.acked == 1, answer
        refused(lambda: manager.ListNodes(pb.ListNodesRequest(), timeout=10), status.PERMISSION_DENIED)
    with channel(given, False) as nobodys:
        manager = push_manager_pb2_grpc.PushManagerServiceStub(nobodys)
        refused(lambda: manager.PushToRoom(push, timeout=10), status.UNAUTHENTICATED)


def over_http(given):
    """The same, as curl would do it."""
    url = f"https://{given.http}"
    nobody, mine = (ssl.create_default_context(cafile=given.ca) for _ in range(2))
    mine.load_cert_chain(given.cert, given.key)

    def post(context, headers={}):
        path = "/v1/rooms/r/push"
        request = urllib.request.Request(url + path, data=b"hello", method="POST", headers=headers)
        with urllib.request.urlopen(request, context=context, timeout=10) as answer:
            return json.load(answer)

    assert post(mine)["acked"] == 1
    page = {"Origin": "https://elsewhere.example"}
    for context, headers in ((nobody, {}), (mine, page), (mine, {"Sec-Fetch-Site": "cross-site"})):
        try:
            post(context, headers)
        except urllib.error.HTTPError as error:
            assert error.code == 401, error
        else:
            sys.exit(f"accepted without a certificate, or for a page: {headers}")
    with urllib.request.urlopen(f"{url}/readyz", context=nobody, timeout=10) as ready:
        assert ready.status == 200, ready.status


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protos", required=True, help="directory of the protos")
    parser.add_argument("--manager", required=True, help="host:port of a push-manager's gRPC")
    parser.add_argument("--http", required=True, help="host:port of its HTTP")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, help="PEM file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as modules:
        generate(given.protos, modules)
        over_grpc(given)
    over_http(given)
    print("as it should be")
