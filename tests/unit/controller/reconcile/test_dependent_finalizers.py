"""A dependent's finalizer goes with its owner, and never before: the API server is asked."""

import functools
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support.api.fake_cluster import FakeCluster, refusal

from taskflow_controller.kube.informers import WatchedKind, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind, Object
from taskflow_controller.kube.objects import Objects
from taskflow_controller.kube.store import Store
from taskflow_controller.reconcile import dependent_finalizers
from taskflow_controller.reconcile.dependent_finalizers import DependentFinalizers, Rule
from taskflow_controller.triggers.predicates import FINALIZERS, keep_only

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
POD = GroupVersionKind("", "v1", "Pod")
OURS, OTHERS = "example.com/kept", "example.com/another"
OWNERLESS = 0.3
POD_PATH = "/api/v1/namespaces/ns/pods/p"
WIDGET_PATH = "/apis/example.com/v1/namespaces/ns/widgets/w"


def widget(uid: str = "u1", **metadata: Any) -> Object:
    named = {"name": "w", "namespace": "ns", "uid": uid, **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": named}


def pod(uid: str = "p1", owner: str | None = "u1", **metadata: Any) -> Object:
    references = [{"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": owner, "controller": True}]
    named = {"name": "p", "namespace": "ns", "uid": uid, "finalizers": [OTHERS, OURS], **metadata}
    owned = {"ownerReferences": references} if owner else {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**owned, **named}, "status": {"phase": "Running"}}


def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


@pytest.fixture
def api() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def started(api: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SimpleNamespace]]:
    """A function that starts the informers and the thread; what they began is stopped in the end."""
    monkeypatch.setattr(dependent_finalizers, "SYNC_SECONDS", 0.01)
    running: list[Any] = []

    def start(*, works: bool = True, watches_owners: bool = True, selector: str = "") -> SimpleNamespace:
        finalizers = DependentFinalizers(Objects(api), OWNERLESS)  # type: ignore[arg-type]
        owners, store = Store(), Store()
        primary: WatchedKind = for_namespaces(
            api,  # type: ignore[arg-type]
            WIDGET,
            (),
            on_change=finalizers.owner_changed,
            store=owners,
        )
        rule = Rule(OURS, POD, WIDGET, owners, lambda: primary.synced, store, selector)
        dependents = for_namespaces(
            api,  # type: ignore[arg-type]
            POD,
            (),
            on_change=finalizers.add(rule),
            store=store,
            label_selector=selector,
            trim=functools.partial(keep_only, fields=(("status", "phase"), FINALIZERS)),
        )
        running.extend([finalizers, *primary.informers, *dependents.informers])
        for informer in [*dependents.informers, *(primary.informers if watches_owners else [])]:
            informer.start()
        if works:
            finalizers.start()
        return SimpleNamespace(finalizers=finalizers, owners=owners, dependents=store, primary=primary)

    yield start
    for each in running:
        if isinstance(each, DependentFinalizers):
            each.shut_down()
        elif each.alive:
            each.stop()


def known(parts: SimpleNamespace) -> bool:
    return len(parts.owners) == 1 and len(parts.dependents) == 1


def finalizers_at(api: FakeCluster) -> list[str]:
    found: list[str] = api.objects["pods", "ns", "p"]["metadata"]["finalizers"]
    return found


def asked(api: FakeCluster) -> list[tuple[str, str]]:
    return [(verb, path) for verb, path, _query in api.requests if verb in ("get", "patch")]


