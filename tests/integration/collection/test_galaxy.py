"""The collection as Galaxy would have it: built, installed into an empty place, and used from there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
MODULES = {path.stem for path in (ROOT / "plugins" / "modules").glob("*.py")}
# What is for work in a checkout only.
UNWANTED = {".ci", ".git", ".github", ".venv", "Makefile", "build", "molecule", "scripts", "tests"}


@pytest.fixture(scope="module")
def tarball(tmp_path_factory) -> Path:
    """The collection, built."""
    folder = tmp_path_factory.mktemp("built")
    galaxy(["build", str(ROOT), "--output-path", str(folder)], folder)
    (built,) = folder.glob("taskflow-operator-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory) -> Path:
    """An empty directory with nothing but the collection; kubernetes.core comes with the package ansible."""
    folder = tmp_path_factory.mktemp("installed")
    galaxy(["install", str(tarball), "--offline", "--no-deps", "--collections-path", str(folder)], folder)
    return folder


def galaxy(words: list[str], folder: Path) -> None:
    run(["ansible-galaxy", "collection", *words], folder)


def run(command: list[str], folder: Path) -> str:
    """Run a program in a folder, with the collections in that folder and no settings of the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment = {**kept, "ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_tarball_holds_what_users_need_and_nothing_else(tarball):
    with tarfile.open(tarball) as archive:
        members = {member.name for member in archive.getmembers()}
    assert not {name.split("/")[0] for name in members} & UNWANTED
    assert not [name for name in members if "__pycache__" in name or name.endswith((".pyc", ".tar.gz"))]
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "requirements.txt", "meta/runtime.yml", "Dockerfile"}
    assert wanted <= members
    assert tarball.stat().st_size < 2_000_000


def test_galaxys_importer_takes_it(tarball, tmp_path):
    checks = ["check_required_tags", "check_runtime_requires_ansible", "check_changelog", "check_sanity_ignore"]
    config = tmp_path / "importer.cfg"
    config.write_text("[galaxy-importer]\n" + "".join(f"{name} = True\n" for name in [*checks, "run_ansible_doc"]))
    command = ["env", f"GALAXY_IMPORTER_CONFIG={config}", sys.executable, "-m", "galaxy_importer.main", str(tarball)]
    said = run(["sh", "-c", '"$@" 2>&1', "sh", *command], tmp_path)
    assert "Importer processing completed successfully" in said
    assert not re.findall("^(?:ERROR|WARNING).*", said, re.MULTILINE), said
    found = json.loads((tmp_path / "importer_result.json").read_text())
    assert {content["name"] for content in found["contents"] if content["content_type"] == "module"} == MODULES


def test_each_module_is_documented_and_in_the_action_group(installed):
    listed = run(["ansible-doc", "--list", "taskflow.operator"], installed)
    modules = {line.split()[0] for line in listed.splitlines()}
    assert modules == {f"taskflow.operator.{name}" for name in MODULES}
    group = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())["action_groups"]["taskflow"]
    assert modules == {f"taskflow.operator.{name}" for name in group}


def test_each_role_is_there_with_its_arguments(installed):
    listed = run(["ansible-doc", "--type", "role", "--list", "taskflow.operator"], installed)
    for path in (ROOT / "roles").iterdir():
        assert f"taskflow.operator.{path.name}" in listed


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml")))
def test_each_playbook_is_found_by_its_name(installed, name):
    assert name in run(["ansible-playbook", f"taskflow.operator.{name}", "--syntax-check"], installed)


def test_a_plain_playbook_runs_the_modules_on_a_cluster(installed):
    steps = [{"name": "a", "image": "busybox:1.28", "command": ["true"]}]
    tasks = [
        {"taskflow.operator.task": {"name": "galaxy", "spec": {"steps": steps}}, "register": "made"},
        {"ansible.builtin.assert": {"that": ["made is changed", "made.state == 'Pending'"]}},
        {"taskflow.operator.task_info": {"namespace": "default", "name": "galaxy"}, "register": "found"},
        # Nothing was made.
        {"ansible.builtin.assert": {"that": ["found.tasks == []"]}},
        {"taskflow.operator.task_reconcile": {"name": "galaxy"}, "register": "served"},
        {"ansible.builtin.assert": {"that": ["served.action == 'absent'"]}},
    ]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (installed / "play.yml").write_text(yaml.safe_dump([play]))
    run(["ansible-playbook", "play.yml", "--check"], installed)


def test_the_requirements_have_no_upper_bounds():
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if not line.startswith("#"):
            assert not set("<~!,") & set(line) and "==" not in line, line
