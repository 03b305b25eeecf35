"""The Helm chart and what it renders to, for the tests of it."""

import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "pushcast"
PROGRAMS = ROOT / "target" / "debug"
RUNNING = ROOT / "tests" / "chart" / "running-values.yaml"
HELM = pathlib.Path(sys.executable).with_name("helm")
NAMESPACE = "ns"


def helm(*arguments):
    return subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, check=False)


def render(values, *arguments, release="rel"):
    rendered = helm("template", release, CHART, "--namespace", NAMESPACE, "--values", values, *arguments)
    assert rendered.returncode == 0, rendered.stderr
    return [document for document in yaml.safe_load_all(rendered.stdout) if document]


def of_kind(documents, kind, ending=""):
    return [one for one in documents if one["kind"] == kind and one["metadata"]["name"].endswith(ending)]


def pods(documents):
    for document in documents:
        if document["kind"] == "Pod":
            yield document["metadata"], document["spec"]
        elif "template" in document.get("spec", {}):
            template = document["spec"]["template"]
            yield template["metadata"], template["spec"]