def test_as_long_as_its_owner_is_there_nobody_asks_for_a_dependent(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    parts = started()
    until(lambda: len(parts.owners) == 1)
    api.put(pod())
    api.put(pod(deletionTimestamp="now"))
    api.put({**pod(), "status": {"phase": "Succeeded"}})
    until(lambda: parts.dependents.get("ns", "p") and parts.dependents.get("ns", "p")["status"]["phase"] == "Succeeded")
    time.sleep(0.1)
    assert asked(api) == []


def test_it_goes_when_the_owner_is_deleted(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    api.put(pod())
    parts = started()
    until(lambda: known(parts))
    api.delete(widget())
    until(lambda: finalizers_at(api) == [OTHERS])
    # It may be looked at once more, where the owner goes just as the dependent is noted.
    assert asked(api)[:3] == [("get", POD_PATH), ("get", WIDGET_PATH), ("patch", POD_PATH)]


def test_it_goes_when_the_owner_is_being_deleted_and_waits_for_its_own_finalizers(
    api: FakeCluster, started: Any
) -> None:
    api.put(widget(finalizers=["a/b"]))
    api.put(pod())
    parts = started()
    until(lambda: known(parts))
    api.delete(widget(finalizers=["a/b"]))
    until(lambda: finalizers_at(api) == [OTHERS])


def test_a_dependent_that_is_made_for_an_owner_that_is_being_deleted_goes_too(api: FakeCluster, started: Any) -> None:
    api.put(widget(deletionTimestamp="now"))
    parts = started()
    until(lambda: len(parts.owners) == 1)
    api.put(pod())
    until(lambda: finalizers_at(api) == [OTHERS])


@pytest.mark.parametrize("owner", [None, widget("u2")])
def test_what_lost_its_owner_while_no_controller_ran_is_found_at_the_start(
    api: FakeCluster, started: Any, owner: Object | None
) -> None:
    if owner:
        api.put(owner)
    api.put(pod())
    started()
    until(lambda: finalizers_at(api) == [OTHERS])


def test_one_that_has_lost_its_labels_and_its_owner_meanwhile_is_found_too(api: FakeCluster, started: Any) -> None:
    api.page_size = 1
    api.put(pod("p0", name="another", owner="u2", labels={"type": "x"}, finalizers=[OTHERS]))
    api.put(pod(finalizers=[OURS], deletionTimestamp="now"))
    started(selector="type=x")
    until(lambda: ("pods", "ns", "p") not in api.objects)
    assert ("pods", "ns", "another") in api.objects


def test_one_that_has_only_lost_its_labels_keeps_it(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    api.put(pod())
    started(selector="type=x")
    until(lambda: len(api.paths("list")) >= 3)
    time.sleep(0.1)
    assert finalizers_at(api) == [OTHERS, OURS]
    # No informer shows it, and yet it goes with its owner.
    api.delete(widget())
    until(lambda: finalizers_at(api) == [OTHERS])


@pytest.mark.parametrize("labels", [{"app": "beta"}, {}])
def test_the_dependents_of_another_rule_with_the_same_finalizer_keep_it(
    api: FakeCluster, monkeypatch: pytest.MonkeyPatch, labels: dict[str, str]
) -> None:
    monkeypatch.setattr(dependent_finalizers, "SYNC_SECONDS", 0.01)
    theirs = pod(labels=labels)
    theirs["metadata"]["ownerReferences"][0]["kind"] = "Gadget"
    api.put(theirs)
    api.put({**widget(), "kind": "Gadget"})
    finalizers = DependentFinalizers(Objects(api), 0.05)  # type: ignore[arg-type]
    for kind, selector in (("Widget", "app=alpha"), ("Gadget", "app=beta")):
        gvk = GroupVersionKind("example.com", "v1", kind)
        finalizers.add(Rule(OURS, POD, gvk, Store(), lambda: True, selector=selector))
    finalizers.start()
    until(lambda: len(api.paths("list")) == 2)
    time.sleep(0.3)
    finalizers.shut_down()
    assert finalizers_at(api) == [OTHERS, OURS]


def test_a_search_that_fails_is_logged_and_done_again(
    api: FakeCluster, started: Any, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(pod())
    failures = [refusal(403, "forbidden")]

    def fails(done: str, path: str, query: dict[str, Any]) -> None:
        if done == "list" and "pods" in path and "labelSelector" not in query and failures:
            raise failures.pop()

    api.before = fails
    started(selector="type=x")
    until(lambda: finalizers_at(api) == [OTHERS])
    assert f"could not search for Pod objects with the finalizer {OURS}, will try again" in caplog.text


def test_a_deleted_dependent_is_gone_with_its_last_finalizer(api: FakeCluster, started: Any) -> None:
    api.put(pod(finalizers=[OURS], deletionTimestamp="now"))
    parts = started()
    until(lambda: not api.objects and not len(parts.dependents))


def test_the_store_may_be_behind_so_the_api_server_decides(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    api.put(pod())
    parts = started()
    until(lambda: known(parts))
    api.leave(widget())  # the informer loses sight of it
    until(lambda: ("get", WIDGET_PATH) in asked(api))
    time.sleep(0.1)
    assert finalizers_at(api) == [OTHERS, OURS]


def test_a_kind_that_is_not_served_any_more_has_no_objects(api: FakeCluster, started: Any) -> None:
    api.put(pod())

    def gone(verb: str, path: str, query: dict[str, Any]) -> None:
        if verb == "get" and "widgets" in path:
            raise refusal(404, "NotFound")

    api.before = gone
    started()
    until(lambda: finalizers_at(api) == [OTHERS])


def test_nothing_is_asked_before_the_owners_are_known(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    api.put(pod())
    parts = started(watches_owners=False)
    until(lambda: len(parts.dependents) == 1)
    time.sleep(0.1)
    assert asked(api) == []
    parts.primary.informers[0].start()
    until(lambda: known(parts))
    time.sleep(0.1)
    assert asked(api) == []


def test_a_standby_replica_takes_none_off_until_it_leads(api: FakeCluster, started: Any) -> None:
    api.put(pod())
    parts = started(works=False)
    until(lambda: len(parts.dependents) == 1)
    time.sleep(0.1)
    assert asked(api) == []
    parts.finalizers.start()
    until(lambda: finalizers_at(api) == [OTHERS])


@pytest.mark.parametrize("verb", ["get", "patch"])
def test_what_fails_is_logged_and_tried_again(
    api: FakeCluster, started: Any, caplog: pytest.LogCaptureFixture, verb: str
) -> None:
    api.put(pod())
    failures = [refusal(500, "broken"), refusal(403, "forbidden")]

    def fails(done: str, path: str, query: dict[str, Any]) -> None:
        if done == verb and failures:
            raise failures.pop()

    api.before = fails
    started()
    until(lambda: finalizers_at(api) == [OTHERS])
    assert f"could not take the finalizer {OURS} off Pod ns/p" in caplog.text
    assert "forbidden" in caplog.text and "broken" in caplog.text


def test_a_bug_does_not_end_the_thread(
    api: FakeCluster, started: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Objects, "find", lambda *arguments: 1 / 0)
    api.put(pod())
    parts = started()
    until(lambda: "bug: a dependent's finalizer was not handled" in caplog.text)
    assert parts.finalizers.problem() is None
    monkeypatch.undo()
    until(lambda: finalizers_at(api) == [OTHERS])
    parts.finalizers.shut_down()
    until(lambda: parts.finalizers.problem() == "dependent-finalizers")


def test_one_that_names_no_owner_keeps_it_for_a_while(api: FakeCluster, started: Any) -> None:
    """Who made it may put its owner back."""
    api.put(widget())
    api.put(pod())
    parts = started()
    until(lambda: known(parts))
    api.put(pod(owner=None))
    time.sleep(OWNERLESS / 2)
    assert finalizers_at(api) == [OTHERS, OURS]
    api.put(pod())
    time.sleep(OWNERLESS)
    assert finalizers_at(api) == [OTHERS, OURS]
    api.put(pod(owner=None))
    until(lambda: finalizers_at(api) == [OTHERS])


def test_one_that_is_not_selected_any_more_is_not_forgotten(api: FakeCluster, started: Any) -> None:
    api.put(widget())
    api.put(pod())
    parts = started()
    until(lambda: known(parts))
    api.leave(pod())
    until(lambda: not len(parts.dependents))
    api.delete(widget())
    until(lambda: finalizers_at(api) == [OTHERS])


def test_another_objects_finalizer_of_the_same_name_stays(api: FakeCluster, started: Any) -> None:
    """The dependent that the event was of has been deleted, and another has its name."""
    api.put(widget())
    api.put(pod())
    parts = started(works=False)
    until(lambda: known(parts))
    api.delete(widget())
    until(lambda: not len(parts.owners))
    api.put(widget("u2"))
    api.put(pod("p2", owner="u2"))
    until(lambda: parts.dependents.stored("ns", "p").uid == "p2" and len(parts.owners) == 1)
    parts.finalizers.start()
    time.sleep(0.1)
    assert finalizers_at(api) == [OTHERS, OURS]


def test_what_has_no_finalizer_of_ours_is_nobodys_business(api: FakeCluster, started: Any) -> None:
    api.put(pod(finalizers=[OTHERS]))
    parts = started()
    until(lambda: len(parts.dependents) == 1)
    time.sleep(0.1)
    assert asked(api) == []


def test_nothing_runs_where_no_rule_asks_for_it() -> None:
    finalizers = DependentFinalizers(Objects(None))  # type: ignore[arg-type]
    finalizers.start()
    assert finalizers.problem() is None
    finalizers.shut_down()
