"""A rendered pod as a process of this machine: its command, environment, files and user are what the manifest says.

There are no containers here, so four things stand for what a container has of its own, and nothing else is changed:
- the pod's address is one of 127.0.0.0/8, and what listens on 0.0.0.0 listens there;
- a volume is a directory of the test's, and a path in an argument that begins with a mountPath leads there;
- the name of a Service is the address at which the test balances its connections (services.py);
- the image is a directory with the programs, where /push-manager is looked for; etcd is this machine's."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import uuid

from chart import NAMESPACE, PROGRAMS

IS_ROOT = os.geteuid() == 0


def image(directory):
    """Where the user of pods can reach the programs: a clone may be in a directory that is closed to it."""
    directory.mkdir()
    for program in ("push-manager", "connect-node", "pushctl"):
        shutil.copy(PROGRAMS / program, directory / program)
    return directory


class Pod:
    """Started when made. `secrets` are names with their files' content, `hosts` names of Services with addresses."""

    def __init__(self, name, metadata, spec, address, directory, image, secrets, hosts):
        (self.container,) = spec["containers"]
        self.name, self.spec, self.address = name, spec, address
        self.labels = metadata["labels"]
        self.directory, self.image, self.secrets, self.hosts = directory, image, secrets, hosts
        self.uid = str(uuid.uuid4())
        directory.mkdir()
        self.mounts = self.mounted()
        self.process = self.start()

    def start(self):
        environment = self.environment()
        command = [expanded(word, environment) for word in self.container["command"] + self.container.get("args", [])]
        command = [self.program(command[0]), *map(self.here, command[1:])]
        with open(self.directory / "log", "wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
                **self.user(),
            )

    def log(self):
        return (self.directory / "log").read_text(errors="replace")

    def port(self, port):
        """The number of one of its ports, given by name or number."""
        return next((one["containerPort"] for one in self.container["ports"] if one["name"] == port), port)

    def user(self):
        """Only root can be another user; everybody else runs pods as who they are."""
        security = self.spec["securityContext"]
        if not IS_ROOT:
            return {}
        return {"user": security["runAsUser"], "group": security["runAsGroup"], "extra_groups": [security["fsGroup"]]}

    def environment(self):
        fields = {
            "status.podIP": self.address,
            "metadata.name": self.name,
            "metadata.namespace": NAMESPACE,
            "metadata.uid": self.uid,
        }
        environment = {"HOSTNAME": self.name}
        for variable in self.container.get("env", []):
            source = variable.get("valueFrom", {})
            if "fieldRef" in source:
                value = fields[source["fieldRef"]["fieldPath"]]
            elif "secretKeyRef" in source:
                value = self.secrets[source["secretKeyRef"]["name"]][source["secretKeyRef"]["key"]].decode()
            else:
                value = expanded(variable["value"], environment)
            environment[variable["name"]] = value
        if self.container["command"] == ["etcd"]:
            # It also listens for other members, at its own localhost.
            environment["ETCD_LISTEN_PEER_URLS"] = f"http://{self.address}:2380"
        return environment

    def mounted(self):
        """Makes the volumes; by mountPath."""
        volumes = {volume["name"]: self.volume(volume) for volume in self.spec.get("volumes", [])}
        return {mount["mountPath"]: volumes[mount["name"]] for mount in self.container.get("volumeMounts", [])}

    def volume(self, volume):
        directory = self.directory / volume["name"]
        directory.mkdir()
        if "secret" in volume:
            for key, content in self.secrets[volume["secret"]["secretName"]].items():
                file = directory / key
                file.write_bytes(content)
                self.give(file, volume["secret"]["defaultMode"])
        else:
            assert volume["emptyDir"] == {}, volume
            self.give(directory, 0o770)
        return directory

    def give(self, path, mode):
        """To root and the pod's group, as kubelet does it for fsGroup."""
        if IS_ROOT:
            os.chown(path, 0, self.spec["securityContext"]["fsGroup"])
        path.chmod(mode)

    def program(self, command):
        return self.image / command.removeprefix("/") if command.startswith("/") else shutil.which(command)

    def here(self, argument):
        for path, directory in self.mounts.items():
            argument = re.sub(rf"(?<==){re.escape(path)}(?=/|$)", str(directory), argument)
        for host, address in self.hosts.items():
            argument = re.sub(rf"(?<=//){re.escape(host)}(?=:)", address, argument)
        return re.sub(r"\b0\.0\.0\.0(?=:)", self.address, argument)


def expanded(text, environment):
    """As Kubernetes expands it: $(NAME) of what is set, and $$ is a dollar."""

    def value(found):
        return "$" if found[0] == "$$" else environment.get(found[1], found[0])

    return re.sub(r"\$\$|\$\((\w+)\)", value, text)


def end_with_parent():
    """Nothing outlives the test, however that ends (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
