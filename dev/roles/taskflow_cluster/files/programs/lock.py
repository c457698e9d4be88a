"""Write go.mod and go.sum for a row of the table of versions: lock.py TABLE MINOR

Run it after a change in the table or in a program's imports, such as: lock.py vars/main/versions.yml 1.37
It needs Go on the PATH.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from programs import HERE, PARTS, RUNC

# The module of each column of the table.
MODULES = {
    "kubernetes": "k8s.io/kubernetes",
    "kind": "sigs.k8s.io/kind",
    "containerd": "github.com/containerd/containerd/v2",
    "runc": RUNC,
    "etcd": "go.etcd.io/etcd/server/v3",
    "coredns": "github.com/coredns/coredns",
    "cni": "github.com/containernetworking/plugins",
    "crictl": "sigs.k8s.io/cri-tools",
}
# Where a row leaves these out, those of the newest Kubernetes are taken.
OPTIONAL = ("crictl", "runc")


def go_mod(row: dict[str, str], upstream: str) -> str:
    """Return a go.mod.

    Args:
        row: The versions, a row of the table.
        upstream: The go.mod of Kubernetes. It replaces its staging modules by folders; here their published versions,
            0.X.Y for Kubernetes 1.X.Y, take their place.
    """
    staging = re.findall(r"^\t(k8s\.io/[a-z-]+) => \./staging", upstream, re.MULTILINE)
    published = "v0." + row["kubernetes"].partition(".")[2]
    ours = [package for part in PARTS.values() for package in part.values() if not package.startswith(".")]
    absent = tuple(MODULES[column] for column in OPTIONAL if column not in row)
    packages = [package for package in [*ours, RUNC] if not package.startswith(absent)]
    lines = [
        "module taskflow.cluster",
        *re.findall(r"^go .*|^godebug .*", upstream, re.MULTILINE),
        *re.findall(r"^godebug \(.*?^\)", upstream, re.MULTILINE | re.DOTALL),
        *(f"require {module} v{row[column]}" for column, module in MODULES.items() if column in row),
        *(f"replace {module} => {module} {published}" for module in staging),
        *(f"tool {package}" for package in packages),
    ]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def run(*words: str, folder: str) -> str:
    """Run Go and return what it printed."""
    return subprocess.run(["go", *words], cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def require_versions(row: dict[str, str], chosen: str) -> None:
    """Refuse a row whose versions are not those that Go has chosen: another module asks for newer ones."""
    for column in MODULES.keys() & row.keys():
        module = MODULES[column]
        found = re.search(rf"{re.escape(module)} v(\S+)", chosen)
        if not found or found[1] != row[column]:
            raise SystemExit(f"error: {column} {row[column]} does not fit the others; Go chose {found and found[1]}.")


def lock(table: Path, minor: str) -> None:
    """Write modules/MINOR/go.mod and go.sum."""
    row = yaml.safe_load(table.read_text())["taskflow_cluster_versions"].get(minor)
    if not row:
        raise SystemExit(f"error: {table} has no row {minor!r}.")
    if not shutil.which("go"):
        raise SystemExit("error: there is no Go on the PATH. Install Go.")
    with tempfile.TemporaryDirectory() as folder:
        shown = run("mod", "download", "-json", f"{MODULES['kubernetes']}@v{row['kubernetes']}", folder=folder)
        upstream = Path(json.loads(shown)["GoMod"]).read_text()
        (Path(folder) / "go.mod").write_text(go_mod(row, upstream))
        for program in HERE.glob("*/*.go"):
            (Path(folder) / program.parent.name).mkdir(exist_ok=True)
            shutil.copy(program, Path(folder) / program.parent.name)
        run("mod", "tidy", folder=folder)
        require_versions(row, (Path(folder) / "go.mod").read_text())
        target = HERE / "modules" / minor
        target.mkdir(parents=True, exist_ok=True)
        for file in ("go.mod", "go.sum"):
            shutil.copy(Path(folder) / file, target)


if __name__ == "__main__":
    lock(Path(sys.argv[1]), sys.argv[2])
