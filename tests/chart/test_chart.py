"""The Helm chart, rendered: what it makes is valid for Kubernetes, says what the programs understand, and refuses what
cannot be meant. Needs helm and kubernetes-validate (tests/install.sh) and the programs in target/debug."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import kubernetes_validate
import yaml

import readme
from chart import CHART, PROGRAMS, ROOT, helm, of_kind, pods, render

# The oldest version that Chart.yaml allows, and the newest that kubernetes-validate 1.37 has schemas of.
VERSIONS = ("1.27", "1.37")
# Kinds whose schemas are no part of Kubernetes, and come in no package: their structure is looked at below instead.
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "HTTPRoute"}
TRYING_OUT = CHART / "ci" / "trying-out-values.yaml"


def refusal(*arguments, values=TRYING_OUT):
    rendered = helm("template", "rel", CHART, "--values", values, *arguments)
    assert rendered.returncode != 0, f"{arguments} was taken"
    return rendered.stderr


def value_sets():
    return sorted((CHART / "ci").glob("*.yaml"))


def files_in_arguments(documents):
    """Each file that an argument names: the secret that is mounted there, and the key in it."""
    for _, spec in pods(documents):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container.get("volumeMounts", [])}
            for path in re.findall(r"=(/etc/pushcast/\S+)", "\n".join(container.get("args", []))):
                directory, key = path.rsplit("/", 1)
                yield mounts[directory]["secret"]["secretName"], key


def merged(values, over):
    if not isinstance(values, dict) or not isinstance(over, dict):
        return over
    return values | {name: merged(values.get(name), value) for name, value in over.items()}


def documented_keys(values, secret):
    """What the README's table says of the keys of a secret that the user brings: in words, where the secret is set or around
    it, or by a setting beside it that these words name or that has words of its own."""
    said = {path: words for path, _, words in readme.rows()}
    keys = set()
    for path, beside in settings(values):
        if beside[path[-1]] == secret:
            words = " ".join(said.get(".".join(path[:end]), "") for end in range(1, len(path) + 1))
            keys |= set(re.findall(r"[\w-]+\.[\w-]+", words))
            for name, value in beside.items():
                own_words = said.get(".".join([*path[:-1], name]), "")
                if isinstance(value, str) and name != path[-1] and (own_words or re.search(rf"\b{name}\b", words)):
                    keys.add(value)
    return keys


def settings(values, path=()):
    """Each setting's path, and the map that it is in."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from settings(value, (*path, name))
        else:
            yield (*path, name), values


