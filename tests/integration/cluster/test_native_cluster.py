"""The throw-away cluster's role, on the native cluster that is up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def native() -> None:
    """These tests speak of the native provider; kind has a cluster of another make."""
    facts = json.loads((Path(os.environ["KUBECONFIG"]).parent / "cluster.json").read_text())
    if facts["provider"] != "native":
        pytest.skip("the cluster that is up was made by kind")


def run_role(state: str, *prefix: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the role in the given state, and return what came of it."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": {"name": "taskflow.operator.taskflow_cluster"}}],
        }
    ]
    program = shutil.which("ansible-playbook")
    assert program
    values = {"taskflow_cluster_state": state, "taskflow_cluster_provider": "native", **variables}
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(
        [*prefix, program, "/dev/stdin", "-e", json.dumps(values)],
        input=json.dumps(play),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
        cwd=ROOT,
    )


def test_bringing_up_what_is_up_changes_nothing():
    result = run_role("present")
    assert result.returncode == 0, result.stdout
    assert "changed=0" in result.stdout


def test_status_names_every_component_and_its_process():
    result = run_role("status")
    assert result.returncode == 0, result.stdout
    for name in ("etcd", "kube-apiserver", "kubelet", "containerd", "kube-proxy", "kube-scheduler"):
        pid = re.search(rf'"{name} +up, pid (\d+)"', result.stdout)
        assert pid, f"{name} is missing in {result.stdout}"
        assert Path(f"/proc/{pid[1]}").exists()
    assert "node-0 Ready" in result.stdout


def test_a_taken_port_is_named_with_the_process_that_has_it(tmp_path):
    # A second cluster in another folder finds the ports of the first one taken.
    result = run_role("present", taskflow_cluster_dir=str(tmp_path / "other"))
    assert result.returncode != 0
    assert re.search(r"6443.*kube-apiserver.*\d+", result.stdout), result.stdout
    assert not (tmp_path / "other" / "kubeconfig").exists()


def test_another_user_than_root_is_told_so(tmp_path):
    # In a user namespace the process is somebody else and may still read this checkout, wherever it is.
    another_user = ["unshare", "--user", "--map-user=1000"]
    result = run_role("present", *another_user, taskflow_cluster_dir=str(tmp_path / "cluster"))
    assert result.returncode != 0
    assert "needs root" in result.stdout, result.stdout + result.stderr
