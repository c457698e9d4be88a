"""A watch that has failed for long is told, one that fails for a moment is not."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.api.fake_cluster import FakeCluster, refusal
from support.api.proxy_harness import until

from taskflow_controller.kube import reflector
from taskflow_controller.kube.informers import for_namespaces, stuck_watches
from taskflow_controller.kube.kinds import GroupVersionKind

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
PATH = "/apis/example.com/v1/namespaces/a/widgets"


class Clock:
    """The module's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Failing(FakeCluster):
    """Refuses each list in one namespace that the test has not let pass."""

    def __init__(self) -> None:
        super().__init__()
        self.problem: Exception | None = refusal(403, "Forbidden")
        self.turn = threading.Semaphore(0)
        self.before = self.refuse

    def refuse(self, verb: str, path: str, query: dict[str, Any]) -> None:
        if path == PATH:
            self.turn.acquire(timeout=10)
            if self.problem:
                raise self.problem


@pytest.fixture
def cluster() -> Iterator[Failing]:
    cluster = Failing()
    yield cluster
    cluster.close()
    cluster.turn.release(100)


def test_stuck_watches(cluster: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(reflector, "time", clock)
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.0)
    monkeypatch.setattr(reflector, "pause_after", lambda exc, failures, listing: 0.0)
    informers = for_namespaces(cluster, WIDGET, ("a", "b"), on_change=lambda change: None).informers  # type: ignore[arg-type]
    for informer in informers:
        informer.start()
    failing, fine = informers
    until(lambda: fine.synced)
    cluster.turn.release()
    until(lambda: failing.trouble == "HTTP 403: Forbidden")
    clock.now += 50
    cluster.problem = refusal(500, "Internal Server Error")
    cluster.turn.release()
    until(lambda: failing.trouble == "HTTP 500: Internal Server Error")
    assert stuck_watches(informers) is None, "not yet"
    clock.now += 30
    problem = "cannot watch Widget (example.com/v1) in a for 80 s: HTTP 500: Internal Server Error"
    assert stuck_watches(informers) == problem
    cluster.problem = None
    cluster.turn.release()
    until(lambda: failing.synced)
    assert stuck_watches(informers) is None
    cluster.problem = refusal(500, "x")
    cluster.turn.release()
    until(lambda: failing.trouble)
    assert stuck_watches(informers) is None, "it counts from here"
    for informer in informers:
        informer.stop()
