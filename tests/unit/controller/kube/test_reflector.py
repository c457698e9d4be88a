"""Lists and watches against an API server in this process: what is asked of it, and what the sink is told."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from support.api.fake_cluster import FakeCluster, FakeStream, gone, line, refusal
from support.api.proxy_harness import until

from taskflow_controller.kube import reflector
from taskflow_controller.kube.api import KindNotServedError
from taskflow_controller.kube.kinds import GroupVersionKind, Object
from taskflow_controller.kube.reflector import Reflector, pause_after

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
PATH = "/apis/example.com/v1/widgets"
CAUSE = "watch of Widget (example.com/v1) in all namespaces ended, will be resumed: "


def widget(name: str = "w", **metadata: Any) -> Object:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid of {name}", **metadata}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}


class Sink:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.problem: Exception | None = None

    def keep(self, obj: Object) -> str:
        return str(obj["metadata"]["name"])

    def listed(self, kept: list[str]) -> None:
        self.told.append(("listed", kept))

    def upserted(self, obj: Object) -> None:
        if self.problem:
            problem, self.problem = self.problem, None
            raise problem
        self.told.append(("upserted", obj["metadata"]["name"]))

    def deleted(self, obj: Object) -> None:
        self.told.append(("deleted", obj["metadata"]["name"]))


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    cluster = FakeCluster()
    yield cluster
    cluster.close()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would be made, and are not."""
    noted: list[float] = []

    def pause(exc: Exception, failures: int, *, listing: bool) -> float:
        noted.append(pause_after(exc, failures, listing=listing))
        return 0.0

    monkeypatch.setattr(reflector, "pause_after", pause)
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.0)
    return noted


@pytest.fixture
def start(cluster: FakeCluster, sink: Sink, pauses: list[float]) -> Iterator[Callable[..., Reflector[str]]]:
    """Start a reflector, and wait until it watches."""
    started: list[Reflector[str]] = []

    def start_(*, watches: bool = True, **options: Any) -> Reflector[str]:
        one: Reflector[str] = Reflector(cluster, WIDGET, sink, **options)  # type: ignore[arg-type]
        started.append(one)
        one.start()
        if watches:
            until(lambda: cluster.streams)
        return one

    yield start_
    for one in started:
        one.stop()
    until(lambda: not any(one.alive for one in started))


def failing(cluster: FakeCluster, verb: str, *problems: Exception | None) -> None:
    """Refuse the next requests of a kind; None stands for one that is answered."""
    left = list(problems)

    def before(asked: str, path: str, query: dict[str, Any]) -> None:
        problem = left.pop(0) if asked == verb and left else None
        if problem:
            raise problem

    cluster.before = before


def watched_again(cluster: FakeCluster, count: int = 2) -> FakeStream:
    until(lambda: len(cluster.streams) >= count)
    return cluster.streams[count - 1]


def queries(cluster: FakeCluster, verb: str) -> list[dict[str, Any]]:
    return [query for done, _path, query in cluster.requests if done == verb]


