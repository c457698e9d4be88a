"""The throw-away cluster's role, on the cluster that is up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from support import ROOT
from support.facts import facts, needs_own_cluster

pytestmark = needs_own_cluster


def run_role(state: str, kubernetes: str = "", **variables: str) -> tuple[int, str]:
    """Run the role in the given state, as the cluster that is up was made; return its exit code and what it said."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.import_role": {"name": "taskflow_cluster"}}],
        }
    ]
    program = shutil.which("ansible-playbook")
    assert program
    as_it_is = {
        "taskflow_cluster_state": state,
        "taskflow_cluster_dir": str(Path(facts().kubeconfig).parent),
        "taskflow_cluster_name": facts().name,
        "taskflow_cluster_registry_port": int(facts().registry_push.rpartition(":")[2]),
    }
    settings = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_FORCE_COLOR": "0",
        "KUBERNETES": kubernetes or facts().kubernetes.rpartition(".")[0],
    }
    result = subprocess.run(
        [program, "/dev/stdin", "-e", json.dumps({**as_it_is, **variables})],
        input=json.dumps(play),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **settings},
        cwd=ROOT,
    )
    return result.returncode, result.stdout + result.stderr


def test_bringing_up_what_is_up_changes_nothing():
    code, said = run_role("present")
    assert code == 0, said
    assert "changed=0" in said, said


def test_status_names_every_node_and_the_registry():
    code, said = run_role("status")
    assert code == 0, said
    for node in facts().nodes:
        assert re.search(rf"{node} +Ready", said), said
    assert facts().kubernetes in said
    assert facts().registry_push in said


def test_a_version_that_the_table_lacks_is_refused_with_those_that_it_has(tmp_path):
    other = str(tmp_path / "other")
    code, said = run_role("present", kubernetes="1.20", taskflow_cluster_dir=other)
    assert code != 0
    assert re.search(r"There is no Kubernetes 1\.20 .*1\.37", said), said
    assert not (tmp_path / "other").exists()
