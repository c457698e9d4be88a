"""A kind without namespaces, while the controller is told to watch some namespaces only."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from taskflow_controller.kube import informers
from taskflow_controller.kube.api import ApiResource
from taskflow_controller.kube.informers import Change, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind

ZONE = GroupVersionKind("example.com", "v1", "Zone")


class FakeApi:
    """Serves one object, and watches in which nothing happens; notes what is listed and watched."""

    def __init__(self) -> None:
        self.namespaced = False
        self.listed: list[str] = []
        self.watched: list[str] = []
        self.closing = threading.Event()

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        return ApiResource("zones", self.namespaced)

    def get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        self.listed.append(path)
        zone = {"metadata": {"name": "z", "uid": "u", "resourceVersion": "1"}}
        return {"metadata": {"resourceVersion": "5"}, "items": [zone]}

    def stream(self, path: str, query: dict[str, Any], read_timeout: float) -> Any:
        self.watched.append(path)

        def lines(**_: Any) -> Iterator[bytes]:
            self.closing.wait(20)
            return iter(())

        return SimpleNamespace(stream=lines, status=200, close=lambda: None, release_conn=lambda: None)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.closing.set()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.01)


def test_it_is_watched_once_whatever_the_namespaces(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informers, "WATCH_SECONDS", (1, 1))
    changes: list[Change] = []
    _, both = for_namespaces(api, ZONE, ("a", "b"), on_change=changes.append)  # type: ignore[arg-type]
    for informer in both:
        informer.start()
    until(lambda: all(informer.synced for informer in both) and api.watched)
    assert (api.listed, api.watched) == (["/apis/example.com/v1/zones"],) * 2
    assert len(changes) == 1 and all(informer.alive for informer in both)

    api.namespaced = True
    until(lambda: "/apis/example.com/v1/namespaces/b/zones" in api.watched)
    for informer in both:
        informer.stop()