def test_a_list_comes_in_pages(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    names = [f"w{number}" for number in range(5)]
    for name in names:
        cluster.put(widget(name, labels={"a": "b"}))
    cluster.page_size = 2
    one = start(label_selector="a=b")
    assert sink.told == [("listed", names)] and one.synced and one.version == 5
    shared = {"limit": 500, "labelSelector": "a=b"}
    tokens: list[dict[str, str]] = [{}, {"continue": "5:2"}, {"continue": "5:4"}]
    assert queries(cluster, "list") == [{**shared, **token} for token in tokens]
    assert queries(cluster, "watch")[0]["labelSelector"] == "a=b"


def test_a_page_whose_token_has_expired_starts_the_list_again(
    cluster: FakeCluster, sink: Sink, start: Any, pauses: list[float]
) -> None:
    for number in range(4):
        cluster.put(widget(f"w{number}"))
    cluster.page_size = 2
    failing(cluster, "list", None, gone())
    one = start()
    assert sink.told == [("listed", ["w0", "w1", "w2", "w3"])] and not pauses and not one.trouble
    assert [query.get("continue") for query in queries(cluster, "list")] == [None, "4:2", None, "4:2"]


def test_tokens_that_expire_again_and_again_are_a_failure(
    cluster: FakeCluster, sink: Sink, start: Any, pauses: list[float]
) -> None:
    cluster.put(widget())
    failing(cluster, "list", gone(), gone(), gone())
    start()
    assert sink.told == [("listed", ["w"])] and pauses == [5.0]


def test_a_watch_goes_on_from_the_list_and_cannot_hang(cluster: FakeCluster, start: Any) -> None:
    cluster.put(widget())
    start()
    (query,) = queries(cluster, "watch")
    assert (query["watch"], query["allowWatchBookmarks"], query["resourceVersion"]) == ("true", "true", "1")
    assert 180 <= query["timeoutSeconds"] <= 300
    assert 60 < cluster.streams[0].silence < 120, "longer than between two bookmarks, and not much"


def test_events_are_told_in_order(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    one = start()
    cluster.put(widget("a"))
    cluster.put(widget("a"))
    cluster.put(widget("b"))
    cluster.delete(widget("a"))
    until(lambda: one.version == 4)
    assert sink.told == [("listed", []), ("upserted", "a"), ("upserted", "a"), ("upserted", "b"), ("deleted", "a")]


def test_a_bookmark_moves_the_version(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    one = start()
    version = cluster.bookmark("Widget")
    until(lambda: one.version == version)
    cluster.streams[0].end()
    assert watched_again(cluster).query["resourceVersion"] == str(version)
    assert sink.told == [("listed", [])]


@pytest.mark.parametrize(
    ("break_off", "cause"),
    [
        (FakeStream.end, ""),
        (lambda stream: stream.send(urllib3.exceptions.ProtocolError("cut")), "cut"),
        (lambda stream: stream.send(OSError("reset")), "reset"),
        (lambda stream: stream.send(line("ERROR", {"code": 500, "message": "m", "reason": "r"})), "HTTP 500: r: m"),
    ],
)
def test_a_watch_that_ends_is_resumed_without_a_list(
    cluster: FakeCluster,
    sink: Sink,
    start: Any,
    *,
    pauses: list[float],
    caplog: pytest.LogCaptureFixture,
    break_off: Callable[[FakeStream], None],
    cause: str,
) -> None:
    caplog.set_level("DEBUG")
    one = start()
    cluster.put(widget("a"))
    until(lambda: one.version == 1)
    break_off(cluster.streams[0])
    again = watched_again(cluster)
    assert again.query["resourceVersion"] == "1" and cluster.streams[0].closed
    cluster.put(widget("b"))
    until(lambda: one.version == 2)
    assert sink.told == [("listed", []), ("upserted", "a"), ("upserted", "b")]
    assert len(cluster.paths("list")) == len(cluster.paths("find")) == 1 and not pauses and not one.trouble
    assert (CAUSE + cause in caplog.text) if cause else CAUSE not in caplog.text


@pytest.mark.parametrize(
    ("pieces", "cause"),
    [
        ((b'{"type": "ADDED", "obj', b"\n"), "Unterminated string"),
        ((b'{"type": "LATER", "object": {}}\n',), "a line is not a watch event"),
    ],
)
def test_a_line_that_is_not_understood_brings_a_new_list(
    cluster: FakeCluster, sink: Sink, start: Any, *, caplog: pytest.LogCaptureFixture, pieces: Any, cause: str
) -> None:
    """The server would send it again, and with it all that follow would stay unseen."""
    one = start()
    cluster.put(widget("a"))
    until(lambda: one.version == 1)
    cluster.streams[0].send(*pieces)
    until(lambda: sink.told[-1] == ("listed", ["a"]))
    watched_again(cluster)
    cluster.put(widget("b"))
    until(lambda: ("upserted", "b") in sink.told)
    assert not one.trouble and cause in caplog.text


def test_a_watch_that_is_silent_is_resumed(
    cluster: FakeCluster, start: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setattr(reflector, "SILENCE_SECONDS", 0.05)
    one = start()
    watched_again(cluster, 3)
    assert len(cluster.paths("list")) == 1 and not one.trouble and "Read timed out" in caplog.text


def test_a_version_that_is_too_old_brings_a_new_list(
    cluster: FakeCluster, sink: Sink, start: Any, pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """The API server tells it by an event."""
    caplog.set_level("DEBUG")
    start()
    with cluster.changed:
        cluster.streams[0].end()
        cluster.put(widget("a"))
        cluster.compacted = cluster.version
        cluster.streams[0].interrupted = True  # nothing more is told here
    until(lambda: ("listed", ["a"]) in sink.told)
    assert sink.told == [("listed", []), ("listed", ["a"])] and not pauses
    assert CAUSE + "HTTP 410: Expired: too old resource version" in caplog.text


@pytest.mark.parametrize("code", [403, 404, 410, 504, None])
def test_an_error_event_after_which_a_version_is_worth_nothing(cluster: FakeCluster, start: Any, code: Any) -> None:
    start()
    cluster.streams[0].send(line("ERROR", {"code": code}))
    watched_again(cluster)
    assert len(cluster.paths("list")) == 2


@pytest.mark.parametrize("status", [403, 404, 410, 504])
def test_a_refused_watch_brings_a_new_list(
    cluster: FakeCluster, sink: Sink, start: Any, pauses: list[float], status: int
) -> None:
    failing(cluster, "watch", refusal(status))
    start()
    assert sink.told == [("listed", [])] * 2 and pauses == [1.0] and len(cluster.paths("find")) == 2


@pytest.mark.parametrize("problem", [refusal(429), refusal(500), refusal(502), refusal(503), "away"])
def test_a_watch_that_fails_for_a_moment_is_resumed(
    cluster: FakeCluster, sink: Sink, start: Any, pauses: list[float], problem: Any
) -> None:
    failing(cluster, "watch", urllib3.exceptions.HTTPError("away") if problem == "away" else problem)
    start()
    assert sink.told == [("listed", [])] and pauses == [1.0]


def test_the_pauses_get_longer_until_something_succeeds(cluster: FakeCluster, start: Any, pauses: list[float]) -> None:
    failing(cluster, "watch", *[refusal(500)] * 7, None, refusal(500))
    start()
    cluster.streams[0].end()
    watched_again(cluster)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 1]


def test_a_failing_list_waits_longer(cluster: FakeCluster, start: Any, pauses: list[float]) -> None:
    failing(cluster, "list", *[refusal(500)] * 5)
    start()
    assert pauses == [5, 5, 5, 8, 16]


@pytest.mark.parametrize(
    ("exc", "listing", "pause"),
    [
        (refusal(429, Retry_After="20"), False, 20),
        (refusal(503, Retry_After="20"), True, 20),
        (refusal(429, Retry_After="1"), True, 5),
        (refusal(429, Retry_After="86400"), False, 300),
        (refusal(500, Retry_After="20"), False, 1),
        (refusal(429, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"), False, 1),
        (refusal(429), False, 1),
        (OSError(), False, 1),
    ],
)
def test_a_busy_server_says_when_to_come_again(exc: Exception, listing: bool, pause: float) -> None:
    assert pause_after(exc, 1, listing=listing) == pause


def test_a_busy_server_is_left_alone(cluster: FakeCluster, start: Any, pauses: list[float]) -> None:
    failing(cluster, "watch", refusal(429, Retry_After="20"))
    start()
    assert pauses == [20.0]


def test_a_server_that_ends_each_watch_at_once_is_not_hammered(
    cluster: FakeCluster, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.2)
    begun = time.monotonic()
    start()
    cluster.streams[0].end()
    watched_again(cluster)
    assert time.monotonic() - begun > 0.19


def test_trouble_is_logged_once_and_so_is_its_end(
    cluster: FakeCluster, start: Any, pauses: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    waiting = threading.Event()

    def before(verb: str, path: str, query: dict[str, Any]) -> None:
        if verb == "find":
            if len(cluster.paths("find")) == 4:
                waiting.wait(10)
            else:
                raise KindNotServedError(WIDGET)

    cluster.before = before
    one = start(watches=False)
    until(lambda: len(cluster.paths("find")) == 4)
    assert "does not serve Widget (example.com/v1)" in (one.trouble or "")
    assert one.failing_for > 0 and not one.synced and one.version is None and one.alive
    waiting.set()
    until(lambda: one.synced)
    assert caplog.text.count("cannot watch Widget (example.com/v1) in all namespaces, will keep trying") == 1
    assert caplog.text.count("can watch Widget (example.com/v1) in all namespaces again") == 1
    assert one.trouble is None and one.failing_for == 0


def test_the_version_cannot_be_told_while_there_is_trouble(cluster: FakeCluster, start: Any) -> None:
    cluster.put(widget())
    one = start()
    assert one.version == 1
    passes = threading.Event()

    def before(verb: str, path: str, query: dict[str, Any]) -> None:
        if not passes.is_set():
            raise refusal(500)

    cluster.before = before
    cluster.streams[0].end()
    until(lambda: one.trouble)
    assert one.version is None and one.synced
    passes.set()
    until(lambda: one.version == 1)


def test_a_version_that_is_no_number_is_none(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    one = start()
    cluster.streams[0].send(line("ADDED", widget(resourceVersion="abc")))
    until(lambda: len(sink.told) == 2)
    until(lambda: one.version is None)


def test_an_error_of_the_sink_brings_a_new_list(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    """Its state is not known then."""
    one = start()
    sink.problem = RuntimeError("bug")
    cluster.put(widget())
    until(lambda: ("listed", ["w"]) in sink.told)
    assert one.alive


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_stop_ends_a_pause(cluster: FakeCluster, sink: Sink, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(reflector, "pause_after", lambda exc, failures, listing: 30.0)
    failing(cluster, verb, refusal(500))
    one: Reflector[str] = Reflector(cluster, WIDGET, sink)  # type: ignore[arg-type]
    one.start()
    until(lambda: one.trouble)
    one.stop()
    until(lambda: not one.alive, timeout=10)


def test_stop_ends_an_open_stream(cluster: FakeCluster, sink: Sink, start: Any, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    one = start()
    one.stop()
    until(lambda: not one.alive, timeout=10)
    assert cluster.streams[0].interrupted and cluster.streams[0].closed and "ended" not in caplog.text
    cluster.put(widget())
    assert sink.told == [("listed", [])]


def test_stop_while_a_stream_is_opened(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    opening = threading.Event()

    def before(verb: str, path: str, query: dict[str, Any]) -> None:
        if verb == "watch":
            opening.set()
            time.sleep(0.1)

    cluster.before = before
    one = start(watches=False)
    assert opening.wait(5)
    one.stop()
    until(lambda: not one.alive, timeout=10)
    assert cluster.streams[0].closed


def test_stop_while_it_lists(cluster: FakeCluster, sink: Sink, start: Any) -> None:
    listing = threading.Event()

    def before(verb: str, path: str, query: dict[str, Any]) -> None:
        if verb == "list":
            listing.set()
            time.sleep(0.1)

    cluster.before = before
    cluster.page_size = 1
    for number in range(50):
        cluster.put(widget(f"w{number}"))
    one = start(watches=False)
    assert listing.wait(5)
    one.stop()
    until(lambda: not one.alive, timeout=10)
    assert sink.told == [] and not one.synced


def test_stop_before_the_start(cluster: FakeCluster, sink: Sink) -> None:
    one: Reflector[str] = Reflector(cluster, WIDGET, sink)  # type: ignore[arg-type]
    one.stop()
    one.start()
    until(lambda: not one.alive)
    assert not cluster.requests
