"""A kind without namespaces, while the controller is told to watch some namespaces only."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.api.fake_cluster import FakeCluster, refusal
from support.api.proxy_harness import until

from taskflow_controller.kube import reflector
from taskflow_controller.kube.informers import Change, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind, Object

ZONE = GroupVersionKind("example.com", "v1", "Zone")
PATH = "/apis/example.com/v1/zones"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(reflector, "WATCH_SECONDS", (1, 1))
    cluster = FakeCluster()
    cluster.namespaced = False
    cluster.put(zone())

    def refuse_what_is_not_served(verb: str, path: str, query: dict[str, Any]) -> None:
        if verb != "find" and ("namespaces" in path) != cluster.namespaced:
            raise refusal(404)

    cluster.before = refuse_what_is_not_served
    yield cluster
    cluster.close()


def zone(**metadata: str) -> Object:
    return {"apiVersion": "example.com/v1", "kind": "Zone", "metadata": {"name": "z", "uid": "u", **metadata}}


def test_it_is_watched_once_whatever_the_namespaces(cluster: FakeCluster) -> None:
    changes: list[Change] = []
    kind = for_namespaces(cluster, ZONE, ("a", "b"), on_change=changes.append)  # type: ignore[arg-type]
    both = kind.informers
    for informer in both:
        informer.start()
    until(lambda: kind.synced and cluster.streams)
    assert (cluster.paths("list"), cluster.paths("watch")) == ([PATH],) * 2
    assert len(changes) == 1 and all(informer.alive for informer in both)
    assert kind.informer_for("", namespaced=False) is both[0]
    assert (both[0].version, both[1].version) == (1, None)

    # Its CRD is replaced by one with namespaces.
    cluster.namespaced = True
    cluster.delete(zone())
    in_b = cluster.put(zone(namespace="b"))
    cluster.streams[0].end()
    until(lambda: "/apis/example.com/v1/namespaces/b/zones" in cluster.paths("watch"))
    until(lambda: kind.store.names() == [("b", "z")])
    assert [change.new is None for change in changes] == [False, True, False]
    assert changes[-1].new == in_b

    # And that by one without.
    cluster.namespaced = False
    cluster.delete(in_b)
    cluster.put(zone(uid="u2"))
    for stream in cluster.streams:
        stream.end()
    until(lambda: kind.store.names() == [("", "z")])
    for informer in both:
        informer.stop()
