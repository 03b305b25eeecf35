"""The Helm chart, run: the processes that its manifests describe, with their commands, environments, users and files, probed,
replaced and ended as Kubernetes does it. pods.py says what stands for containers. Needs what test_chart.py needs, and etcd."""

import unittest

from caller import Caller
from chart import RUNNING, of_kind, render
from clients import Listener, Pusher, silent
from cluster import Cluster
from doors import ROOM, secrets_of_the_user

# Deliveries take milliseconds, a client that resumes comes back within a second.
SETTLED_WITHIN = 20.0
# It pushes for two seconds, and gives up on a push after ten.
HELM_TEST_WITHIN = 24.0


class Running(unittest.TestCase):
    """Two managers, three nodes and an etcd, installed once."""

    @classmethod
    def setUpClass(cls):
        secrets, cls.key, cls.token = secrets_of_the_user()
        cls.cluster = Cluster(render(RUNNING), secrets)
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.install()

    def tearDown(self):
        self.cluster.complain()

    def listeners(self, count):
        nodes = self.cluster.service("connect-node")
        url = f"ws://{nodes.address}:{nodes.ports[0]['port']}/ws"
        listeners = [Listener(url, self.token, ROOM) for _ in range(count)]
        self.tasks = [self.cluster.loop.begin(listener.listen()) for listener in listeners]
        for task in self.tasks:
            self.addCleanup(task.cancel)
        self.wait_until(lambda: all(listener.nodes for listener in listeners), "everybody is connected")
        return listeners

    def pusher(self):
        managers = self.cluster.service("push-manager")
        pusher = Pusher((managers.address, 9001), self.key, ROOM)
        self.pushing = self.cluster.loop.begin(pusher.push_on())
        self.addCleanup(self.pushing.cancel)
        self.wait_until(lambda: pusher.accepted > 0, "a push is accepted")
        return pusher

    def caller(self):
        managers = self.cluster.service("push-manager")
        caller = Caller(f"{managers.address}:9000", self.key)
        caller.start()
        self.addCleanup(caller.stop)
        self.wait_until(lambda: caller.managers or caller.failure, "a call is answered")
        return caller

    def wait_until(self, holds, what):
        def still_well():
            for task in getattr(self, "tasks", []):
                self.assertFalse(task.done(), task.done() and task.exception())
            return holds()

        self.cluster.wait_until(still_well, what, SETTLED_WITHIN)

    def test_every_pod_is_ready_behind_its_service(self):
        for ending, count in (("push-manager", 2), ("connect-node", 3), ("etcd", 1)):
            self.assertEqual(len(self.cluster.service(ending).endpoints()), count)

    def test_helm_test_passes_and_fails_where_it_should(self):
        (pod,) = of_kind(self.cluster.documents, "Pod")
        code, log = self.cluster.run_to_its_end(pod, "test", HELM_TEST_WITHIN)
        self.assertEqual(code, 0, log)
        proofs = self.cluster.secrets["test"]
        for proof, says in (("key", "UNAUTHENTICATED"), ("token", "4501")):
            self.cluster.secrets["test"] = proofs | {proof: b"a-wrong-one"}
            self.addCleanup(self.cluster.secrets.update, test=proofs)
            code, log = self.cluster.run_to_its_end(pod, f"test-with-a-wrong-{proof}", HELM_TEST_WITHIN)
            self.assertNotEqual(code, 0, log)
            self.assertIn(says, log)

    def test_nothing_is_lost_while_every_pod_is_replaced(self):
        listeners, pusher, caller = self.listeners(6), self.pusher(), self.caller()
        self.assertEqual(len({listener.nodes[0] for listener in listeners}), 3)
        nodes, managers = self.cluster.deployment("connect-node"), self.cluster.deployment("push-manager")
        # One on each, so that every node is seen while it drains.
        silents = [
            self.cluster.loop.run(silent((one.pod.address, one.pod.port("ws")), self.token))
            for one in self.cluster.of(nodes)
        ]

        replaced = self.cluster.roll(nodes, managers)
        pusher.stopped = True
        # No manager refused one, and none was gone while connections still went to it.
        self.pushing.result(SETTLED_WITHIN)
        caller.stop()
        self.assertIsNone(caller.failure)
        # Its channel went over to another one, once at least.
        self.assertGreater(len(caller.managers), 1)
        self.everything_came(listeners, pusher)
        self.assertEqual(len(replaced), 5)
        for kubelet in replaced:
            # Not killed, that is: `complain` says so of those that were.
            self.assertEqual(kubelet.pod.process.returncode, 0, kubelet.pod.name)
            if kubelet.pod.labels["app.kubernetes.io/component"] == "connect-node":
                self.assertEqual(kubelet.last_status, 503, kubelet.pod.name)
        for socket in silents:
            socket.transport.abort()

    def everything_came(self, listeners, pusher):
        numbers = [str(number) for number in range(pusher.accepted)]
        for listener in listeners:
            self.wait_until(lambda: len(listener.received) >= len(numbers), f"{len(numbers)} pushes have come")
            self.assertEqual(sorted(listener.received, key=int), numbers)
            self.assertEqual(listener.repeated, [])
            # Its node went, and said so.
            self.assertIn(1012, listener.closes)
            self.assertEqual(listener.unrecovered, 0)


if __name__ == "__main__":
    unittest.main()