class Rendered(unittest.TestCase):
    """Over every set of values in ci/."""

    def each(self):
        for values in value_sets():
            with self.subTest(values.name):
                yield render(values)

    def test_the_value_sets_are_those_that_matter(self):
        self.assertEqual(
            [values.name for values in value_sets()],
            ["everything-values.yaml", "external-etcd-values.yaml", "trying-out-values.yaml"],
        )

    def test_lint_finds_nothing(self):
        for values in value_sets():
            linted = helm("lint", "--strict", CHART, "--values", values)
            self.assertEqual(linted.returncode, 0, linted.stdout)

    def test_every_object_is_valid_for_the_oldest_and_the_newest_version(self):
        for documents in self.each():
            for document in documents:
                if document["kind"] not in CUSTOM:
                    for version in VERSIONS:
                        kubernetes_validate.validate(document, version, strict=True)

    def test_custom_kinds_have_the_structure_of_their_definitions(self):
        documents = render(CHART / "ci" / "everything-values.yaml")
        self.assertEqual({one["kind"] for one in documents} & CUSTOM, CUSTOM)
        (service,) = of_kind(documents, "ServiceMonitor")
        self.assertEqual(set(service["spec"]), {"selector", "endpoints"})
        (endpoint,) = service["spec"]["endpoints"]
        self.assertEqual((endpoint["scheme"], endpoint["tlsConfig"]), ("https", {"insecureSkipVerify": True}))
        (pod,) = of_kind(documents, "PodMonitor")
        self.assertEqual(set(pod["spec"]), {"selector", "podMetricsEndpoints"})
        (rule,) = of_kind(documents, "PrometheusRule")
        self.assertEqual(set(rule["spec"]), {"groups"})
        (route,) = of_kind(documents, "HTTPRoute")
        self.assertLessEqual(set(route["spec"]), {"parentRefs", "hostnames", "rules"})
        ports = {port["port"] for one in of_kind(documents, "Service", "connect-node") for port in one["spec"]["ports"]}
        self.assertIn(route["spec"]["rules"][0]["backendRefs"][0]["port"], ports)

    def test_pods_are_restricted(self):
        for documents in self.each():
            for _, spec in pods(documents):
                self.assertIs(spec["automountServiceAccountToken"], False)
                self.assertIs(spec["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for container in spec["containers"]:
                    security = container["securityContext"]
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("requests", container["resources"])

    def test_selectors_find_their_pods_and_ports_exist(self):
        for documents in self.each():
            labels = [metadata["labels"] for metadata, _ in pods(documents)]
            for service in of_kind(documents, "Service"):
                wanted = service["spec"]["selector"]
                found = [spec for metadata, spec in pods(documents) if wanted.items() <= metadata["labels"].items()]
                self.assertEqual(len(found), 1, service["metadata"]["name"])
                names = {port["name"] for container in found[0]["containers"] for port in container["ports"]}
                for port in service["spec"]["ports"]:
                    self.assertIn(port["targetPort"], names)
            for kind, path in (
                ("PodDisruptionBudget", "selector"),
                ("NetworkPolicy", "podSelector"),
                ("Deployment", "selector"),
            ):
                for one in of_kind(documents, kind):
                    wanted = one["spec"][path]["matchLabels"]
                    self.assertTrue(any(wanted.items() <= of.items() for of in labels), one["metadata"]["name"])

    def test_probes_ask_the_operations_port(self):
        for documents in self.each():
            for ending, number in (("push-manager", 9001), ("connect-node", 8002)):
                (deployment,) = of_kind(documents, "Deployment", ending)
                (container, *_) = deployment["spec"]["template"]["spec"]["containers"]
                ports = {port["name"]: port["containerPort"] for port in container["ports"]}
                self.assertEqual(ports["http"], number)
                paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
                speaks_tls = ending == "push-manager" and any("--tls-cert-file" in word for word in container["args"])
                scheme = {"scheme": "HTTPS"} if speaks_tls else {}
                for probe, path in paths.items():
                    self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "http"} | scheme)

    def test_rollouts_add_before_they_take_away(self):
        for documents in self.each():
            for ending in ("push-manager", "connect-node"):
                (deployment,) = of_kind(documents, "Deployment", ending)
                self.assertEqual(deployment["spec"]["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})

    def test_the_grace_period_follows_the_drain(self):
        for drain, seconds in (("0s", 0), ("30s", 30), ("2m", 120), ("1h", 3600)):
            documents = render(TRYING_OUT, "--set", f"connectNode.drainSpread={drain}")
            (node,) = of_kind(documents, "Deployment", "connect-node")
            grace = node["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            # What the node takes beyond the spread (connect-node/src/drain.rs, run.rs), and the margin.
            self.assertEqual(grace, seconds + 16 + 15)
        for delay, seconds in (("0s", 0), ("5s", 5), ("10m", 600)):
            documents = render(TRYING_OUT, "--set", f"pushManager.drainDelay={delay}")
            (manager,) = of_kind(documents, "Deployment", "push-manager")
            # What it takes at most beyond the delay is 15 s (push-manager/src/run/stop.rs), and as much again.
            self.assertEqual(manager["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], seconds + 30)

    def test_every_flag_and_variable_is_one_that_the_program_has(self):
        for documents in self.each():
            for _, spec in pods(documents):
                (container,) = spec["containers"]
                command, arguments = container["command"], container["args"]
                if command == ["etcd"]:
                    continue
                words = [argument for argument in arguments if not argument.startswith("-")]
                program = PROGRAMS / command[0].removeprefix("/")
                help_text = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=True).stdout
                known = set(re.findall(r"--[a-z][a-z-]*", help_text))
                for argument in arguments[len(words) :]:
                    self.assertIn(argument.split("=")[0], known)
                declared = {variable["name"] for variable in container.get("env", [])}
                self.assertLessEqual(set(re.findall(r"\$\((\w+)\)", " ".join(arguments))), declared)

    def test_helm_test_is_there_where_it_has_what_doors_ask_for(self):
        keys = "auth.api.mode=keys,auth.api.existingSecret=a"
        tokens = "auth.clients.mode=jwt,auth.clients.jwt.existingSecret=b"
        with_key, with_token = "test.apiKey.existingSecret=c", "test.token.existingSecret=d"
        for settings, is_there in (
            ((), True),
            ((keys,), False),
            ((tokens,), False),
            ((keys, with_key), True),
            ((keys, tokens, with_key), False),
            ((keys, tokens, with_key, with_token), True),
            (("connectNode.tls.existingSecret=e",), False),
            (("pushManager.tls.existingSecret=e",), False),
        ):
            with self.subTest(settings):
                documents = render(TRYING_OUT, *(word for one in settings for word in ("--set", one)))
                self.assertEqual(len(of_kind(documents, "Pod")), is_there)

    def test_pods_with_ipv6_addresses(self):
        documents = render(TRYING_OUT, "--set", "listenAddress=[::]")
        self.assertNotIn("0.0.0.0", json.dumps(documents))
        (deployment,) = of_kind(documents, "Deployment", "connect-node")
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("--grpc-addr=[::]:8001", arguments)
        # As Kubernetes sets POD_IP. A node tells all mistakes in its settings at once; the one made here keeps it from starting.
        arguments = [argument.replace("$(POD_IP)", "fd00::7") for argument in arguments]
        node = subprocess.run([PROGRAMS / "connect-node", *arguments, "--shards=0"], capture_output=True, text=True, check=False)
        self.assertEqual(node.returncode, 64)
        self.assertIn("--shards", node.stderr)
        self.assertNotIn("--advertise-addr", node.stderr)

    def test_large_numbers_stay_numbers(self):
        documents = render(TRYING_OUT, "--set-json", 'connectNode.maxConnections=1000000')
        self.assertIn("--max-connections=1000000", json.dumps(documents))

    def test_files_in_arguments_are_in_a_mounted_secret(self):
        for values in value_sets():
            documents = render(values)
            made = {one["metadata"]["name"]: set(one["data"]) for one in of_kind(documents, "Secret")}
            given = merged(yaml.safe_load((CHART / "values.yaml").read_text()), yaml.safe_load(values.read_text()))
            for secret, key in files_in_arguments(documents):
                with self.subTest(values.name, secret=secret, key=key):
                    self.assertIn(key, made[secret] if secret in made else documented_keys(given, secret))

    def test_a_key_that_nobody_is_told_of_would_be_found(self):
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        told = documented_keys(merged(defaults, {"connectNode": {"tls": {"existingSecret": "mine"}}}), "mine")
        self.assertEqual(told, {"tls.crt", "tls.key"})
        told = documented_keys({"connectNode": {"new": {"existingSecret": "mine", "key": "keys"}}}, "mine")
        self.assertEqual(told, set())

    def test_names_are_short_enough_whatever_the_release_is_called(self):
        for release in ("r", "a-release-with-a-name-as-long-as-helm-allows-it-53"):
            for document in render(CHART / "ci" / "everything-values.yaml", release=release):
                self.assertLessEqual(len(document["metadata"]["name"]), 63)
        for document in render(TRYING_OUT, "--set", "fullnameOverride=" + "x" * 41):
            self.assertLessEqual(len(document["metadata"]["name"]), 63)

    def test_two_releases_share_a_namespace(self):
        names = [
            {(one["kind"], one["metadata"]["name"]) for one in render(TRYING_OUT, release=release)}
            for release in ("one", "two")
        ]
        self.assertFalse(names[0] & names[1])
        prefixes = [re.findall(r"--etcd-prefix=\S+", json.dumps(render(TRYING_OUT, release=r))) for r in ("one", "two")]
        self.assertFalse(set(prefixes[0]) & set(prefixes[1]))

    def test_the_readme_has_every_value(self):
        checked = subprocess.run(
            [sys.executable, ROOT / "tests" / "chart" / "readme.py", "--check"], capture_output=True, text=True, check=False
        )
        self.assertEqual(checked.returncode, 0, checked.stderr)

    def test_notes_name_the_real_objects(self):
        # helm renders them only where it finds a cluster; here they are the content of an object.
        with tempfile.TemporaryDirectory() as directory:
            chart = pathlib.Path(directory) / "pushcast"
            shutil.copytree(CHART, chart)
            (chart / "templates" / "NOTES.txt").rename(chart / "NOTES.txt")
            (chart / "templates" / "notes.yaml").write_text(
                'apiVersion: v1\nkind: ConfigMap\nmetadata: { name: notes }\n'
                'data:\n  notes: {{ tpl (.Files.Get "NOTES.txt") . | quote }}\n'
            )
            rendered = helm("template", "rel", chart, "--namespace", "ns", "--values", TRYING_OUT)
            self.assertEqual(rendered.returncode, 0, rendered.stderr)
        (notes,) = of_kind([one for one in yaml.safe_load_all(rendered.stdout) if one], "ConfigMap", "notes")
        for says in (
            "rollout status deployment/rel-pushcast-connect-node",
            "ws://rel-pushcast-connect-node.ns:8000/ws",
            "port-forward deployment/rel-pushcast-push-manager 9000",
            "etcd.dev is enabled",
            "insecure is set",
        ):
            self.assertIn(says, notes["data"]["notes"])


class Refused(unittest.TestCase):
    """What cannot be meant is refused with words."""

    def test_nothing_is_open_by_default(self):
        nothing = CHART / "values.yaml"
        self.assertIn("auth.clients.mode is not set: who may connect?", refusal(values=nothing))
        said = refusal("--set", "auth.clients.mode=jwt,auth.clients.jwt.existingSecret=s", values=nothing)
        self.assertIn("auth.api.mode is not set: who may push?", said)
        self.assertIn("auth.clients.mode=none --set insecure=true", refusal(values=nothing))

    def test_what_does_not_go_together(self):
        for settings, says in (
            ("insecure=false", "lets everybody in"),
            ("etcd.dev.enabled=false", "etcd.endpoints is empty"),
            ("etcd.endpoints={etcd:2379}", "one of them"),
            ("auth.clients.mode=jwt", "set auth.clients.jwt.existingSecret"),
            ("auth.api.mode=keys", "set auth.api.existingSecret"),
            ("auth.api.mode=mtls", "set auth.api.existingSecret"),
            ("auth.api.mode=mtls,auth.api.existingSecret=a", "set auth.api.clientCa.existingSecret"),
            ("auth.api.clientCa.existingSecret=a", "is of use only with auth.api.mode=mtls"),
            ("auth.fleet.mode=mtls", "set auth.fleet.mtls.pushManager"),
            ("httpRoute.enabled=true", "which Gateway is it for?"),
            ("auth.clients.jwt.url=https://a,auth.clients.jwt.existingSecret=b", "not both"),
        ):
            with self.subTest(settings):
                self.assertIn(says, refusal("--set", settings))

    def test_typos_and_wrong_types(self):
        for settings, says in (
            ("connectNode.replica=3", "connectNode: Additional property replica is not allowed"),
            ("connectNode.replicas=0", "connectNode.replicas: Must be greater than or equal to 1"),
            ("connectNode.replicas=many", "connectNode.replicas: Invalid type"),
            ("connectNode.drainSpread=30", "connectNode.drainSpread: Invalid type. Expected: string"),
            ("connectNode.drainSpread=soon", "connectNode.drainSpread: Does not match pattern"),
            ("connectNode.drainMarginSeconds=1", "connectNode.drainMarginSeconds: Must be greater"),
            ("connectNode.windowBytes=64MB", "connectNode.windowBytes: Does not match pattern"),
            ("connectNode.limits.rooms=none", "connectNode.limits.rooms: Invalid type"),
            ("connectNode.limits.framesPerSecond=-1", "connectNode.limits.framesPerSecond"),
            ("connectNode.service.type=Loadbalancer", "connectNode.service.type must be one of"),
            ("connectNode.publicUrl=push.example.com", "connectNode.publicUrl: Does not match pattern"),
            ("connectNode.trustedProxies={proxy}", "connectNode.trustedProxies.0: Does not match pattern"),
            ("pushManager.drainDelay=11m", "pushManager.drainDelay: Does not match pattern"),
            ("pushManager.logAge=forever", "pushManager.logAge: Does not match pattern"),
            ("pushManager.extraArgs={insecure}", "pushManager.extraArgs.0: Does not match pattern"),
            ("auth.clients.mode=token", "auth.clients.mode must be one of"),
            ("auth.client.mode=jwt", "auth: Additional property client is not allowed"),
            ("auth.clients.jwt.url=http://a", "auth.clients.jwt.url: Does not match pattern"),
            ("listenAddress=::", "listenAddress must be one of"),
            ("image.digest=latest", "image.digest: Does not match pattern"),
            ("etcd.endpoint=x", "etcd: Additional property endpoint is not allowed"),
            ("etcd.prefix=pushcast", "etcd.prefix: Does not match pattern"),
            ("networkPolicy.enabled=ja", "networkPolicy.enabled: Invalid type"),
            ("tickets.existingSecret=Not_A_Name", "tickets.existingSecret: Does not match pattern"),
        ):
            with self.subTest(settings):
                self.assertIn(says, refusal("--set", settings))

    def test_the_schema_knows_every_value_and_no_other(self):
        def walk(values, schema, path):
            properties = schema.get("properties")
            if not isinstance(values, dict) or properties is None:
                return
            self.assertIs(schema.get("additionalProperties"), False, path)
            self.assertEqual(set(values), set(properties) - {"global", "claims"}, path or "the top")
            for name, value in values.items():
                # What people put into resources is theirs.
                if name != "resources":
                    walk(value, properties[name], f"{path}.{name}")

        schema = json.loads((CHART / "values.schema.json").read_text())
        walk(yaml.safe_load((CHART / "values.yaml").read_text()), schema, "")


class Watching(unittest.TestCase):
    """The rules for Prometheus, and the dashboard; what they ask is held against a running fleet in test_running.py."""

    def test_the_dashboard_is_what_the_config_map_holds(self):
        (made,) = of_kind(render(CHART / "ci" / "everything-values.yaml"), "ConfigMap")
        held = json.loads(made["data"]["pushcast.json"])
        self.assertEqual(held, json.loads((CHART / "files" / "dashboard.json").read_text()))

    def test_every_alert_fires_when_it_should_and_not_before(self):
        tested = subprocess.run(
            ["promtool", "test", "rules", "alerts_test.yaml"],
            cwd=ROOT / "tests" / "chart",
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_none_is_without_a_test(self):
        names = re.findall(r"- alert: (\w+)", (CHART / "files" / "alerts.yaml").read_text())
        tested = set(re.findall(r"alertname: (\w+)", (ROOT / "tests" / "chart" / "alerts_test.yaml").read_text()))
        self.assertEqual(set(names), tested)


if __name__ == "__main__":
    unittest.main()
