"""The test's own kubelet: what the real one would restart or kill a pod for does not pass unnoticed."""

import subprocess
import sys
import unittest
from types import SimpleNamespace

from kubelet import Kubelet


class Reported(unittest.TestCase):
    def watched(self, program, **spec):
        container = {"ports": [], "readinessProbe": {"httpGet": {"path": "/", "port": 9}, "periodSeconds": 1}}
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        process.stdout.readline()
        pod = SimpleNamespace(container=container | spec, spec=spec, process=process, address="127.0.0.1", port=int)
        kubelet = Kubelet(pod)
        kubelet.start()
        return kubelet

    def test_a_pod_that_outlives_its_grace(self):
        deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
        kubelet = self.watched(deaf, terminationGracePeriodSeconds=1)
        kubelet.terminate()
        kubelet.join(10)
        self.assertEqual(kubelet.failure, "it was killed after 1 s of grace")

    def test_a_pod_that_ends_by_itself(self):
        kubelet = self.watched("print(flush=True); raise SystemExit(3)")
        kubelet.join(10)
        self.assertEqual(kubelet.failure, "it ended by itself with 3")

    def test_a_pod_that_does_not_start_or_is_not_alive(self):
        probe = {"httpGet": {"path": "/", "port": 9}, "periodSeconds": 1, "failureThreshold": 1}
        sleeper = "import time; print(flush=True); time.sleep(60)"
        for name, says in (("startupProbe", "it did not start"), ("livenessProbe", "its liveness probe failed")):
            kubelet = self.watched(sleeper, **{name: probe})
            kubelet.join(10)
            self.assertIn(says, kubelet.failure)


if __name__ == "__main__":
    unittest.main()
