"""Ways to install, to upgrade and to remove the operator."""

from __future__ import annotations

import os
import uuid
from types import SimpleNamespace

import pytest
import requests
from support import OPERATOR_NAMESPACE, Cluster, make_task, shell, waiter
from support.facts import facts
from support.installation import (
    OPERATOR,
    install_variables,
    installed_objects,
    playbook,
    run_playbook,
    wait_ready,
    write_manifests,
)

# Podman pushes the first, Docker the second.
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
KUBECONFIG = {"taskflow_operator_kubeconfig": os.environ.get("KUBECONFIG")}


def test_installing_again_changes_nothing():
    result = playbook("install", **install_variables())
    assert result.returncode == 0, result.stdout
    assert "changed=0" in result.stdout, result.stdout


def test_removing_stops_where_tasks_would_be_lost(cluster):
    cluster.apply(make_task("precious", shell("a", "true")))
    result = playbook("uninstall", **KUBECONFIG)
    assert result.returncode != 0
    assert "taskflow_operator_delete_tasks=true" in result.stdout
    assert cluster.finished("precious")


def tag_anew(image: str, tag: str) -> str:
    """Have an image of the cluster's registry under another tag, and return its name there."""
    host, _, rest = image.partition("/")
    assert host == facts().registry_pull
    name, _, old = rest.rpartition(":")
    url = f"http://{facts().registry_push}/v2/{name}/manifests"
    manifest = requests.get(f"{url}/{old}", headers={"Accept": ", ".join(MANIFESTS)}, timeout=60)
    manifest.raise_for_status()
    headers = {"Content-Type": manifest.headers["Content-Type"]}
    requests.put(f"{url}/{tag}", data=manifest.content, headers=headers, timeout=60).raise_for_status()
    return f"{host}/{name}:{tag}"


@pytest.fixture
def another_version():
    """The image of the operator under another tag; afterwards the operator is what it was."""
    before = install_variables()
    yield tag_anew(str(before["taskflow_operator_image"]), "another")
    run_playbook("install", before)
    wait_ready()


def test_an_upgrade_while_tasks_run_loses_none(another_version, cluster):
    """One runs, one waits for its turn meanwhile, and one is made while the leader changes."""
    for name in ("first", "second"):
        cluster.apply(make_task(name, waiter("hold"), shell("after", "true")))
        cluster.running(name)
    pods = {name: cluster.task(name)["status"]["podName"] for name in ("first", "second")}
    run_playbook("install", {**install_variables(), "taskflow_operator_image": another_version})
    cluster.tell(pods["first"], "hold")
    cluster.apply(make_task("third", shell("a", "true")))
    wait_ready()
    (pod,) = OPERATOR.list("pods", "app.kubernetes.io/name=taskflow-operator")
    assert pod["spec"]["containers"][0]["image"] == another_version
    cluster.tell(pods["second"], "hold")
    for name in ("first", "second", "third"):
        task = cluster.finished(name)
        assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
        assert task["status"]["podName"] == pods.get(name, task["status"]["podName"])


def uninstall():
    run_playbook("uninstall", {**KUBECONFIG, "taskflow_operator_delete_tasks": True})


@pytest.fixture(scope="module")
def without_operator():
    """The cluster without the operator, until the last test has ended.

    ``variables`` are those that install it as it was. In ``busy``, a namespace, a Task ran when it was removed.
    """
    variables, busy = install_variables(), Cluster(f"e2e-{uuid.uuid4().hex[:8]}")
    busy.run("create", "namespace", busy.namespace)
    try:
        busy.apply(make_task("left", shell("a", "sleep 600")))
        busy.running("left")
        uninstall()
        yield SimpleNamespace(variables=variables, busy=busy)
    finally:
        run_playbook("install", variables)
        wait_ready()
        busy.run("delete", "namespace", busy.namespace, "--wait=false")


@pytest.fixture
def removed(without_operator):
    """The same; whatever a test installs, and has not removed, is removed when it has ended."""
    yield without_operator
    if installed_objects():
        uninstall()


def test_nothing_is_left_of_a_removed_operator(removed):
    assert installed_objects() == set()
    assert OPERATOR.run("get", "namespace", OPERATOR_NAMESPACE, check=False).returncode != 0
    assert removed.busy.pods_of("left") == []


def test_a_namespace_that_was_there_before_stays_and_is_empty(removed, cluster):
    here = {**removed.variables, "taskflow_operator_namespace": cluster.namespace}
    run_playbook("install", here)
    cluster.apply(make_task("here", shell("a", "true")))
    assert cluster.finished("here")["status"]["status"] == "Successful"
    run_playbook("uninstall", {**here, "taskflow_operator_delete_tasks": True})
    kinds = "pods,replicasets,deployments,services,configmaps,serviceaccounts,secrets,roles,rolebindings,leases"
    names = cluster.run("get", kinds, "-o", "name").stdout.split()
    # Kubernetes's own.
    assert [name for name in names if "kube-root-ca" not in name and "/default" not in name] == []
    assert installed_objects() == set()


def test_kubectl_installs_and_removes_it(removed, cluster, tmp_path):
    write_manifests(tmp_path, removed.variables)
    manifest = str(tmp_path / "install.yaml")
    OPERATOR.run("apply", "-f", manifest)
    wait_ready()
    cluster.apply(make_task("by-kubectl", shell("a", "true"), shell("b", "true")))
    assert cluster.finished("by-kubectl")["status"]["status"] == "Successful"
    cluster.run("delete", "task", "by-kubectl")
    OPERATOR.run("delete", "-f", manifest)
    assert installed_objects() == set()


def test_kustomize_installs_it_into_another_namespace(removed, cluster, tmp_path):
    write_manifests(tmp_path, removed.variables)
    elsewhere = Cluster("taskflow-elsewhere")
    (tmp_path / "kustomization.yaml").write_text(f"namespace: {elsewhere.namespace}\nresources: [kustomize]\n")
    try:
        elsewhere.run("apply", "-k", str(tmp_path))
        elsewhere.run("rollout", "status", "deployment/taskflow-operator", "--timeout=180s")
        cluster.apply(make_task("elsewhere", shell("a", "true")))
        assert cluster.finished("elsewhere")["status"]["status"] == "Successful"
    finally:
        cluster.run("delete", "tasks", "--all", check=False)
        elsewhere.run("delete", "-k", str(tmp_path))
    assert installed_objects() == set()
