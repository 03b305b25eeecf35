"""What kubelet does with a pod while it runs: its probes, and its end. One thread for each pod."""

import http.client
import ssl
import threading
import time


class Probe:
    """One of a container's probes, with the times the manifest gives and Kubernetes's own where it gives none."""

    def __init__(self, manifest):
        known = {"httpGet", "periodSeconds", "failureThreshold", "successThreshold", "timeoutSeconds"}
        assert set(manifest) <= known, f"a probe that is not understood here: {manifest}"
        self.get = manifest["httpGet"]
        self.period = manifest.get("periodSeconds", 10)
        self.failures_needed = manifest.get("failureThreshold", 3)
        self.successes_needed = manifest.get("successThreshold", 1)
        self.timeout = manifest.get("timeoutSeconds", 1)
        self.due = 0.0
        self.outcome, self.in_a_row = None, 0

    def verdict(self, pod):
        """Asks, and answers True or False once enough answers in a row were the same, and None before."""
        self.due = time.monotonic() + self.period
        outcome = 200 <= self.asked(pod) < 400
        self.in_a_row = self.in_a_row + 1 if outcome == self.outcome else 1
        self.outcome = outcome
        needed = self.successes_needed if outcome else self.failures_needed
        return outcome if self.in_a_row >= needed else None

    def asked(self, pod):
        """The status of the answer; 0 if there is none."""
        address = (self.get.get("host", pod.address), pod.port(self.get["port"]))
        if self.get.get("scheme", "HTTP") == "HTTPS":
            # As kubelet, which looks at no certificate.
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection(*address, timeout=self.timeout, context=context)
        else:
            connection = http.client.HTTPConnection(*address, timeout=self.timeout)
        try:
            connection.request("GET", self.get["path"])
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


class Kubelet(threading.Thread):
    """Watches one pod. `failure` is what kubelet would have restarted or killed it for, `last_status` what the readiness
    probe last got from it when it was ending."""

    def __init__(self, pod):
        super().__init__(daemon=True)
        self.pod = pod
        probes = {name: Probe(pod.container[name]) for name in pod.container if name.endswith("Probe")}
        self.startup, self.liveness = probes.get("startupProbe"), probes.get("livenessProbe")
        self.readiness = probes["readinessProbe"]
        # A hook would have to run before SIGTERM, within the grace period.
        assert "lifecycle" not in pod.container, "preStop is not understood here"
        self.grace = pod.spec.get("terminationGracePeriodSeconds", 30)
        self.failure, self.exit_took, self.last_status = None, None, None
        self.ready_since, self.terminated_at = None, None
        self.terminating = threading.Event()

    @property
    def ready(self):
        return self.ready_since is not None and not self.terminating.is_set()

    def available(self, seconds):
        """Whether it has been ready for so long."""
        return self.ready and time.monotonic() - self.ready_since >= seconds

    def takes_connections(self, lag):
        """Whether a Service gives it any, that hears of a pod's end `lag` seconds late."""
        return self.ready or (self.terminated_at is not None and time.monotonic() - self.terminated_at < lag)

    def terminate(self):
        """Ends the pod as deleting it does; `join` waits for it."""
        self.terminated_at = time.monotonic()
        self.terminating.set()

    def run(self):
        self.started() and self.lived()
        if not self.failure:
            self.end()

    def started(self):
        while self.goes_on():
            verdict = self.startup.verdict(self.pod) if self.startup else True
            if verdict is not None:
                self.failure = None if verdict else "it did not start: its startup probe failed"
                return verdict
            self.terminating.wait(self.startup.period)
        return False

    def lived(self):
        while self.goes_on():
            if self.liveness and self.liveness.due <= time.monotonic() and self.liveness.verdict(self.pod) is False:
                self.failure = "its liveness probe failed"
                return
            self.look_at_readiness()
            self.terminating.wait(0.05)

    def look_at_readiness(self):
        if self.readiness.due <= time.monotonic():
            verdict = self.readiness.verdict(self.pod)
            if verdict is False:
                self.ready_since = None
            elif verdict and self.ready_since is None:
                self.ready_since = time.monotonic()

    def goes_on(self):
        if self.pod.process.poll() is not None and not self.terminating.is_set():
            self.failure = f"it ended by itself with {self.pod.process.returncode}"
        return self.failure is None and not self.terminating.is_set()

    def end(self):
        """SIGTERM, and SIGKILL when the grace period is over. Readiness is asked more often than kubelet does, so that it is
        seen of a pod that ends quickly."""
        begun = time.monotonic()
        self.pod.process.terminate()
        while self.pod.process.poll() is None:
            if time.monotonic() - begun > self.grace:
                self.failure = f"it was killed after {self.grace} s of grace"
                self.pod.process.kill()
            self.last_status = self.readiness.asked(self.pod) or self.last_status
            time.sleep(0.05)
        self.exit_took = time.monotonic() - begun
        if self.failure is None and self.pod.process.returncode != 0:
            self.failure = f"it ended with {self.pod.process.returncode} after SIGTERM"
