"""Directories of resources that went while no controller ran."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.kube.informers import WatchedKind
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.kube.store import Store, Stored
from taskflow_controller.reconcile import leftovers
from taskflow_controller.reconcile.leftovers import LeftoverSearch, gone
from taskflow_controller.runs.launcher import Launcher
from taskflow_controller.runs.runner import AnsibleRunner
from taskflow_controller.runs.workspace import Workspaces

WIDGET, GADGET = (GroupVersionKind("example.com", "v1", kind) for kind in ("Widget", "Gadget"))


def key(name: str, namespace: str = "ns", gvk: GroupVersionKind = WIDGET) -> ResourceKey:
    return ResourceKey(gvk, namespace, name)


def kind(gvk: GroupVersionKind, *namespaces: str | None, synced: bool = True) -> WatchedKind:
    informers: Any = [SimpleNamespace(namespace=namespace, synced=synced) for namespace in namespaces]
    return WatchedKind(gvk, Store(), informers)


class Record:
    """Keeps one thing for each kind, or can't be asked."""

    def __init__(self, problem: OSError | None = None) -> None:
        self.problem = problem

    def kept(self, gvk: GroupVersionKind) -> list[ResourceKey]:
        if self.problem:
            raise self.problem
        return [key("x", gvk=gvk)]


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)


def test_gone_is_what_is_not_in_the_store() -> None:
    widgets = kind(WIDGET, None)
    widgets.store.put(("ns", "here"), Stored.of({"metadata": {}}))
    assert gone(widgets, [key("here"), key("gone"), key("gone", "")]) == [key("gone"), key("gone", "")]


def test_what_is_not_watched_is_not_gone() -> None:
    kept = [key("x", "a"), key("x", "b"), key("x", "c"), key("x", "")]
    assert gone(kind(WIDGET, "a", "b"), kept) == [key("x", "a"), key("x", "b"), key("x", "")]


def test_each_kind_is_searched_once_its_list_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "POLL_SECONDS", 0.01)
    late = kind(GADGET, None, synced=False)
    found: list[ResourceKey] = []
    search = LeftoverSearch([late, kind(WIDGET, None)], Record(), lambda key, cause: found.append(key))
    search.start()
    until(lambda: found == [key("x")])
    late.informers[0].synced = True  # type: ignore[misc]
    until(lambda: found == [key("x"), key("x", gvk=GADGET)])


def test_a_directory_that_cannot_be_read_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    record = Record(PermissionError(13, "Permission denied"))
    LeftoverSearch([kind(WIDGET, None)], record, lambda key, cause: None).start()
    until(lambda: "can't look for the directories of deleted resources: [Errno 13]" in caplog.text)


def test_stop_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    late = kind(WIDGET, None, synced=False)
    found: list[ResourceKey] = []
    search = LeftoverSearch([late], Record(), lambda key, cause: found.append(key))
    search.stop()
    search._run()
    assert not found


def test_directories_are_ours_only_where_no_other_process_has_some(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path)
    spaces.prepare(key("x"))
    launcher = Launcher(AnsibleRunner(), spaces, Overrides(Defaults(0, 0)), environment={}, cancelled=lambda: False)
    assert launcher.kept(WIDGET) == []
    spaces.claim()
    assert launcher.kept(WIDGET) == [key("x")]
