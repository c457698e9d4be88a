"""What passes through the API proxy, both ways, and what it answers itself when nothing can."""

import contextlib
import dataclasses
import http.client
import itertools
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from kubernetes import client
from support.api.proxy_harness import WATCH, Client, FakeApiServer, ServerRequest, until

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.kube.kinds import ResourceKey
from taskflow_controller.proxy import ApiProxy, upstream
from taskflow_controller.proxy.kubeconfig import environment
from taskflow_controller.runs.launcher import Launcher, Work
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.triggers.causes import Cause, Causes

PATH = "/api/v1/namespaces/x/configmaps"


def test_a_request_and_its_answer_pass_unchanged(play: Client, server: FakeApiServer) -> None:
    server.answer = lambda request: request.reply(b"body", 201, X_Of_Server="yes", Connection="X-Hop", X_Hop="no")
    path = PATH + "/a%2Fb?fieldManager=a%20b&x=1&x=2"
    headers = {"Impersonate-User": "jane", "X-Hop": "no", "Connection": "keep-alive, X-Hop", "Accept-Encoding": "gzip"}
    answer = play.send("PATCH", path, b"data", headers)
    assert (answer.status, answer.read(), answer.headers["X-Of-Server"]) == (201, b"body", "yes")
    assert "X-Hop" not in answer.headers
    (request,) = server.requests
    assert (request.command, request.path, request.body) == ("PATCH", path, b"data")
    assert (request.headers["Impersonate-User"], request.headers["Accept-Encoding"]) == ("jane", "gzip")
    assert request.headers["Host"] == server.url.removeprefix("http://")
    assert not {"X-Hop", "Connection", "Authorization"}.intersection(request.headers)


def test_connections_are_used_again(play: Client, server: FakeApiServer) -> None:
    for number in range(3):
        assert play.json("GET", f"/version?{number}") == {"path": f"/version?{number}"}
    assert len(server.connections) == 1


@pytest.mark.parametrize("authorization", [None, "Bearer wrong", "Bearer ", "Basic d3Jvbmc6", "{token}"])
def test_without_the_secret_nothing_passes(play: Client, server: FakeApiServer, authorization: str | None) -> None:
    fields = {} if authorization is None else {"Authorization": authorization.format(token=play.token)}
    play.connection.request("POST", PATH, b"x" * 100_000, fields)
    answer = play.connection.getresponse()
    status = json.loads(answer.read())
    assert (answer.status, status["kind"], status["reason"], status["code"]) == (401, "Status", "Unauthorized", 401)
    assert not server.requests


def test_the_secret_dies_with_the_run(proxy: ApiProxy, server: FakeApiServer, tmp_path: Path) -> None:
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        assert kubeconfig.parent == tmp_path and kubeconfig.stat().st_mode & 0o777 == 0o600
        kept, later = Client(kubeconfig), Client(kubeconfig)
        assert kept.send("GET", "/version").read()
    assert not kubeconfig.exists()
    assert kept.connection.sock.recv(1) == b""  # the connection that the run left open is closed
    assert later.send("GET", "/version").status == 401
    assert len(server.requests) == 1


