"""The proxy in which writes go wrong, before an API server of the test's own."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.api.proxy_harness import FakeApiServer, ServerRequest, until
from support.faults.api_server import ApiServer
from support.faults.fault_proxy import FaultProxy
from support.faults.schedule import Fault, Schedule

PODS, EVENTS = "/api/v1/namespaces/mine/pods", "/api/v1/namespaces/mine/events"
DELAY = 0.5


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    server.close()


@pytest.fixture
def kills() -> list[float]:
    return []


@pytest.fixture
def proxy(server: FakeApiServer, tmp_path: Path, kills: list[float]) -> Iterator[FaultProxy]:
    behind = {
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "admin"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(behind))
    api = ApiServer(tmp_path / "config", {"Impersonate-User": "operator"})
    proxy = FaultProxy(api, "mine", "canary", lambda: kills.append(time.monotonic()), DELAY)
    yield proxy
    proxy.close()


def send(proxy: FaultProxy, method: str, path: str, token: str = "canary", seconds: float = 10) -> tuple[int, Any]:
    """Send a request, and return the code and the body."""
    connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"), timeout=seconds)
    connection.request(method, path, "{}", {"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    code, body = answer.status, answer.read()
    connection.close()
    return code, json.loads(body)


def test_requests_get_through_with_the_rights_of_the_proxy(proxy: FaultProxy, server: FakeApiServer) -> None:
    assert send(proxy, "GET", PODS)[0] == 200
    assert send(proxy, "POST", PODS)[0] == 200
    headers = server.requests[-1].headers
    assert (headers["Authorization"], headers["Impersonate-User"]) == ("Bearer admin", "operator")


def test_who_does_not_know_the_token_gets_nothing(proxy: FaultProxy, server: FakeApiServer) -> None:
    assert send(proxy, "GET", PODS, token="guess")[0] == 401
    assert not server.requests


def test_writes_to_the_namespace_are_numbered_from_the_arming_on(proxy: FaultProxy) -> None:
    send(proxy, "POST", PODS)
    proxy.arm({})
    for method, path in [("POST", PODS), ("GET", PODS), ("POST", "/api/v1/namespaces"), ("PATCH", f"{PODS}/p")]:
        send(proxy, method, path)
    send(proxy, "POST", "/api/v1/namespaces/other/pods")
    assert list(map(str, proxy.writes)) == ["1. POST pods: 200", "2. PATCH pods/p: 200"]


@pytest.mark.parametrize(("fault", "arrives"), [("409", 0), ("429", 0), ("500", 0), ("504", 1)])
def test_a_write_is_refused(proxy: FaultProxy, server: FakeApiServer, fault: str, arrives: int) -> None:
    proxy.arm({2: Fault(fault)})
    assert send(proxy, "POST", EVENTS)[0] == 200
    code, body = send(proxy, "POST", PODS)
    assert (code, body["kind"], body["code"]) == (int(fault), "Status", int(fault))
    assert len(server.requests) == 1 + arrives
    assert send(proxy, "POST", PODS)[0] == 200


def test_a_delayed_write_arrives_though_nobody_waits_for_it(proxy: FaultProxy, server: FakeApiServer) -> None:
    proxy.arm({1: Fault.DELAYED})
    with pytest.raises(TimeoutError):
        send(proxy, "POST", PODS, seconds=0.1)
    assert not server.requests and not proxy.is_calm
    until(lambda: server.requests)
    until(lambda: proxy.is_calm)
    assert time.monotonic() - proxy.healed < 5


@pytest.mark.parametrize(("fault", "arrives"), [(Fault.DROPPED, 0), (Fault.UNANSWERED, 1)])
def test_the_controller_is_killed_before_it_has_an_answer(
    proxy: FaultProxy, server: FakeApiServer, kills: list[float], fault: Fault, arrives: int
) -> None:
    proxy.arm({1: fault})
    with pytest.raises(OSError):
        send(proxy, "POST", PODS, seconds=1)
    until(lambda: proxy.is_calm)
    assert (len(kills), len(server.requests)) == (1, arrives)


class Watching:
    """A watch through the proxy, and what came of it."""

    def __init__(self, proxy: FaultProxy, server: FakeApiServer) -> None:
        self.seen: list[dict[str, Any]] = []
        self.has_ended = False
        self._request: ServerRequest | None = None
        self._done = threading.Event()
        server.answer = self._serve
        threading.Thread(target=self._read, args=(proxy,), daemon=True).start()
        until(lambda: self._request)

    def _serve(self, request: ServerRequest) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        self._request = request
        self._done.wait(20)

    def tell(self, number: int) -> None:
        """Send an event."""
        line = json.dumps({"type": "ADDED", "object": number}).encode() + b"\n"
        assert self._request
        self._request.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

    def _read(self, proxy: FaultProxy) -> None:
        connection = http.client.HTTPConnection(proxy.url.removeprefix("http://"))
        connection.request("GET", f"{PODS}?watch=true", None, {"Authorization": "Bearer canary"})
        answer = connection.getresponse()
        while line := answer.readline():
            self.seen.append(json.loads(line))
        self.has_ended = True

    def objects(self) -> list[Any]:
        """What was seen, in order."""
        return [event["object"] for event in self.seen]


def test_events_are_held_and_follow(proxy: FaultProxy, server: FakeApiServer) -> None:
    watching = Watching(proxy, server)
    watching.tell(1)
    until(lambda: watching.objects() == [1])
    with proxy.streams.held("pods"):
        watching.tell(2)
        watching.tell(3)
        time.sleep(0.3)
        assert watching.objects() == [1]
    until(lambda: watching.objects() == [1, 2, 3])


def test_events_of_another_kind_are_not_held(proxy: FaultProxy, server: FakeApiServer) -> None:
    watching = Watching(proxy, server)
    with proxy.streams.held("tasks"):
        watching.tell(1)
        until(lambda: watching.objects() == [1])


def test_events_are_lost_and_then_the_watch_has_to_list_again(proxy: FaultProxy, server: FakeApiServer) -> None:
    watching = Watching(proxy, server)
    with proxy.streams.dropped("pods"):
        watching.tell(1)
        time.sleep(0.3)
    until(lambda: watching.has_ended)
    (last,) = watching.seen
    assert (last["type"], last["object"]["code"]) == ("ERROR", 410)


def test_a_schedule_is_read_as_it_was_printed() -> None:
    schedule = Schedule("lose", ((2, Fault.UNANSWERED), (5, Fault.CONFLICT)))
    assert Schedule.read(str(schedule)) == schedule
    with pytest.raises(ValueError):
        Schedule.read('{"scenario": "lose", "faults": [[1, "sung"]]}')
