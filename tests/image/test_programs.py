"""The programs of the image at work, as Kubernetes starts them: they serve, find others by name, trust whom the image
trusts, write nothing, and end when they are told to."""

import base64
import json
import os
import secrets
import socket
import time
import unittest
import urllib.request

import authority
import built
import name_server
from sandbox import USER, Sandbox

# Of services, found by the name server, and of a host in the hosts file.
NODE, MANAGER, LOGIN = "rel-connect-node", "rel-push-manager", "login.example"
HOSTS = f"# Kubernetes-managed hosts file.\n127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.0.1 pod-1 {LOGIN}\n"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
LOGIN_PORT = 8443
FLEET = ("--fleet-auth=key", "--fleet-key-file=/etc/pushcast/fleet.key")
STRANGER = "UnknownIssuer"


def setUpModule():  # noqa: N802
    built.prepare()
    mounted = built.OWN / "mounted"
    mounted.mkdir()
    (built.OWN / "hosts").write_text(HOSTS)
    (built.OWN / "resolv.conf").write_text(name_server.RESOLV_CONF)
    authority.write_certificates(mounted, [LOGIN, NODE])
    for name in ("fleet.key", "ticket.key"):
        (mounted / name).write_bytes(base64.b64encode(secrets.token_bytes(32)))
    # As `fsGroup` does with secrets.
    for file in mounted.iterdir():
        os.chown(file, 0, USER)
        file.chmod(0o640)


def mounts():
    own = built.OWN
    return {"/etc/hosts": own / "hosts", "/etc/resolv.conf": own / "resolv.conf", "/etc/pushcast": own / "mounted"}


class Fleet(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.names = name_server.NameServer([NODE, MANAGER])
        authority.KeyServer(built.OWN / "mounted", LOGIN_PORT)
        cls.sandbox = Sandbox(mounts())
        # The same image, with a bundle of certificates mounted over its own.
        cls.trusting = Sandbox(mounts() | {BUNDLE: built.OWN / "mounted" / "ca.pem"})

    def start(self, *arguments, sandbox=None):
        program = (sandbox or self.sandbox).start(*arguments)
        self.addCleanup(program.end)
        return program

    def start_fleet(self):
        node = self.start(
            "/connect-node", "--ws-addr=0.0.0.0:8000", "--grpc-addr=0.0.0.0:8001", "--http-addr=0.0.0.0:8002",
            "--advertise-addr=127.0.0.1", "--node-id=pod-1", *FLEET, "--auth=none", "--insecure",
            "--tls-cert-file=/etc/pushcast/server.pem", "--tls-key-file=/etc/pushcast/server.key",
            "--ticket-key-file=/etc/pushcast/ticket.key", "--drain-spread=1s",
        )  # fmt: skip
        node.wait_for('"listening"')
        manager = self.start(
            "/push-manager", "--grpc-addr=0.0.0.0:9000", "--http-addr=0.0.0.0:9001", f"--nodes={NODE}:8001", *FLEET,
            "--api-auth=none", "--insecure",
        )  # fmt: skip
        wait_until_ready(9001, manager)
        wait_until_ready(8002, node)
        return node, manager

    def listen(self, sandbox):
        return self.start(
            "/pushctl", "listen", f"--url=wss://{NODE}:8000/ws", "--rooms=r1", "--count=1", "--json", sandbox=sandbox
        )

    def node_with_keys_of_login(self, sandbox):
        return self.start(
            "/connect-node", "--auth=jwt", f"--jwt-keys=https://{LOGIN}:{LOGIN_PORT}/jwks", *FLEET,
            "--ws-addr=127.0.0.1:0", "--grpc-addr=127.0.0.1:0", "--http-addr=127.0.0.1:0", sandbox=sandbox,
        )  # fmt: skip

    def test_each_program_says_its_version(self):
        for program in built.PROGRAMS:
            for path in (f"/{program}", program):
                done = self.sandbox.run(path, "--version")
                self.assertEqual((done.returncode, done.stdout), (0, f"{program} {built.VERSION}\n"), done.stderr)

    def test_a_push_arrives_and_both_end_when_told_to(self):
        node, manager = self.start_fleet()
        for program in (node, manager):
            self.assert_confined(program)
        listener = self.listen(self.trusting)
        listener.wait_for("connected to pod-1")
        pushed = self.sandbox.run("/pushctl", "push", f"--manager=http://{MANAGER}:9000", "room", "r1", "hello", "--json")
        self.assertEqual(pushed.returncode, 0, pushed.stderr)
        self.assertEqual(json.loads(pushed.stdout)["recipients"], 1)
        self.assertEqual(listener.outer.wait(10), 0, listener.said())
        self.assertIn('"hello"', listener.said())
        self.assertLessEqual({f"{NODE}.{name_server.DOMAIN}", f"{MANAGER}.{name_server.DOMAIN}"}, self.names.asked)
        self.assertEqual(manager.terminate(), 0, manager.said())
        self.assertEqual(node.terminate(), 0, node.said())

    def test_a_client_does_not_trust_an_authority_that_the_image_does_not_know(self):
        self.start_fleet()
        listener = self.listen(self.sandbox)
        listener.outer.wait(20)
        self.assertNotEqual(listener.outer.returncode, 0)
        self.assertIn(STRANGER, listener.said())

    def test_keys_come_over_https_from_whom_the_image_trusts(self):
        self.node_with_keys_of_login(self.trusting).wait_for("Token keys are read.")
        self.node_with_keys_of_login(self.sandbox).wait_for(STRANGER)

    def test_localhost_has_an_address_and_an_unknown_name_has_none(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            # A name is asked for in several domains, one after the other: that must not be what takes too long.
            for host, timeout, said in (
                ("localhost", "1s", "DEADLINE_EXCEEDED"),
                ("nobody.example", "15s", "Name does not resolve"),
            ):
                manager = f"--manager=http://{host}:{port}"
                asked = self.sandbox.run("/pushctl", "push", manager, f"--timeout={timeout}", "room", "r1", "hello")
                self.assertIn(said, asked.stderr)

    def test_nothing_can_be_written(self):
        self.assertTrue(os.statvfs(self.sandbox.root).f_flag & os.ST_RDONLY)
        for path in ("/keys", "/etc/pushcast/keys"):
            made = self.sandbox.run("/pushctl", "key", "new", "--name=n", f"--keys-file={path}")
            self.assertIn("Read-only file system", made.stderr)

    def assert_confined(self, program):
        status = program.status()
        self.assertEqual(status["Uid"] + status["Gid"], [str(USER)] * 8)
        self.assertEqual((status["NSpid"][-1], status["NoNewPrivs"]), ("1", ["1"]))
        self.assertEqual(int(status["CapEff"][0], 16) | int(status["CapPrm"][0], 16), 0)


def wait_until_ready(port, program, seconds=20):
    until = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                return json.load(answer)
        except OSError as error:
            assert time.monotonic() < until, f"{error}: {program.said()}"
            time.sleep(0.05)
