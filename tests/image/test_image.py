"""What is in the image and what it says of itself; that the Containerfile, which pulls its base and cannot be run here,
makes the same; and that the chart asks for what is there."""

import os
import pathlib
import re
import shutil
import ssl
import stat
import tempfile
import unittest

import built
import yaml

CHART = built.ROOT / "charts" / "pushcast"
# Path, kind and mode, owner.
FILES = {
    "LICENSE": "-rw-r--r-- 0:0",
    "connect-node": "-rwxr-xr-x 0:0",
    "etc": "drwxr-xr-x 0:0",
    "etc/group": "-rw-r--r-- 0:0",
    "etc/passwd": "-rw-r--r-- 0:0",
    "etc/ssl": "drwxr-xr-x 0:0",
    "etc/ssl/certs": "drwxr-xr-x 0:0",
    "etc/ssl/certs/ca-certificates.crt": "-rw-r--r-- 0:0",
    "push-manager": "-rwxr-xr-x 0:0",
    "pushctl": "-rwxr-xr-x 0:0",
}


def setUpModule():  # noqa: N802
    built.prepare()


class Contents(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.root = built.container()

    def test_it_holds_these_files_and_no_other(self):
        found = {}
        for path in sorted(self.root.rglob("*")):
            about = path.lstat()
            found[str(path.relative_to(self.root))] = f"{stat.filemode(about.st_mode)} {about.st_uid}:{about.st_gid}"
        self.assertEqual(found, FILES)

    def test_they_are_those_that_root_sh_made(self):
        for path in built.FILES.rglob("*"):
            if path.is_file():
                in_image = self.root / path.relative_to(built.FILES)
                self.assertEqual(in_image.read_bytes(), path.read_bytes(), path)

    def test_programs_need_no_loader_and_no_library_and_are_stripped(self):
        for program in built.PROGRAMS:
            about = built.output("readelf", "--wide", "--program-headers", "--dynamic", "--sections", self.root / program)
            for unwanted in ("INTERP", "NEEDED", ".symtab", ".debug"):
                self.assertNotIn(unwanted, about, program)

    def test_user_and_group_have_a_name(self):
        self.assertEqual((self.root / "etc/passwd").read_text(), "nonroot:x:65532:65532:nonroot:/:/nonexistent\n")
        self.assertEqual((self.root / "etc/group").read_text(), "nonroot:x:65532:\n")

    def test_certificates_are_those_of_debian_whole(self):
        bundle = ssl.create_default_context(cafile=self.root / "etc/ssl/certs/ca-certificates.crt")
        mozilla = list(pathlib.Path("/usr/share/ca-certificates/mozilla").glob("*.crt"))
        self.assertEqual(len(bundle.get_ca_certs(binary_form=True)), len(mozilla))
        self.assertGreater(len(mozilla), 100)


class Description(unittest.TestCase):
    def test_it_is_a_number_that_is_not_root_and_no_program_is_chosen(self):
        config = built.config()["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertEqual(config["Env"], ["PATH=/"])
        self.assertNotIn("Entrypoint", config)
        self.assertNotIn("Cmd", config)

    def test_labels(self):
        labels = built.config()["config"]["Labels"]
        prefix = "org.opencontainers.image."
        ours = {name.removeprefix(prefix): text for name, text in labels.items() if name.startswith(prefix)}
        self.assertRegex(ours.pop("description"), "^Real-time push")
        revision = built.output("git", "-c", "safe.directory=*", "rev-parse", "HEAD")
        self.assertEqual(
            ours, {"title": "Pushcast", "licenses": "Apache-2.0", "version": built.VERSION, "revision": revision}
        )

    def test_ports_and_name_and_user_are_those_of_the_chart(self):
        templates = "".join(path.read_text() for path in (CHART / "templates").glob("*-deployment.yaml"))
        ports = {f"{port}/tcp" for port in re.findall(r"containerPort: (\d+)", templates)}
        self.assertEqual(set(built.config()["config"]["ExposedPorts"]), ports)
        repository = yaml.safe_load((CHART / "values.yaml").read_text())["image"]["repository"]
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        self.assertEqual(f"{repository}:{version}", built.NAME)
        helpers = (CHART / "templates" / "_helpers.tpl").read_text()
        self.assertEqual(set(re.findall(r"runAsUser: (\d+)", helpers)), {"65532"})

    def test_commands_of_the_chart_are_in_it(self):
        commands = set()
        for path in (CHART / "templates").rglob("*.yaml"):
            if "pushcast.image" in path.read_text():
                commands |= set(re.findall(r"command: \[/([\w-]+)\]", path.read_text()))
        self.assertEqual(commands, set(built.PROGRAMS))


class Building(unittest.TestCase):
    """Of the two stages that pull, what can be said without pulling."""

    def test_the_compiler_is_the_one_that_the_workspace_asks_for(self):
        wanted = re.search(r'^rust-version = "(.*)"', (built.ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)
        bases = re.findall(r"^FROM (\S+)", (built.ROOT / "Containerfile").read_text(), re.MULTILINE)
        self.assertEqual(bases, [f"docker.io/library/rust:{wanted}-slim-bookworm", "scratch", "scratch"])

    def test_both_ways_make_the_files_with_root_sh(self):
        containerfile = (built.ROOT / "Containerfile").read_text()
        self.assertIn("\nRUN image/root.sh /image\n", containerfile)
        self.assertIn("\nCOPY --from=build /image/ /\n", containerfile)
        recipe = (built.ROOT / "Makefile").read_text().split("\nimage-scratch:\n")[1].split("\n\n")[0]
        self.assertEqual(
            recipe.split("\n"), ["\timage/root.sh target/image", "\timage/build.sh --build-context files=target/image"]
        )

    def test_what_is_sent_to_the_engine_is_the_source_and_no_more(self):
        with tempfile.NamedTemporaryFile("w", dir=built.OWN) as containerfile:
            containerfile.write("FROM scratch\nCOPY . /\n")
            containerfile.flush()
            built.output("buildah", "build", "--file", containerfile.name, "--tag", "context", ".")
        root = built.container("context")
        sent = {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}
        tracked = built.output("git", "-c", "safe.directory=*", "ls-files", "--cached").split("\n")
        source = {path for path in tracked if not path.startswith("charts/") and os.path.lexists(built.ROOT / path)}
        self.assertEqual(source - sent, set())
        built_here = {"target", ".venv", "node_modules", "artifacts", "corpus", ".git", "charts"}
        self.assertEqual({path for path in sent if built_here & set(path.split("/")[:-1])}, set())

    def test_several_platforms_are_one_manifest(self):
        environment = os.environ | {"PLATFORMS": "linux/amd64,linux/arm64", "IMAGE": "several", "TAG": "1"}
        for _ in range(2):
            built.output("image/build.sh", "--build-context", "files=target/image", env=environment)
        manifest = yaml.safe_load(built.output("buildah", "manifest", "inspect", "several:1"))
        self.assertEqual(
            sorted(one["platform"]["architecture"] for one in manifest["manifests"]), ["amd64", "arm64"]
        )

    def test_engines_in_order(self):
        with tempfile.TemporaryDirectory(dir=built.OWN) as directory:
            environment = os.environ | {"PATH": directory, "IMAGE": "registry.example/push", "TAG": "7"}
            for tool in ("bash", "dirname", "git", "sed"):
                os.symlink(shutil.which(tool), f"{directory}/{tool}")
            self.assertEqual(built.run("image/build.sh", env=environment).returncode, 1)
            for engine in ("podman", "docker", "buildah"):
                path = pathlib.Path(directory, engine)
                path.write_text(f'#!/bin/sh\necho {engine} "$@"\n')
                path.chmod(0o755)
                said = built.output("image/build.sh", env=environment)
                self.assertRegex(said, f"^{engine} build --file Containerfile .*--tag registry.example/push:7 \\.$")
