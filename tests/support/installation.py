"""The operator as it is installed, and the playbooks that install and remove it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from support import OPERATOR_NAMESPACE, ROOT, Cluster, Object

OPERATOR = Cluster(OPERATOR_NAMESPACE)


def playbook(name: str, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection."""
    command = ["ansible-playbook", f"taskflow.operator.{name}", "-e", json.dumps(variables)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment, cwd=ROOT)


def install_variables() -> dict[str, object]:
    """Return the variables that give the operator as it is installed now."""
    container = OPERATOR.get("deployment", "taskflow-operator")["spec"]["template"]["spec"]["containers"][0]
    env = {e["name"]: e.get("value", "") for e in container["env"]}
    return {
        "taskflow_operator_image": container["image"],
        "taskflow_operator_agent_image": env["TASKFLOW_AGENT_IMAGE"],
        "taskflow_operator_registry_mirrors": env["TASKFLOW_REGISTRY_MIRRORS"].split(","),
        "taskflow_operator_kubeconfig": os.environ["KUBECONFIG"],
    }


def run_playbook(name: str, variables: dict[str, object]) -> None:
    """Run a playbook of the collection, which has to succeed."""
    result = playbook(name, **variables)
    assert result.returncode == 0, result.stdout + result.stderr


def write_manifests(folder: Path, variables: dict[str, object]) -> None:
    """Write the manifests for kubectl that install the operator with these variables."""
    run_playbook("manifests", {**variables, "taskflow_operator_manifests_dir": str(folder)})


def installed_objects() -> set[str]:
    """Return what the cluster holds of the operator, as KIND/NAME, without what Kubernetes makes of that by itself."""
    words = ["api-resources", "--verbs=list", "-o", "name"]
    kinds = [kind for kind in OPERATOR.run(*words).stdout.split() if not kind.startswith("events")]
    selector = "app.kubernetes.io/part-of=taskflow-operator"
    found = OPERATOR.run("get", ",".join(kinds), "--all-namespaces", "-l", selector, "-o", "name").stdout.split()
    derived = ("pod/", "replicaset.apps/", "endpoints/", "endpointslice.discovery.k8s.io/")
    return {name for name in found if not name.startswith(derived)}


def operator_pods() -> list[Object]:
    """Return the operator's Pods, those that are ending among them."""
    return OPERATOR.list("pods", "app.kubernetes.io/name=taskflow-operator")


def go_away() -> None:
    """Take the operator away, until come_back()."""
    _require_alone()
    OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=0")
    OPERATOR.wait("the operator to stop", lambda: not operator_pods())


def come_back() -> None:
    """Have one operator again, and wait until it is ready."""
    OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=1")
    wait_ready()


def kill() -> None:
    """Delete the operator's Pod. The Deployment makes another."""
    _require_alone()
    OPERATOR.run("delete", "pods", "-l", "app.kubernetes.io/name=taskflow-operator", "--wait=false")


def _require_alone() -> None:
    """Fail where tests run side by side: the others need the operator."""
    if os.environ.get("PYTEST_XDIST_WORKER"):
        pytest.fail("a test that takes the operator away has to run alone: add its file to ALONE in the Makefile")


def wait_ready() -> None:
    """Wait until the operator's Pods are those that its Deployment wants, and no others."""
    OPERATOR.run("rollout", "status", "deployment/taskflow-operator", "--timeout=180s")
    OPERATOR.wait(
        "the operator's old Pods to be gone",
        lambda: not any(pod["metadata"].get("deletionTimestamp") for pod in operator_pods()),
    )
