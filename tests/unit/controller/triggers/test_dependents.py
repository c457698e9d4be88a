"""Kinds that plays turn out to use: which are watched, and whom their changes reconcile."""

import dataclasses
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.api.proxy_harness import WATCH, until

from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube.api import ApiResource, KindNotServedError
from taskflow_controller.kube.informers import Change
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.triggers.dependents import DependentKind, DependentKinds, is_watched_for

WIDGET = WATCH.gvk
CONFIG_MAP, NODE = GroupVersionKind("", "v1", "ConfigMap"), GroupVersionKind("", "v1", "Node")
CONFIG_MAPS = DependentKind(CONFIG_MAP, namespaced=True, owner_namespaced=True)
OTHER = dataclasses.replace(WATCH, gvk=GroupVersionKind("example.com", "v1", "Other"))


class FakeApi:
    """Serves one ConfigMap of ``w``; a watch stays open and silent until the test ends it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.problem: Exception | None = None
        self.closing = threading.Event()

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        if self.problem:
            raise self.problem
        return ApiResource(gvk.kind.lower() + "s", True)

    def get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        self.paths.append(path)
        return {"metadata": {"resourceVersion": "5"}, "items": [config_map()]}

    def stream(self, path: str, query: dict[str, Any], read_timeout: float) -> Any:
        def lines(**_: Any) -> Any:
            self.closing.wait(10)
            return iter(())

        return SimpleNamespace(stream=lines, status=200, close=lambda: None, release_conn=lambda: None)


@pytest.fixture
def api() -> Iterator[Any]:
    api = FakeApi()
    yield api
    api.closing.set()


def owned_by(*names: str, **metadata: Any) -> dict[str, Any]:
    reference = {"apiVersion": "example.com/v1", "kind": "Widget"}
    references = [{**reference, "name": name, "uid": f"uid of {name}"} for name in names]
    return {"namespace": "ns", "ownerReferences": references, **metadata}


def config_map(data: str = "a", version: str = "1", metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "resourceVersion": version, **(metadata or owned_by("w"))},
        "data": {"a": data},
    }


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


def test_a_kind_is_watched_once_for_all_watches(api: Any) -> None:
    changes: list[tuple[Watch, Change]] = []
    kinds = DependentKinds(api, (), lambda watch, change: changes.append((watch, change)))
    assert kinds.wants(WATCH, CONFIG_MAPS)
    for watch in (WATCH, WATCH, OTHER):
        kinds.ensure(watch, CONFIG_MAPS)
        assert not kinds.wants(watch, CONFIG_MAPS)
    (informer,) = kinds.informers()
    until(lambda: informer.synced)
    assert api.paths == ["/api/v1/configmaps"]
    changes.clear()
    informer._upserted(config_map("b", "2"))
    assert [watch.gvk for watch, _ in changes] == [WIDGET, OTHER.gvk]
    kinds.stop()
    until(informer._closing.is_set)
    kinds.ensure(WATCH, dataclasses.replace(CONFIG_MAPS, gvk=NODE))
    assert kinds.informers() == [informer]


@pytest.mark.parametrize(
    ("namespaced", "paths"),
    [
        (True, ["/api/v1/namespaces/one/configmaps", "/api/v1/namespaces/two/configmaps"]),
        (False, ["/api/v1/configmaps"]),
    ],
)
def test_only_some_namespaces(api: Any, namespaced: bool, paths: list[str]) -> None:
    kinds = DependentKinds(api, ("one", "two"), lambda watch, change: None)
    watch = dataclasses.replace(WATCH, watch_cluster_scoped_resources=True)
    kinds.ensure(watch, DependentKind(CONFIG_MAP, namespaced, True))
    until(lambda: all(informer.synced for informer in kinds.informers()))
    assert sorted(api.paths) == paths
    kinds.stop()


@pytest.fixture
def controller(api: Any) -> Any:
    """A controller whose informers of its own kinds get their events by hand, and what it queues."""
    watches = [WATCH, dataclasses.replace(OTHER, selector="a=b")]
    controller: Any = Controller(api, watches, None, Limits(1))  # type: ignore[arg-type]
    controller.queued = queued = []
    controller.queue.add = lambda key, reason: queued.append((key.name, reason))
    for name in ("w", "v"):
        metadata = {"name": name, "namespace": "ns", "uid": f"uid of {name}", "resourceVersion": "1", "generation": 1}
        controller.informers[0]._upserted({"kind": "Widget", "metadata": metadata})
    queued.clear()
    return controller


@pytest.mark.parametrize(
    ("old", "new", "queued"),
    [
        (None, config_map(), []),  # the play itself created it
        (config_map(), None, ["w"]),
        (config_map(), config_map("b", "2"), ["w"]),
        (config_map(), {**config_map("a", "2"), "status": {"a": "b"}}, []),
        (config_map(), config_map("b", "2", owned_by("gone")), ["w"]),
        (config_map("a", "1", owned_by("w")), config_map("a", "2", owned_by("v")), ["w", "v"]),
        (config_map("a", "1", owned_by("w", "v")), config_map("b", "2", owned_by("w", "v")), ["w", "v", "w", "v"]),
        (config_map("a", "1", {"namespace": "ns"}), config_map("b", "2", {"namespace": "ns"}), []),
        (
            config_map(),
            config_map(
                "b",
                "2",
                {
                    "namespace": "other",
                    "annotations": {
                        "operator-sdk/primary-resource": "ns/v",
                        "operator-sdk/primary-resource-type": "Widget.example.com",
                    },
                },
            ),
            ["w", "v"],
        ),
    ],
)
def test_whom_a_change_reconciles(controller: Any, old: Any, new: Any, queued: list[str]) -> None:
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    controller.dependents.changed(CONFIG_MAP, Change(CONFIG_MAP, old, new))
    reason = "ConfigMap c deleted" if new is None else "ConfigMap c changed"
    assert list(dict.fromkeys(controller.queued)) == [(name, reason) for name in dict.fromkeys(queued)]
    controller.stop_informers()


def test_a_change_of_a_kind_that_no_play_uses_reconciles_nobody(controller: Any) -> None:
    controller.dependents.changed(CONFIG_MAP, Change(CONFIG_MAP, config_map(), None))
    assert controller.queued == []


def test_a_watched_kind_serves_as_a_dependent_too(api: Any, controller: Any) -> None:
    """It needs no second informer, unless its own sees only the selected ones."""
    controller.dependents.ensure(WATCH, DependentKind(WIDGET, True, True))
    assert controller.dependents.informers() == []
    widgets, _ = controller.informers
    child = {"kind": "Widget", "metadata": owned_by("w", name="child", uid="u", resourceVersion="1", generation=1)}
    widgets._upserted(child)
    widgets._deleted(child)
    assert ("w", "Widget child deleted") in controller.queued
    controller.dependents.ensure(WATCH, DependentKind(OTHER.gvk, True, True))
    assert [informer.gvk for informer in controller.dependents.informers()] == [OTHER.gvk]
    controller.stop_informers()


def test_a_kind_that_cannot_be_watched_is_no_reason_not_to_work(
    api: Any, controller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    controller.start_informers()
    until(lambda: controller.informer_problem() is None)
    api.problem = KindNotServedError(CONFIG_MAP)
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    until(lambda: controller.dependents.informers()[0].trouble)
    assert controller.informer_problem() is None and controller.thread_problem() is None
    assert "cannot watch ConfigMap (v1)" in caplog.text
    assert (CONFIG_MAP, "", True) in list(controller._failing_watches())
    controller.stop_informers()


def test_an_owner_by_name_only_has_to_be_there(controller: Any) -> None:
    assert controller._stores[WIDGET].get("ns", "w")
    change = Change(CONFIG_MAP, config_map("a", "1", owned_by("w")), None)
    controller.dependents.ensure(WATCH, CONFIG_MAPS)
    controller.informers[0]._deleted(controller._stores[WIDGET].get("ns", "w"))
    controller.queued.clear()
    controller.dependents.changed(CONFIG_MAP, change)
    assert controller.queued == []
    controller.stop_informers()
