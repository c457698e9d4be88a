"""Run ansible-test's sanity and unit tests on the collection, without a container and without an ignore file.

They run on a copy of what a release would hold, in build/ansible-test/ansible_collections/taskflow/operator, for they
want such a path. Each sanity test makes a virtual environment of its own below build/ansible-test/home, which is kept.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import yaml
from ansible_test._internal.host_configs import NativePythonConfig
from ansible_test._internal.python_requirements import get_venv_packages

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "ansible-test"
HOME = WORK / "home"
COLLECTION = WORK / "ansible_collections" / "taskflow" / "operator"
# The unit tests of the plugins, and what makes them find the collection.
TESTS = ("tests/conftest.py", "tests/support/", "tests/unit/plugins/")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# ansible-test would fetch this script from a place of its own. Python and the package index have all that it does.
GET_PIP = """\
import subprocess, sys
subprocess.run([sys.executable, "-m", "ensurepip"], check=True, capture_output=True)
packages = [word for word in sys.argv[1:] if not word.startswith("--")]
sys.exit(subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *packages]).returncode)
"""


def main() -> int:
    """Return 0 where all passes."""
    copy_collection()
    make_home()
    # An example is as its authors wrote it; the tests themselves are checked by ruff.
    results = [
        ansible_test("sanity", "--exclude", "examples/", "--exclude", "tests/"),
        # pytest runs all of them; here some show that they run as those of a collection do.
        ansible_test("units", "tests/unit/plugins/module/", "tests/unit/plugins/kube/"),
    ]
    return max(results)


def copy_collection() -> None:
    """Copy the files that a release holds, and the unit tests, as they are in the checkout now."""
    ignored = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["build_ignore"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    shutil.rmtree(COLLECTION, ignore_errors=True)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and (name.startswith(TESTS) or not is_ignored(name, ignored)):
            (COLLECTION / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, COLLECTION / name)
    # ansible-test asks git which files there are; the checkout's would know none of these.
    subprocess.run(["git", "init", "--quiet"], cwd=COLLECTION, check=True)


def is_ignored(name: str, patterns: list[str]) -> bool:
    """Tell whether build_ignore has a file, or a folder above it."""
    path = Path(name)
    return any(fnmatch(str(part), pattern) for part in (path, *path.parents) for pattern in patterns)


def make_home() -> None:
    """Make a home directory in which ansible-test finds a way to install pip, and pip its settings.

    ansible-test hands on no environment variable of pip's.
    """
    version = get_venv_packages(NativePythonConfig(version=PYTHON, path=sys.executable))["pip"]
    cache = HOME / ".ansible" / "test" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / f"get_pip_{version.replace('.', '_')}.py").write_text(GET_PIP, encoding="utf-8")
    command = [sys.executable, "-m", "pip", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    settings = {}
    for line in listed.splitlines():
        place, value = line.split("=", 1)
        settings[place.rpartition(".")[2]] = " ".join(ast.literal_eval(value).split())
    config = HOME / ".config" / "pip" / "pip.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key} = {value}\n" for key, value in sorted(settings.items()))
    config.write_text(f"[global]\n{text}", encoding="utf-8")


def ansible_test(what: str, *words: str) -> int:
    """Run one of ansible-test's commands, and return its exit code."""
    environment = {**os.environ, "HOME": str(HOME)}
    # It takes no settings of Ansible's.
    environment.pop("ANSIBLE_CONFIG", None)
    command = ["ansible-test", what, "--local", "--python", PYTHON, "--color", "no", *words]
    return subprocess.run(command, cwd=COLLECTION, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
