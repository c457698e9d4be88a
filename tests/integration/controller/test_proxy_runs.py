"""The API proxy in runs of the controller: kubernetes.core and kubectl in a playbook that knows nothing of it."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes import client
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

Start = Callable[..., Controller]
SETTLE = 4.0  # seconds in which a run that should not come would have started

# What a user of the Operator SDK would write: no kubeconfig, no owner, no watch.
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Have a ConfigMap beside the resource
      kubernetes.core.k8s:
        definition:
          apiVersion: v1
          kind: ConfigMap
          metadata: {name: beside, namespace: "{{ ansible_operator_meta.namespace }}"}
          data: {size: "{{ size }}"}
    - name: Have a ConfigMap in another namespace
      kubernetes.core.k8s:
        definition:
          apiVersion: v1
          kind: ConfigMap
          metadata: {name: elsewhere, namespace: "{{ other }}"}
    - name: Read one of them
      kubernetes.core.k8s_info:
        kind: ConfigMap
        name: beside
        namespace: "{{ ansible_operator_meta.namespace }}"
      register: read
    - name: Have a label on it, with kubectl
      ansible.builtin.command: >-
        kubectl -n {{ ansible_operator_meta.namespace }} label --overwrite configmap beside
        read={{ read.resources[0].data.size }}
    - name: Keep the kubeconfig
      ansible.builtin.copy:
        src: "{{ lookup('env', 'KUBECONFIG') }}"
        dest: "{{ log }}/kubeconfig"
"""


@pytest.fixture
def project(start: Start, crd: Crd, tmp_path: Path, other_namespace: str) -> Path:
    """A project of an Operator SDK user; ``start`` has made one, of which this keeps the folder."""
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    watch = {
        "group": GROUP,
        "version": VERSION,
        "kind": crd.kind,
        "playbook": "play.yml",
        "manageStatus": False,
        "vars": {"log": str(tmp_path / "noted"), "other": other_namespace},
    }
    (tmp_path / "watches.yaml").write_text(json.dumps([watch]))
    return tmp_path


class Runs:
    """The successful runs of a controller, as its log tells."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def settle(self) -> int:
        """Wait until no run follows another, and return how many there were."""
        deadline = time.monotonic() + 120
        state, since = self._state(), time.monotonic()
        while state[0] == 0 or state[0] != state[1] or time.monotonic() - since < SETTLE:
            assert time.monotonic() < deadline, "there is one run after the other"
            time.sleep(0.1)
            if (now := self._state()) != state:
                state, since = now, time.monotonic()
        return state[1]

    def more_than(self, count: int, what: str) -> None:
        until(lambda: self._state()[1] > count, timeout=90, what=what)

    def _state(self) -> tuple[int, int]:
        return len(self._controller.logged("run started")), len(self._controller.logged("run succeeded"))


def test_a_project_of_the_operator_sdk_runs_unchanged(
    start: Start, project: Path, crd: Crd, *, namespace: str, other_namespace: str, api: client.ApiClient
) -> None:
    core = client.CoreV1Api(api)
    controller = start(namespaces=f"{namespace},{other_namespace}").ready()
    runs = Runs(controller)
    widget = crd.create(namespace, size="small")
    runs.more_than(0, "the first run")
    (server,) = json.loads((project / "noted" / "kubeconfig").read_text())["clusters"]
    assert server["cluster"]["server"].startswith("https://127.0.0.1:")
    beside = core.read_namespaced_config_map("beside", namespace)
    assert [reference.uid for reference in beside.metadata.owner_references] == [widget["metadata"]["uid"]]
    assert beside.metadata.labels == {"read": "small"}
    elsewhere = core.read_namespaced_config_map("elsewhere", other_namespace)
    assert elsewhere.metadata.annotations["operator-sdk/primary-resource"] == f"{namespace}/w"
    assert controller.logged("from now on, changes of ConfigMap (v1) reconcile")

    count = runs.settle()
    (discovery,) = (controller.runner_dir / ".discovery").glob("k8srcp-*.json")
    learnt = discovery.stat().st_mtime_ns
    core.delete_namespaced_config_map("beside", namespace)
    runs.more_than(count, "a run for the deleted dependent")
    assert core.read_namespaced_config_map("beside", namespace).data == {"size": "small"}
    count = runs.settle()
    core.patch_namespaced_config_map("elsewhere", other_namespace, {"data": {"x": "y"}})
    runs.more_than(count, "a run for the changed dependent in the other namespace")
    reasons = " ".join(line["reason"] for line in controller.logged("run started"))
    assert "ConfigMap beside deleted" in reasons and "ConfigMap elsewhere changed" in reasons
    assert controller.stop() == 0
    assert discovery.stat().st_mtime_ns == learnt  # later runs knew it, and asked for nothing
    assert not list(controller.runner_dir.glob("**/kubeconfig"))


def test_after_a_restart_dependents_that_are_in_place_are_watched(
    start: Start, project: Path, crd: Crd, *, namespace: str, other_namespace: str, api: client.ApiClient
) -> None:
    """The play reads and applies, and creates nothing."""
    namespaces = f"{namespace},{other_namespace}"
    controller = start(namespaces=namespaces).ready()
    crd.create(namespace, size="small")
    Runs(controller).settle()
    assert controller.stop() == 0
    controller = start(namespaces=namespaces).ready()
    runs = Runs(controller)
    count = runs.settle()
    client.CoreV1Api(api).delete_namespaced_config_map("beside", namespace)
    runs.more_than(count, "a run for the deleted dependent")
    assert controller.stop() == 0


def test_without_injection_nothing_is_owned(
    start: Start, project: Path, crd: Crd, *, namespace: str, other_namespace: str, api: client.ApiClient
) -> None:
    controller = start("--inject-owner-ref=false", namespaces=f"{namespace},{other_namespace}").ready()
    crd.create(namespace, size="small")
    Runs(controller).more_than(0, "the run")
    assert client.CoreV1Api(api).read_namespaced_config_map("beside", namespace).metadata.owner_references is None
    assert not controller.logged("from now on, changes of ConfigMap")
    assert controller.stop() == 0
