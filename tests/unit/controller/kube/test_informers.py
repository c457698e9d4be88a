"""What informers keep, and what they tell of it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.api.fake_cluster import FakeCluster, line
from support.api.proxy_harness import until

from taskflow_controller.kube import reflector
from taskflow_controller.kube.informers import Change, ResourceInformer, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind, Object
from taskflow_controller.kube.store import Store

WIDGET, POD = GroupVersionKind("example.com", "v1", "Widget"), GroupVersionKind("", "v1", "Pod")
Told = list[tuple[str | None, str | None]]


def widget(name: str = "w", data: str = "", uid: str = "u", namespace: str = "ns", **metadata: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": uid, **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "data": data}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.0)
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def changes() -> list[Change]:
    return []


@pytest.fixture
def start(cluster: FakeCluster, changes: list[Change]) -> Iterator[Callable[..., ResourceInformer]]:
    """Start an informer, and wait until it watches."""
    started: list[ResourceInformer] = []

    def start_(gvk: GroupVersionKind = WIDGET, **options: Any) -> ResourceInformer:
        options = {"on_change": changes.append, "store": Store(), **options}
        one = ResourceInformer(cluster, gvk, **options)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        until(lambda: cluster.streams)
        return one

    yield start_
    for one in started:
        one.stop()


def told(changes: list[Change]) -> Told:
    """What is in ``data`` before and after each change; None for no object."""
    return [(change.old and change.old["data"], change.new and change.new["data"]) for change in changes]


def unseen(cluster: FakeCluster, change: Callable[[], Any]) -> None:
    """Have something happen that the watch is not told of, and that a new list has to show."""
    with cluster.changed:
        stream = cluster.streams[-1]
        stream.interrupted = True
        change()
        cluster.compacted = cluster.version


def test_the_first_list_is_told(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    cluster.page_size = 2
    listed = [cluster.put(widget(f"w{number}")) for number in range(5)]
    one = start()
    assert [change.new for change in changes] == listed and not any(change.old for change in changes)
    assert one.synced and len(one.store) == 5


def test_items_of_a_built_in_kind_get_their_names(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    pod = cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"}})
    stored = cluster.objects["pods", "ns", "p"]
    del stored["apiVersion"], stored["kind"]
    one = start(POD)
    assert changes[0].new == pod == one.store.get("ns", "p")


def test_changes_come_with_the_object_before(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    one = start()
    first = cluster.put(widget(data="1"))
    cluster.streams[0].send(line("MODIFIED", first))  # what is known
    until(lambda: len(changes) == 1 and not cluster.streams[0].raw)
    cluster.put(widget(data="2"))
    last = cluster.delete(widget(data="3"))
    until(lambda: len(changes) == 3)
    cluster.streams[0].send(line("DELETED", last))
    cluster.put(widget(data="4"))
    until(lambda: len(changes) == 4)
    assert told(changes) == [(None, "1"), ("1", "2"), ("3", None), (None, "4")]
    assert one.store.get("ns", "w")["data"] == "4"


def test_a_new_list_tells_what_has_happened(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    for name in ("stays", "changes", "goes", "again"):
        cluster.put(widget(name, f"{name} 1", uid=name))
    one = start()
    changes.clear()

    def upheaval() -> None:
        cluster.put(widget("changes", "changes 2", uid="changes"))
        cluster.delete(widget("goes", uid="goes"))
        cluster.delete(widget("again", uid="again"))
        cluster.put(widget("again", "again 2", uid="another"))
        cluster.put(widget("comes", "comes 1", uid="comes"))

    unseen(cluster, upheaval)
    until(lambda: len(changes) == 5)
    assert sorted(told(changes), key=str) == sorted(
        [
            ("goes 1", None),
            ("changes 1", "changes 2"),
            ("again 1", None),
            (None, "again 2"),
            (None, "comes 1"),
        ],
        key=str,
    )
    assert told(changes)[0] == ("goes 1", None), "what is gone comes first"
    assert told(changes).index(("again 1", None)) + 1 == told(changes).index((None, "again 2"))
    until(lambda: one.version == cluster.version)
    assert sorted(one.store.names()) == [("ns", name) for name in ("again", "changes", "comes", "stays")]


def test_a_re_creation_may_show_in_the_watch_too(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    start()
    cluster.put(widget(data="1"))
    cluster.put(widget(data="2", uid="u2"))
    until(lambda: len(changes) == 3)
    assert told(changes) == [(None, "1"), ("1", None), (None, "2")]


def test_first_sights_may_be_left_out(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    cluster.put(widget("listed"))
    start(tells_new=False)
    cluster.put(widget(data="1"))
    cluster.put(widget(data="2"))
    cluster.put(widget(data="3", uid="u2"))  # deleted and created again, unseen
    cluster.put(widget(data="4", uid="u2"))
    until(lambda: len(changes) == 3)
    assert told(changes) == [("1", "2"), ("2", None), ("3", "4")]


def test_objects_are_trimmed_before_they_are_kept(cluster: FakeCluster, changes: list[Change], start: Any) -> None:
    cluster.put(widget("listed", "secret"))
    one = start(trim=lambda obj: obj.update(data="trimmed"))
    cluster.put(widget(data="secret"))
    until(lambda: len(changes) == 2)
    cluster.delete(widget(data="secret"))
    until(lambda: len(changes) == 3)
    assert told(changes) == [(None, "trimmed"), (None, "trimmed"), ("trimmed", None)]
    assert one.store.get("ns", "listed")["data"] == "trimmed"


def test_a_change_is_the_handlers_own(cluster: FakeCluster, start: Any) -> None:
    def spoil(change: Change) -> None:
        (change.new or {}).clear()

    one = start(on_change=spoil)
    stored = cluster.put(widget())
    until(lambda: one.store.get("ns", "w"))
    assert one.store.get("ns", "w") == stored


def test_a_handler_error_is_logged_with_the_object(
    cluster: FakeCluster, start: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(change: Change) -> None:
        raise RuntimeError("oops")

    one = start(on_change=broken)
    cluster.put(widget())
    until(lambda: "an event of Widget ns/w was not handled" in caplog.text)
    until(lambda: one.version == 1)
    assert len(cluster.paths("list")) == 1 and not one.trouble


def test_namespaces_share_a_store_and_take_care_of_their_own(cluster: FakeCluster, changes: list[Change]) -> None:
    for namespace in ("a", "b", "other"):
        cluster.put(widget(data=namespace, namespace=namespace))
    kind = for_namespaces(cluster, WIDGET, ("a", "b"), on_change=changes.append)  # type: ignore[arg-type]
    for informer in kind.informers:
        informer.start()
    until(lambda: kind.synced and len(cluster.streams) == 2)
    assert sorted(kind.store.names()) == [("a", "w"), ("b", "w")]
    assert [kind.informer_for(name, namespaced=True) for name in ("a", "b", "c", "")] == [*kind.informers, None, None]
    changes.clear()
    lists = len(cluster.paths("list"))
    for stream in cluster.streams:
        stream.send(line("ERROR", {"code": 410}))
    until(lambda: len(cluster.paths("list")) == lists + 2 and len(cluster.streams) == 4)
    assert not changes and len(kind.store) == 2, "no list shows that the other's objects are gone"
    cluster.delete(widget(data="b", namespace="b"))
    until(lambda: changes)
    assert told(changes) == [("b", None)] and copy.copy(kind.store.names()) == [("a", "w")]
    for informer in kind.informers:
        informer.stop()


def test_how_far_an_informer_has_come(cluster: FakeCluster, changes: list[Change]) -> None:
    """No further than what the store shows."""
    cluster.put(widget())
    seen: list[tuple[int | None, bool]] = []
    store = Store()
    one = ResourceInformer(
        cluster,  # type: ignore[arg-type]
        WIDGET,
        on_change=lambda change: seen.append((one.version, one.synced)),
        store=store,
    )
    assert one.version is None
    one.start()
    until(lambda: one.version == 1)
    assert seen == [(None, False)], "not before all of the list was taken"
    cluster.put(widget(data="2"))
    until(lambda: one.version == 2)
    assert seen[1] == (1, True) and store.get("ns", "w")["data"] == "2"  # type: ignore[index]
    one.stop()
