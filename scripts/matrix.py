"""Run molecule on a cluster of each version of Kubernetes, and write what came of it into docs/compatibility.md.

The versions are those of the role taskflow_cluster. A failure does not keep the others from being run. Rows of versions
that are not run stay as they are.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time
import typing as t
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "compatibility.md"
VERSIONS = ROOT / "dev" / "roles" / "taskflow_cluster" / "vars" / "main" / "versions.yml"
BEGIN, END = "<!-- matrix: begin -->", "<!-- matrix: end -->"
HEADER = ("Kubernetes", "containerd", "kind", "nodes", "date", "seconds", "result")
PASSED, FAILED = "passed", "failed"


class MatrixError(Exception):
    """The matrix can't be run, or what came of it not be written."""


@dataclass(frozen=True)
class Row:
    """What came of one version."""

    kubernetes: str
    containerd: str
    kind: str
    nodes: str
    date: str
    seconds: str
    result: str

    @property
    def minor(self) -> str:
        """The version without its last number: there is one row for each."""
        return ".".join(self.kubernetes.split(".")[:2])


def by_age(minor: str) -> list[int]:
    """Return what sorts versions as numbers: 1.9 comes before 1.10."""
    return [int(number) for number in minor.split(".")]


def known_versions(text: str, source: str) -> dict[str, dict[str, str]]:
    """Return the versions of everything for each version of Kubernetes, from the role's file."""
    found = (yaml.safe_load(text) or {}).get("taskflow_cluster_versions")
    if not isinstance(found, dict) or not found:
        raise MatrixError(f"{source} has no mapping taskflow_cluster_versions")
    return {str(minor): {key: str(value) for key, value in parts.items()} for minor, parts in found.items()}


def chosen(only: str, known: t.Iterable[str]) -> list[str]:
    """Return the versions to run, the newest first: all, or those that are named, with commas between them."""
    versions = sorted(known, key=by_age, reverse=True)
    named = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in named if name not in versions]
    if unknown:
        raise MatrixError(f"ONLY={only}: there is no {', '.join(unknown)}. There are {', '.join(versions)}")
    return [version for version in versions if not named or version in named]


def table(rows: t.Iterable[Row]) -> str:
    """Return the table, the newest version first."""
    lines = [HEADER, ["---"] * len(HEADER), *map(astuple, sorted(rows, key=lambda r: by_age(r.minor), reverse=True))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def split_page(text: str, source: str) -> tuple[str, str, str]:
    """Return what stands before the table, the table, and what stands after it."""
    before, begin, rest = text.partition(f"{BEGIN}\n")
    middle, end, after = rest.partition(END)
    if not begin or not end:
        raise MatrixError(f"{source} has no lines {BEGIN} and {END}, between which the table stands. Put them back")
    return before + begin, middle, end + after


def read_rows(text: str, source: str) -> list[Row]:
    """Return the rows that the page has."""
    rows = []
    for line in split_page(text, source)[1].strip().splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != len(fields(Row)) or not re.fullmatch(r"\d+\.\d+(\.\d+)?", cells[0]):
            raise MatrixError(f"{source}: this is no row of the table: {line}. Mend it, or take it out")
        rows.append(Row(*cells))
    return rows


def with_row(text: str, row: Row, source: str) -> str:
    """Return the page with this row, in place of the one of the same version."""
    before, _, after = split_page(text, source)
    others = [other for other in read_rows(text, source) if other.minor != row.minor]
    # Markdown wants an empty line on either side of a table.
    return f"{before}\n{table([*others, row])}\n{after}"


def row_before(minor: str, parts: dict[str, str], date: str) -> Row:
    """Return the row of a version whose cluster was never seen: what it was meant to be, and that it failed."""
    return Row(parts.get("kubernetes", minor), parts["containerd"], parts["kind"], "none", date, "0", FAILED)


def seen(row: Row, nodes: dict[str, t.Any]) -> Row:
    """Return the row with what the nodes say of themselves (`kubectl get nodes -o json`)."""
    infos = [node["status"]["nodeInfo"] for node in nodes["items"]]
    if not infos:
        return row
    return replace(
        row,
        kubernetes=infos[0]["kubeletVersion"].removeprefix("v"),
        containerd=infos[0]["containerRuntimeVersion"].rpartition("://")[2].removeprefix("v").partition("+")[0],
        nodes=str(len(infos)),
    )


def look(row: Row) -> Row:
    """Ask the cluster that is up for what it is made of."""
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "taskflow-cluster"
    try:
        cluster = json.loads((state / "cluster.json").read_text(encoding="utf-8"))
        command = [cluster["kubectl"], "--kubeconfig", cluster["kubeconfig"], "get", "nodes", "-o", "json"]
        answer = subprocess.run(command, capture_output=True, check=True, timeout=60, text=True)
        return seen(row, json.loads(answer.stdout))
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        print(f"matrix: the cluster of {row.kubernetes} does not say what it is made of: {error}", file=sys.stderr)
        return row


def make(target: str, **environment: str) -> bool:
    """Run a target of the Makefile, and tell whether it went well."""
    return subprocess.run(["make", target], cwd=ROOT, env={**os.environ, **environment}, check=False).returncode == 0


def run(minor: str, parts: dict[str, str]) -> Row:
    """Run molecule on a cluster of this version."""
    print(f"==> Kubernetes {minor}: a new cluster, and molecule on it.", flush=True)
    row = row_before(minor, parts, datetime.datetime.now(datetime.UTC).date().isoformat())
    began = time.monotonic()
    # Where the cluster before is not gone, molecule would run on that.
    if not make("down"):
        return row
    passed = make("molecule", KUBERNETES=minor)
    row = replace(row, seconds=str(round(time.monotonic() - began)), result=PASSED if passed else FAILED)
    found = look(row)
    if found.minor != minor:
        print(f"matrix: the cluster is of {found.kubernetes}, where {minor} was asked for", file=sys.stderr)
        return replace(row, result=FAILED)
    return found


def main(words: list[str]) -> int:
    """Run the versions; return 1 where one of them failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="these versions, such as 1.37,1.36")
    only = options.parse_args(words).only
    try:
        known = known_versions(VERSIONS.read_text(encoding="utf-8"), str(VERSIONS.relative_to(ROOT)))
        page = str(PAGE.relative_to(ROOT))
        rows = []
        read_rows(PAGE.read_text(encoding="utf-8"), page)  # not only after the first run
        for minor in chosen(only, known):
            rows.append(run(minor, known[minor]))
            text = with_row(PAGE.read_text(encoding="utf-8"), rows[-1], page)
            PAGE.write_text(text, encoding="utf-8")
    except (MatrixError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stopped = make("down")
    failed = [row.minor for row in rows if row.result == FAILED]
    print(table(rows), end="")
    if failed:
        print(f"error: molecule failed on Kubernetes {', '.join(failed)}; its output stands above", file=sys.stderr)
    return 0 if stopped and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
