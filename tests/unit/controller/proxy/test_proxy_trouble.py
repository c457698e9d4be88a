"""What the API proxy says when the API server, or what is between, is in trouble."""

import http.client
import itertools
import socket
import threading
import time
from pathlib import Path

import pytest
from kubernetes import client
from support.api.proxy_harness import WATCH, Client, FakeApiServer, ServerRequest, until

from taskflow_controller.proxy import ApiProxy, forward

PATH = "/api/v1/namespaces/x/configmaps"


def test_no_api_server_is_a_502(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    proxy = ApiProxy(client.ApiClient(client.Configuration(host=f"https://127.0.0.1:{port}")))
    proxy.start()
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        status = Client(kubeconfig).json("GET", "/version")
    proxy.stop()
    assert (status["code"], status["reason"]) == (502, "BadGateway")
    assert f"127.0.0.1:{port}" in status["message"] and "refused" in status["message"]


def test_an_api_server_that_closes_without_an_answer_is_a_502(play: Client, server: FakeApiServer) -> None:
    server.answer = lambda request: setattr(request, "close_connection", True)
    status = play.json("POST", PATH, {})
    assert (status["kind"], status["code"]) == ("Status", 502)
    assert "API server" in status["message"]
    assert len(server.requests) == 1


def test_an_api_server_that_does_not_answer_is_a_504(
    play: Client, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ANSWER_SECONDS", 0.2)
    release = threading.Event()
    server.answer = lambda request: (release.wait(20), request.reply(b"late"))[0] and None
    status = play.json("GET", PATH)
    assert (status["code"], status["reason"]) == (504, "Timeout")
    timer = threading.Timer(0.6, release.set)  # a request that may be silent for long has no such limit
    timer.start()
    assert play.send("GET", PATH + "?watch=true").read() == b"late"


def test_an_answer_that_breaks_off_is_not_taken_for_whole(play: Client, server: FakeApiServer) -> None:
    def answer(request: ServerRequest) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        request.close_connection = True

    server.answer = answer
    with pytest.raises((OSError, http.client.HTTPException)):
        play.send("GET", PATH).read()


def test_an_early_answer_to_a_large_body_arrives(play: Client, server: FakeApiServer) -> None:
    """The API server refuses a body that is too large without reading it."""
    server.reads_bodies = False

    def answer(request: ServerRequest) -> None:
        request.reply({"code": 413}, 413, Connection="close")
        request.raw.shutdown(socket.SHUT_WR)
        while request.raw.recv(1 << 16):  # of what comes it reads no more than is under way
            time.sleep(0.01)

    server.answer = answer
    assert play.send("POST", PATH, b"x" * 3_000_000).status == 413


@pytest.mark.parametrize(("method", "status", "requests"), [("GET", 200, 3), ("POST", 502, 2)])
def test_a_kept_connection_that_ends_is_no_failure_of_a_read(
    play: Client, server: FakeApiServer, method: str, status: int, requests: int
) -> None:
    """A write is not repeated: it may have been done."""
    numbers = itertools.count()

    def answer(request: ServerRequest) -> None:
        if next(numbers) == 1:
            request.close_connection = True
        else:
            request.reply(b"")

    server.answer = answer
    assert play.send("GET", "/version").read() == b""
    assert play.send(method, PATH).status == status
    assert len(server.requests) == requests


def test_a_kept_connection_that_was_closed_is_not_used(play: Client, server: FakeApiServer, proxy: ApiProxy) -> None:
    assert play.send("GET", "/version").read()
    idle = proxy._forwarder._upstream._idle
    until(lambda: idle)
    server.connections[0].shutdown(socket.SHUT_RDWR)
    until(lambda: not idle[0].connection.usable)
    assert play.send("POST", PATH, b"{}").status == 200


def test_what_is_not_http_gets_a_400(play: Client, server: FakeApiServer) -> None:
    with play.socket() as raw:
        raw.sendall(b"hello\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert not server.requests