def test_two_runs_have_different_secrets(proxy: ApiProxy, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with proxy.session(WATCH, None, tmp_path) as one, proxy.session(WATCH, None, tmp_path / "other") as other:
        clients = [Client(one), Client(other)]
    assert clients[0].token != clients[1].token and clients[0].address == clients[1].address
    with proxy.session(WATCH, None, tmp_path) as again:
        assert Client(again).token != clients[0].token


def test_large_bodies_pass_both_ways(play: Client, server: FakeApiServer) -> None:
    server.answer = lambda request: request.reply(request.body)
    body = bytes(range(256)) * 20_000
    assert play.send("PUT", PATH + "/a", body).read() == body
    assert play.send("PUT", PATH + "/a", iter([body, body]), encode_chunked=True).read() == body * 2
    assert "chunked" in server.requests[1].headers["Transfer-Encoding"]


def test_a_client_that_asks_whether_to_go_on_is_told(play: Client, server: FakeApiServer) -> None:
    with play.socket() as raw:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {play.token}\r\nExpect: 100-continue\r\n"
        raw.sendall(f"{head}Content-Length: 4\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(b"data")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert server.requests[0].body == b"data" and "Expect" not in server.requests[0].headers


def test_a_watch_is_delivered_as_it_comes(play: Client, server: FakeApiServer) -> None:
    go_on = threading.Event()

    def answer(request: ServerRequest) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for line in (b"1\n", b"2\n"):
            go_on.wait(20)
            go_on.clear()
            request.wfile.write(b"2\r\n%s\r\n" % line)
        request.wfile.write(b"0\r\n\r\n")

    server.answer = answer
    stream = play.send("GET", PATH + "?watch=true")  # the head comes before the first event
    for line in (b"1\n", b"2\n"):
        go_on.set()
        assert stream.readline() == line
    assert stream.read() == b""
    assert play.send("HEAD", "/version").read() == b""


def test_a_client_that_goes_away_ends_the_request(play: Client, server: FakeApiServer) -> None:
    ended = threading.Event()

    def answer(request: ServerRequest) -> None:
        if request.raw.recv(1) == b"":
            ended.set()

    server.answer = answer
    play.connection.request("GET", PATH + "?watch=1", headers={"Authorization": f"Bearer {play.token}"})
    until(lambda: server.requests)
    play.connection.close()
    assert ended.wait(20)


@pytest.mark.parametrize("end", ["session", "proxy"])
def test_a_watch_ends_with_the_run_and_with_the_proxy(
    proxy: ApiProxy, server: FakeApiServer, tmp_path: Path, end: str
) -> None:
    ended = threading.Event()

    def answer(request: ServerRequest) -> None:
        request.send_response(200)
        request.end_headers()
        if request.raw.recv(1) == b"":
            ended.set()

    server.answer = answer
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        stream = Client(kubeconfig).send("GET", PATH + "?watch=1")
        if end == "proxy":
            proxy.stop()
    assert ended.wait(20)
    with contextlib.suppress(OSError, http.client.HTTPException):
        assert stream.read() == b""


@pytest.mark.parametrize("path", [PATH + "/p/exec?stdin=1", "/api/v1/namespaces/x/pods/p/portforward"])
def test_a_changed_protocol_is_a_tunnel(play: Client, server: FakeApiServer, path: str) -> None:
    def answer(request: ServerRequest) -> None:
        request.send_response(101)
        request.send_header("Connection", "Upgrade")
        request.send_header("Upgrade", request.headers["Upgrade"])
        request.end_headers()
        request.wfile.write(b"first")  # with the head
        while data := request.raw.recv(1000):
            request.raw.sendall(data.upper())
        request.close_connection = True

    server.answer = answer
    with play.socket() as raw:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {play.token}\r\nContent-Length: 0\r\n"
        raw.sendall(f"{head}Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode())
        received = b""
        while not received.endswith(b"first"):
            received += raw.recv(1000)
        assert received.startswith(b"HTTP/1.1 101 ") and b"SPDY/3.1" in received
        raw.sendall(b"\x80\x03more\r\n\r\n")
        assert raw.recv(1000) == b"\x80\x03MORE\r\n\r\n"
    assert server.requests[0].headers["Connection"] == "Upgrade"


def test_a_refused_change_of_protocol_is_an_answer(play: Client, server: FakeApiServer) -> None:
    server.answer = lambda request: request.reply(b"no", 403)
    answer = play.send("POST", PATH + "/p/exec", b"", {"Connection": "Upgrade", "Upgrade": "SPDY/3.1"})
    assert (answer.status, answer.read()) == (403, b"no")


def test_the_end_of_the_server_ends_the_tunnel(play: Client, server: FakeApiServer) -> None:
    def answer(request: ServerRequest) -> None:
        request.wfile.write(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nbye")
        request.close_connection = True

    server.answer = answer
    with play.socket() as raw:
        head = f"GET {PATH}/p/attach HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {play.token}\r\n"
        raw.sendall(f"{head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        received = b""
        with contextlib.suppress(OSError):
            while data := raw.recv(1000):
                received += data
        assert received.endswith(b"\r\n\r\nbye")


def test_the_controllers_own_token_goes_with_it_and_is_renewed(
    play: Client, server: FakeApiServer, configuration: client.Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CREDENTIALS_SECONDS", 0.0)
    tokens = itertools.count(1)
    configuration.api_key["BearerToken"] = "bearer 0"
    configuration.refresh_api_key_hook = lambda c: c.api_key.update(BearerToken=f"bearer {next(tokens)}")
    for _ in range(2):
        play.send("GET", "/version").read()
    sent = [request.headers["Authorization"] for request in server.requests]
    assert all(token.startswith("bearer ") for token in sent) and sent[0] != sent[1]


def test_a_path_before_the_api_and_an_http_proxy(tmp_path: Path) -> None:
    """As a kubeconfig for a cluster behind a gateway has it."""
    gateway, api = FakeApiServer(), FakeApiServer()

    def connect(request: ServerRequest) -> None:
        host, port = request.path.split(":")
        with socket.create_connection((host, int(port))) as onward:
            request.send_response(200)
            request.end_headers()
            onward.sendall(request.raw.recv(10_000))
            while data := onward.recv(10_000):
                request.raw.sendall(data)
        request.close_connection = True

    gateway.answer = connect
    api.answer = lambda request: request.reply({"path": request.path}, Connection="close")
    configuration = client.Configuration(host=f"{api.url}/clusters/one/")
    configuration.proxy, configuration.no_proxy = gateway.url.replace("//", "//user:pass@"), ""
    proxy = ApiProxy(client.ApiClient(configuration))
    proxy.start()
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        assert Client(kubeconfig).json("GET", "/version?x") == {"path": "/clusters/one/version?x"}
    assert gateway.requests[0].headers["Proxy-Authorization"].startswith("Basic ")
    gateway.answer = lambda request: request.reply(b"", 407)
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        assert "HTTP 407" in Client(kubeconfig).json("GET", "/version")["message"]
    proxy.stop()
    gateway.close()
    api.close()


def sockets() -> int:
    links = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(link.startswith("socket:") for link in links)


def test_nothing_is_left_open(configuration: client.Configuration, tmp_path: Path) -> None:
    before = sockets()
    proxy = ApiProxy(client.ApiClient(configuration))
    proxy.start()
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        clients = [Client(kubeconfig) for _ in range(5)]
        for one in clients:
            assert one.send("GET", "/version").read()
        proxy.stop()
    for one in clients:
        one.connection.close()
    until(lambda: sockets() <= before)


def test_the_proxy_says_whether_it_runs(configuration: client.Configuration) -> None:
    proxy = ApiProxy(client.ApiClient(configuration))
    assert "is not running" in (proxy.problem() or "")
    proxy.start()
    assert proxy.problem() is None
    proxy.stop()
    proxy.stop()
    assert "is not running" in (proxy.problem() or "")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, {}),
        ({"NO_PROXY": "a"}, {}),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "a"}, {"NO_PROXY": "a,127.0.0.1", "no_proxy": "127.0.0.1"}),
        ({"https_proxy": "http://p"}, {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}),
    ],
)
def test_loopback_is_excepted_from_an_http_proxy(environ: dict[str, str], expected: dict[str, str]) -> None:
    paths = {"KUBECONFIG": "/run/kubeconfig", "K8S_AUTH_KUBECONFIG": "/run/kubeconfig"}
    assert environment(Path("/run/kubeconfig"), environ) == {**paths, **expected}


@pytest.mark.parametrize("through_proxy", [True, False])
def test_a_run_uses_the_proxy_unless_its_watch_says_no(proxy: ApiProxy, tmp_path: Path, through_proxy: bool) -> None:
    seen: list[dict[str, str]] = []

    class Runner:
        def run(self, request: RunRequest) -> RunResult:
            seen.append(dict(request.environment or {}))
            if through_proxy:
                assert Client(request.directory / "kubeconfig").send("GET", "/version").status == 200
            return RunResult(0, "successful", RunCounts(), (), "", None, 0.0)

    direct = {"KUBECONFIG": "/of/the/controller"}
    workspaces = Workspaces(tmp_path / "runs")
    overrides = Overrides(Defaults(reconcile_period=0, verbosity=0))
    launcher = Launcher(Runner(), workspaces, overrides, environment=direct, proxy=proxy, cancelled=lambda: False)
    key = ResourceKey(WATCH.gvk, "ns", "w")
    obj = {"metadata": {"namespace": "ns", "name": "w", "uid": "u"}, "spec": {}}
    launcher.run(dataclasses.replace(WATCH, api_proxy=through_proxy), [Work(key, obj, Causes((Cause.event("test"),)))])
    path = str(workspaces.path(key) / "kubeconfig")
    assert seen == [{"KUBECONFIG": path, "K8S_AUTH_KUBECONFIG": path} if through_proxy else direct]
    assert not os.path.exists(path)
