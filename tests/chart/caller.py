"""A business server that calls over one gRPC channel, with stubs made from the protos."""

import sys
import tempfile
import threading

import grpc

from chart import ROOT

sys.path.append(str(ROOT / "tests" / "python"))
from roundtrip import generate

# Longer than a manager's --max-deadline.
PATIENCE = 10.0


class Caller(threading.Thread):
    """Pushes to a room that nobody is in, one call after the other, until it is told to stop or a call fails. `managers`
    are those that answered."""

    def __init__(self, address, key):
        super().__init__(daemon=True)
        self.address, self.metadata = address, [("authorization", f"Bearer {key}")]
        self.managers, self.failure, self.stopping = set(), None, threading.Event()

    def run(self):
        with tempfile.TemporaryDirectory() as modules, grpc.insecure_channel(self.address) as channel:
            generate(str(ROOT / "proto"), modules)
            from pushmanager.v1 import push_manager_pb2 as pb, push_manager_pb2_grpc

            push = push_manager_pb2_grpc.PushManagerServiceStub(channel).PushToRoom
            request = pb.PushToRoomRequest(room_id="nobodys", content=b"x")
            while self.failure is None and not self.stopping.wait(0.01):
                try:
                    answer = push(request, timeout=PATIENCE, metadata=self.metadata)
                except grpc.RpcError as error:
                    self.failure = error
                else:
                    # An id is the manager's and a number.
                    self.managers.add(answer.message_id.split("-")[0])

    def stop(self):
        self.stopping.set()
        self.join(2 * PATIENCE)
