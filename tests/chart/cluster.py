"""A release of the chart at work on this machine: its pods, Services, rollouts, and what Prometheus would scrape."""

import base64
import http.client
import itertools
import pathlib
import shutil
import ssl
import tempfile
import time

from chart import NAMESPACE, of_kind
from kubelet import Kubelet
from pods import Pod, image
from services import Loop, Network, Service

# Twice what the slowest start may take: a node waits 15 s for its managers.
READY_WITHIN = 30.0
# Five pods one after the other, each of which waits for others, for itself and for its clients; doubled.
ROLLED_WITHIN = 150.0


class Cluster:
    """Installs what was rendered. `secrets` are those that the user brings: names, with files and their content."""

    def __init__(self, documents, secrets):
        # Closed to nobody: pods are another user's.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pushcast-chart-"))
        self.directory.chmod(0o755)
        self.documents, self.network, self.loop = documents, Network(), Loop()
        self.image = image(self.directory / "image")
        self.secrets = secrets | {one["metadata"]["name"]: contents(one) for one in of_kind(documents, "Secret")}
        self.kubelets, self.numbers = [], itertools.count(1)
        self.services = [
            Service(one, self.network.service(), lambda: self.kubelets)
            for one in of_kind(documents, "Service")
            if one["spec"].get("clusterIP") != "None"
        ]
        for service in self.services:
            self.loop.run(service.listen())

    def close(self):
        for kubelet in self.kubelets:
            kubelet.pod.process.kill()
            kubelet.pod.process.wait()
        for kubelet in self.kubelets:
            kubelet.terminate()
            kubelet.join()
        self.loop.close(*self.services)
        self.network.close()
        shutil.rmtree(self.directory)

    def deployment(self, ending):
        (deployment,) = of_kind(self.documents, "Deployment", ending)
        return deployment

    def service(self, ending):
        (service,) = (one for one in self.services if one.name.endswith(ending))
        return service

    def pod(self, name, metadata, spec):
        hosts = {service.name: service.address for service in self.services}
        address = self.network.pod()
        return Pod(name, metadata, spec, address, self.directory / name, self.image, self.secrets, hosts)

    def start_one(self, deployment):
        name = f"{deployment['metadata']['name']}-{next(self.numbers)}"
        template = deployment["spec"]["template"]
        kubelet = Kubelet(self.pod(name, template["metadata"], template["spec"]))
        self.kubelets.append(kubelet)
        kubelet.start()
        return kubelet

    def install(self):
        """Everything at once, as helm does it."""
        for deployment in of_kind(self.documents, "Deployment"):
            for _ in range(deployment["spec"]["replicas"]):
                self.start_one(deployment)
        for kubelet in list(self.kubelets):
            self.wait_until(lambda: kubelet.ready, f"{kubelet.pod.name} is ready", READY_WITHIN)

    def of(self, deployment):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        return [
            one for one in self.kubelets if wanted.items() <= one.pod.labels.items() and not one.terminating.is_set()
        ]

    def roll(self, *deployments):
        """Updates them all at the same time, as `helm upgrade` does. Answers the pods that were there before."""
        old = [kubelet for deployment in deployments for kubelet in self.of(deployment)]
        rollouts = [self.rollout(deployment) for deployment in deployments]
        self.wait_until(lambda: all([next(one, "done") for one in rollouts]), "everything is replaced", ROLLED_WITHIN)
        for kubelet in old:
            self.wait_until(lambda: not kubelet.is_alive(), f"{kubelet.pod.name} has ended", kubelet.grace + 5)
        return old

    def rollout(self, deployment):
        """A rolling update, step by step: one pod more, and when that is available one of the old ones less, which ends
        meanwhile. Yields False while it waits."""
        strategy = deployment["spec"]["strategy"]["rollingUpdate"]
        assert strategy == {"maxUnavailable": 0, "maxSurge": 1}, strategy
        for old in self.of(deployment):
            new = self.start_one(deployment)
            while not new.available(deployment["spec"].get("minReadySeconds", 0)):
                yield False
            old.terminate()

    def run_to_its_end(self, manifest, name, seconds):
        """A pod that does something and ends. Answers its exit code and its log."""
        pod = self.pod(name, manifest["metadata"], manifest["spec"])
        try:
            return pod.process.wait(seconds), pod.log()
        finally:
            pod.process.kill()
            pod.process.wait()

    def wait_until(self, holds, what, seconds):
        end = time.monotonic() + seconds
        while not holds():
            self.complain()
            assert time.monotonic() < end, f"not within {seconds} s: {what}\n{self.logs()}"
            time.sleep(0.05)

    def complain(self):
        """Raises if kubelet would have restarted or killed a pod."""
        for kubelet in self.kubelets:
            assert kubelet.failure is None, f"{kubelet.pod.name}: {kubelet.failure}\n{kubelet.pod.log()[-4000:]}"

    def logs(self):
        return "\n".join(f"--- {one.pod.name}\n{one.pod.log()[-2000:]}" for one in self.kubelets)

    def scraped(self):
        """What Prometheus gets from the pods that the monitors select: each one's text, and the labels its series get."""
        for monitor in of_kind(self.documents, "ServiceMonitor") + of_kind(self.documents, "PodMonitor"):
            (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
            wanted = monitor["spec"]["selector"]["matchLabels"]
            chosen = [one.pod for one in self.kubelets if one.ready and wanted.items() <= one.pod.labels.items()]
            assert chosen, f"{monitor['metadata']['name']} selects nothing"
            for pod in chosen:
                labels = {"job": monitor["metadata"]["name"], "namespace": NAMESPACE, "pod": pod.name}
                yield scrape(pod, endpoint), labels


def scrape(pod, endpoint):
    address = (pod.address, pod.port(endpoint["port"]))
    if endpoint.get("scheme", "http") == "https":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(*address, timeout=10, context=context)
    else:
        connection = http.client.HTTPConnection(*address, timeout=10)
    connection.request("GET", endpoint["path"])
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200, f"{pod.name}: {response.status}"
    return text


def contents(secret):
    return {name: base64.b64decode(value) for name, value in secret["data"].items()}
