"""The table of values in the chart's README, from values.yaml and its comments. `readme.py` writes it; `readme.py --check`
says whether it is up to date."""

import json
import pathlib
import re
import sys

import yaml

CHART = pathlib.Path(__file__).resolve().parents[2] / "charts" / "pushcast"
BEGIN, END = "<!-- begin: made by `make chart-readme` -->\n", "<!-- end -->"


def rows():
    """A path, its default and what is said of it, for each value that has no values below it."""
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    path, said = [], []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        stripped = line.strip()
        if stripped.startswith("#"):
            said.append(stripped.removeprefix("#").strip())
            continue
        key = re.match(r"([\w]+):(.*)", stripped)
        if not key:
            said = []
            continue
        path = path[: indent // 2] + [key.group(1)]
        value = defaults
        for name in path:
            value = value[name]
        if key.group(2).strip() or not isinstance(value, dict):
            yield ".".join(path), json.dumps(value), " ".join(said)
        elif said:
            yield ".".join(path), "", " ".join(said)
        said = []


def table():
    lines = ["| value | default | |", "|---|---|---|"]
    for path, default, said in rows():
        shown = f"`{default}`" if default else ""
        lines.append(f"| `{path}` | {shown} | {said.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def main():
    readme = CHART / "README.md"
    text = readme.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    wanted = f"{before}{BEGIN}{table()}{END}{after}"
    if "--check" in sys.argv:
        return 0 if text == wanted else "charts/pushcast/README.md does not match values.yaml: `make chart-readme`"
    readme.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
