"""Kinds that plays turn out to use: which are watched, and what their changes do."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from support.api.fake_cluster import FakeCluster
from support.api.proxy_harness import WATCH, until

from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube.api import KindNotServedError
from taskflow_controller.kube.informers import Change
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.reconcile.dependent_finalizers import DependentFinalizers
from taskflow_controller.triggers.dependents import DependentKind, DependentKinds, is_watched_for

WIDGET = WATCH.gvk
CONFIG_MAP, NODE = GroupVersionKind("", "v1", "ConfigMap"), GroupVersionKind("", "v1", "Node")
CONFIG_MAPS = DependentKind(CONFIG_MAP, namespaced=True, owner_namespaced=True)
OTHER = dataclasses.replace(WATCH, gvk=GroupVersionKind("example.com", "v1", "Other"))


@pytest.fixture
def api() -> Iterator[FakeCluster]:
    """It has one ConfigMap of ``w``."""
    cluster = FakeCluster()
    cluster.put(config_map())
    yield cluster
    cluster.close()


def owned_by(*names: str, **metadata: Any) -> dict[str, Any]:
    reference = {"apiVersion": "example.com/v1", "kind": "Widget"}
    references = [{**reference, "name": name, "uid": f"uid of {name}"} for name in names]
    return {"namespace": "ns", "ownerReferences": references, **metadata}


def config_map(data: str = "a", namespace: str = "ns") -> dict[str, Any]:
    metadata = {"name": "c", **owned_by("w", namespace=namespace)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": data}}


def widget(name: str, **metadata: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid of {name}", "generation": 1, **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}


@pytest.mark.parametrize(
    ("watch", "kind", "confined", "expected"),
    [
        ({}, CONFIG_MAPS, False, True),
        ({}, CONFIG_MAPS, True, True),
        ({"watch_dependent_resources": False}, CONFIG_MAPS, False, False),
        ({"blacklist": frozenset({CONFIG_MAP})}, CONFIG_MAPS, False, False),
        ({"blacklist": frozenset({NODE})}, CONFIG_MAPS, False, True),
        ({"dependents": (DependentWatch(CONFIG_MAP, "", None),)}, CONFIG_MAPS, False, False),
        # a cluster-scoped kind
        ({}, DependentKind(NODE, False, True), False, False),
        ({"watch_cluster_scoped_resources": True}, DependentKind(NODE, False, True), False, True),
        ({"watch_cluster_scoped_resources": True}, DependentKind(NODE, False, True), True, True),
        ({}, DependentKind(NODE, False, False), False, True),
        ({}, DependentKind(NODE, False, False), True, False),
        # what changes all the time
        ({}, DependentKind(GroupVersionKind("", "v1", "Event"), True, True), False, False),
        ({}, DependentKind(GroupVersionKind("events.k8s.io", "v1", "Event"), True, True), False, False),
    ],
)
def test_which_kinds_are_watched(watch: dict[str, Any], kind: DependentKind, confined: bool, expected: bool) -> None:
    assert is_watched_for(dataclasses.replace(WATCH, **watch), kind, confined=confined) is expected


def test_a_kind_is_watched_once_for_all_watches(api: FakeCluster) -> None:
    changes: list[tuple[Watch, Change]] = []
    kinds = DependentKinds(api, (), lambda watch, change: changes.append((watch, change)))  # type: ignore[arg-type]
    assert kinds.wants(WATCH, CONFIG_MAPS)
    for watch in (WATCH, WATCH, OTHER):
        kinds.ensure(watch, CONFIG_MAPS)
        assert not kinds.wants(watch, CONFIG_MAPS)
    (informer,) = kinds.informers()
    until(lambda: informer.synced)
    assert api.paths("list") == ["/api/v1/configmaps"]
    assert kinds.watched(CONFIG_MAP).informers == [informer]  # type: ignore[union-attr]
    assert not changes
    api.put(config_map("b"))
    until(lambda: len(changes) == 2)
    assert [watch.gvk for watch, _ in changes] == [WIDGET, OTHER.gvk]
    kinds.stop()
    until(lambda: not informer.alive)
    kinds.ensure(WATCH, dataclasses.replace(CONFIG_MAPS, gvk=NODE))
    assert kinds.informers() == [informer]


@pytest.mark.parametrize(
    ("namespaced", "paths"),
    [
        (True, ["/api/v1/namespaces/one/configmaps", "/api/v1/namespaces/two/configmaps"]),
        (False, ["/api/v1/configmaps"]),
    ],
)
def test_only_some_namespaces(api: FakeCluster, namespaced: bool, paths: list[str]) -> None:
    kinds = DependentKinds(api, ("one", "two"), lambda watch, change: None)  # type: ignore[arg-type]
    watch = dataclasses.replace(WATCH, watch_cluster_scoped_resources=True)
    kinds.ensure(watch, DependentKind(CONFIG_MAP, namespaced, True))
    until(lambda: all(informer.synced for informer in kinds.informers()))
    assert sorted(api.paths("list")) == paths
    kinds.stop()


@pytest.fixture
def controller(api: FakeCluster) -> Iterator[Any]:
    """A controller that has seen two Widgets, and what it queues from then on."""
    for name in ("w", "v"):
        api.put(widget(name))
    watches = [WATCH, dataclasses.replace(OTHER, selector="a=b")]
    controller: Any = Controller(api, watches, None, Limits(1), finalizers=DependentFinalizers(None))  # type: ignore[arg-type]
    controller.queued = queued = []
    controller.queue.add = lambda key, cause: queued.append((key.name, str(cause)))
    controller.start_informers()
    until(lambda: controller.informer_problem() is None and len(queued) == 2)
    queued.clear()
    yield controller
    controller.stop_informers()


def test_a_change_of_a_used_kind_reconciles_its_owner(api: FakeCluster, controller: Any) -> None:
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    until(lambda: api.paths("watch")[-1] == "/api/v1/configmaps")
    api.put(config_map("b"))
    until(lambda: controller.queued)
    assert set(controller.queued) == {("w", "ConfigMap c changed")}


def test_a_change_of_a_kind_that_no_play_uses_reconciles_nobody(controller: Any) -> None:
    controller.dependents.changed(CONFIG_MAP, Change(CONFIG_MAP, config_map(), None))
    assert controller.queued == []


def test_a_watched_kind_serves_as_a_dependent_too(api: FakeCluster, controller: Any) -> None:
    """It needs no second informer, unless its own sees only the selected ones."""
    controller.dependents.ensure(WATCH, DependentKind(WIDGET, True, True))
    assert controller.dependents.informers() == []
    child = widget("child", **owned_by("w"))
    api.put(child)
    api.delete(child)
    until(lambda: ("w", "Widget child deleted") in controller.queued)
    controller.dependents.ensure(WATCH, DependentKind(OTHER.gvk, True, True))
    assert [informer.gvk for informer in controller.dependents.informers()] == [OTHER.gvk]


def test_a_kind_that_cannot_be_watched_is_no_reason_not_to_work(
    api: FakeCluster, controller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def before(verb: str, path: str, query: dict[str, Any]) -> None:
        if path == "ConfigMap":
            raise KindNotServedError(CONFIG_MAP)

    api.before = before
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    until(lambda: controller.dependents.informers()[0].trouble)
    assert controller.informer_problem() is None and controller.thread_problem() is None
    assert "cannot watch ConfigMap (v1)" in caplog.text
    assert (CONFIG_MAP, "", True) in list(controller._failing_watches())


def test_an_owner_by_name_only_has_to_be_there(api: FakeCluster, controller: Any) -> None:
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    until(lambda: api.paths("watch")[-1] == "/api/v1/configmaps")
    api.delete(widget("w"))
    until(lambda: controller.queued == [("w", "Widget deleted")])
    controller.dependents.changed(CONFIG_MAP, Change(CONFIG_MAP, config_map(), None))
    assert controller.queued == [("w", "Widget deleted")]
