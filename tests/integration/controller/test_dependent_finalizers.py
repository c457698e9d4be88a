"""Finalizers on dependents, on a real API server: kept while the owner is there, not in the way when it is gone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from support.controller.controller_harness import Controller, Crd, until

Operate = Callable[..., Controller]
NAME, OTHER = "ctl-try.example.com/kept", "other.example.com/keep"
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.shell: 'echo "end $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}"'
"""
DEPENDENTS = [
    {
        "version": "v1",
        "kind": "ConfigMap",
        "labelSelector": {"matchLabels": {"try": "yes"}},
        "fields": ["data.word", "metadata.ownerReferences"],
        "finalizer": NAME,
    }
]


class ConfigMaps:
    """The ConfigMaps of a namespace; each is named like its owner, and has the finalizer."""

    def __init__(self, api: client.ApiClient, crd: Crd, namespace: str) -> None:
        self._core, self._crd, self._namespace = client.CoreV1Api(api), crd, namespace

    def own(self, name: str = "w", *more: str) -> None:
        """Make that of a resource; ``more`` are finalizers of others."""
        owner = self._crd.get(self._namespace, name)
        assert owner
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
        metadata = {"name": name, "labels": {"try": "yes"}, "finalizers": [*more, NAME]}
        metadata["ownerReferences"] = [{**reference, "controller": True}]
        self._core.create_namespaced_config_map(self._namespace, {"metadata": metadata})

    def finalizers(self, name: str = "w") -> list[str] | None:
        """Those of one; None when it is gone."""
        try:
            return self._core.read_namespaced_config_map(name, self._namespace).metadata.finalizers or []
        except ApiException as exc:
            assert exc.status == 404
            return None

    def patch(self, name: str = "w", **metadata: Any) -> None:
        self._core.patch_namespaced_config_map(name, self._namespace, {"metadata": metadata})

    def delete(self, name: str = "w") -> None:
        self._core.delete_namespaced_config_map(name, self._namespace)

    def free(self) -> None:
        """Let all of them go."""
        for each in self._core.list_namespaced_config_map(self._namespace).items:
            if each.metadata.finalizers:
                self.patch(each.metadata.name, finalizers=None)


@pytest.fixture
def config_maps(api: client.ApiClient, crd: Crd, namespace: str) -> Iterator[ConfigMaps]:
    made = ConfigMaps(api, crd, namespace)
    yield made
    made.free()


@pytest.fixture
def controller(operate: Operate, crd: Crd) -> Controller:
    return operate(PLAYBOOK, manageStatus=False, watchDependents=DEPENDENTS).ready()


def test_one_that_is_deleted_stays_until_its_owner_is_gone(
    controller: Controller, crd: Crd, namespace: str, config_maps: ConfigMaps
) -> None:
    crd.create(namespace)
    controller.ended(1)
    config_maps.own()
    controller.ended(2)
    config_maps.delete()
    config_maps.patch(annotations={"touched": "yes"})
    assert config_maps.finalizers() == [NAME]
    crd.delete(namespace)
    until(lambda: config_maps.finalizers() is None, what="the ConfigMap's end")


def test_others_finalizers_stay(controller: Controller, crd: Crd, namespace: str, config_maps: ConfigMaps) -> None:
    crd.create(namespace)
    config_maps.own("w", OTHER)
    crd.delete(namespace)
    until(lambda: config_maps.finalizers() == [OTHER], what="our finalizer's end")


def test_one_whose_owner_is_deleted_with_it_in_the_foreground(
    controller: Controller, crd: Crd, namespace: str, config_maps: ConfigMaps, api: client.ApiClient
) -> None:
    """The owner waits for its dependents, which wait for the owner."""
    crd.create(namespace)
    config_maps.own()
    config_maps.patch(ownerReferences=[{**reference_of(crd, namespace), "blockOwnerDeletion": True}])
    objects = client.CustomObjectsApi(api)
    owner = crd.get(namespace)
    assert owner
    group, _slash, version = owner["apiVersion"].partition("/")
    objects.delete_namespaced_custom_object(group, version, namespace, crd.plural, "w", propagation_policy="Foreground")
    until(lambda: crd.get(namespace) is None and config_maps.finalizers() is None, what="the end of both")


def reference_of(crd: Crd, namespace: str) -> dict[str, Any]:
    owner = crd.get(namespace)
    assert owner
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }


def test_what_lost_its_owner_while_no_controller_ran(
    controller: Controller, operate: Operate, crd: Crd, namespace: str, config_maps: ConfigMaps
) -> None:
    crd.create(namespace)
    config_maps.own()
    controller.ended(1)
    assert controller.stop() == 0
    crd.delete(namespace)
    until(lambda: crd.get(namespace) is None)
    assert config_maps.finalizers() == [NAME]
    operate(PLAYBOOK, manageStatus=False, watchDependents=DEPENDENTS).ready()
    until(lambda: config_maps.finalizers() is None, what="the ConfigMap's end")


def test_the_crd_is_removed(controller: Controller, crd: Crd, namespace: str, config_maps: ConfigMaps) -> None:
    crd.create(namespace)
    config_maps.own()
    controller.ended(1)
    crd.remove()
    until(lambda: config_maps.finalizers() in (None, []), timeout=90, what="the finalizer's end")


def test_the_namespace_is_deleted(
    operate: Operate, crd: Crd, api: client.ApiClient, start: Callable[..., Controller]
) -> None:
    core = client.CoreV1Api(api)
    name = core.create_namespace({"metadata": {"generateName": "ctl-try-deleted-"}}).metadata.name
    operate(PLAYBOOK, manageStatus=False, watchDependents=DEPENDENTS).stop()
    start(namespaces=name).ready()
    config_maps = ConfigMaps(api, crd, name)
    crd.create(name)
    config_maps.own()
    core.delete_namespace(name)

    def gone() -> bool:
        try:
            core.read_namespace(name)
        except ApiException as exc:
            return exc.status == 404
        return False

    try:
        until(gone, timeout=120, what="the namespace's end")
    finally:
        if not gone():
            config_maps.free()


def test_an_owner_reference_that_is_taken_off_starts_a_run(
    controller: Controller, crd: Crd, namespace: str, config_maps: ConfigMaps
) -> None:
    crd.create(namespace)
    controller.ended(1)
    config_maps.own()
    controller.ended(2)
    config_maps.patch(ownerReferences=None)
    controller.ended(3)
    assert config_maps.finalizers() == [NAME], "the playbook may put the owner back"
    config_maps.patch(ownerReferences=[reference_of(crd, namespace)])
    controller.ended(4)
    config_maps.patch(labels={"try": "no"})
    controller.ended(5)
