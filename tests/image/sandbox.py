"""The image as a kubelet starts it, where no engine is at hand: a read-only root without anything but the image's files,
/proc, hosts, resolv.conf and mounted secrets; each program process 1 of its own, user 65532, without a way to more."""

import os
import pathlib
import shutil
import signal
import subprocess
import time

import built

USER = 65532
# With absolute paths, since the image's environment is all that there is.
UNSHARE, SETPRIV, CHROOT = (shutil.which(tool) for tool in ("unshare", "setpriv", "chroot"))


class Sandbox:
    def __init__(self, mounts):
        """`mounts` says which of our files and directories is seen where in the image."""
        self.root = built.container()
        environment = built.config()["config"]["Env"]
        self.environment = dict(one.split("=", 1) for one in environment)
        mount("--bind", self.root, self.root)
        (self.root / "proc").mkdir()
        mount("-t", "proc", "proc", self.root / "proc")
        for path, source in mounts.items():
            mount_read_only(source, self.root / path.lstrip("/"))
        mount("-o", "remount,bind,ro,nosuid,nodev", self.root)

    def command(self, *arguments):
        inside = [SETPRIV, "--no-new-privs", CHROOT, f"--userspec={USER}:{USER}", f"--groups={USER}", self.root]
        return [UNSHARE, "--pid", "--fork", "--kill-child", *map(str, inside), *map(str, arguments)]

    def run(self, *arguments, seconds=20):
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=seconds,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def start(self, *arguments):
        return Program(self.command(*arguments), self.environment)


def mount(*arguments):
    built.output("mount", *arguments)


def mount_read_only(source, target):
    # Engines make the points to mount at, too.
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.touch()
    mount("--bind", source, target)
    mount("-o", "remount,bind,ro,nosuid,nodev", target)


class Program:
    count = 0

    def __init__(self, command, environment):
        Program.count += 1
        self.log = built.OWN / f"{Program.count}.log"
        with self.log.open("wb") as log:
            self.outer = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    def said(self):
        return self.log.read_text()

    def wait_for(self, text, seconds=20):
        until = time.monotonic() + seconds
        while text not in self.said():
            assert self.outer.poll() is None, f"ended: {self.said()}"
            assert time.monotonic() < until, f"no {text!r} in: {self.said()}"
            time.sleep(0.02)

    def pid(self):
        """Of the program, which is what `unshare` waits for."""
        children = pathlib.Path(f"/proc/{self.outer.pid}/task/{self.outer.pid}/children").read_text().split()
        (child,) = map(int, children)
        return child

    def status(self):
        lines = pathlib.Path(f"/proc/{self.pid()}/status").read_text().splitlines()
        return {name: value.split() for name, value in (line.split(":", 1) for line in lines)}

    def terminate(self, seconds=20):
        """The exit code after SIGTERM."""
        os.kill(self.pid(), signal.SIGTERM)
        return self.outer.wait(seconds)

    def end(self):
        if self.outer.poll() is None:
            os.kill(self.pid(), signal.SIGKILL)
            self.outer.wait(10)
