"""The image as `make image-scratch` builds it, in a store of its own; and the machine around it that run.sh has made."""

import fcntl
import functools
import json
import os
import pathlib
import re
import socket
import struct
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
OWN = ROOT / "target" / "image-test"
FILES = ROOT / "target" / "image"
VERSION = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
NAME = f"pushcast:{VERSION}"
PROGRAMS = ("connect-node", "push-manager", "pushctl")


def run(*arguments, seconds=60, **options):
    return subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT, **options
    )


def output(*arguments, **options):
    done = run(*arguments, **options)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@functools.cache
def prepare():
    """The image built, once, with loopback up. What buildah keeps in /var/lib beside its store is gone with the tests."""
    assert os.getpid() == 1, "these tests mount and listen: run them with tests/image/run.sh"
    raise_loopback()
    output("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
    output("make", "image-scratch", env=os.environ | {"QUICK": "1"}, seconds=120)


def raise_loopback():
    up = struct.pack("16sh", b"lo", 0x1)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS, IFF_UP


def config(name=NAME):
    return json.loads(output("buildah", "inspect", "--type", "image", name))["OCIv1"]


def container(name=NAME):
    """The root directory of a new container, writable; the image stays as it is."""
    made = output("buildah", "from", "--pull-never", name)
    return pathlib.Path(output("buildah", "mount", made))
