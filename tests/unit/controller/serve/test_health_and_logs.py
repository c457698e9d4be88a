"""The probes' answers and the form of the log lines."""

import io
import json
import logging
import socket
import urllib.error
import urllib.request

import pytest

from taskflow_controller.errors import ConfigError
from taskflow_controller.serve import logs
from taskflow_controller.serve.health import health_endpoint
from taskflow_controller.serve.http_endpoint import bind_address, split_address


def fetch(port: int, path: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def test_probes() -> None:
    problem: list[str | None] = [None]

    def broken() -> str | None:
        raise RuntimeError("oops")

    server = health_endpoint(
        "127.0.0.1:0",
        {"/healthz": {"workers": lambda: problem[0]}, "/readyz": {"a": lambda: None, "b": broken}},
    )
    server.start()
    try:
        assert fetch(server.port, "/healthz?x=1") == (
            200,
            {"status": "ok", "failing": [], "checks": {"workers": "ok"}},
        )
        problem[0] = "worker-3 died"
        status, body = fetch(server.port, "/healthz")
        assert (status, body["failing"], body["checks"]) == (503, ["workers"], {"workers": "worker-3 died"})
        status, body = fetch(server.port, "/readyz")
        assert (status, body["failing"], body["checks"]["a"]) == (503, ["b"], "ok")
        assert fetch(server.port, "/other")[0] == 404
        with pytest.raises(ConfigError, match=f"--health-probe-bind-address 127.0.0.1:{server.port}: Address already"):
            health_endpoint(f"127.0.0.1:{server.port}", {})
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("text", "address"), [(":6789", ("", 6789)), ("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80))]
)
def test_address(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(("text", "address"), [("0", ""), ("", ""), (":80", ":80")])
def test_address_that_may_be_none(text: str, address: str) -> None:
    assert bind_address(text) == address


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


IPV6 = [("[::1]:0", "[::1]"), (":0", "[::1]")] if has_ipv6() else []


@pytest.mark.parametrize(("address", "host"), [(":0", "127.0.0.1"), ("127.0.0.1:0", "127.0.0.1"), *IPV6])
def test_addresses_are_served(address: str, host: str) -> None:
    server = health_endpoint(address, {"/healthz": {}})
    server.start()
    try:
        with urllib.request.urlopen(f"http://{host}:{server.port}/healthz", timeout=30) as response:
            assert response.status == 200
    finally:
        server.stop()


@pytest.mark.parametrize("text", ["", "6789", ":x", ":99999", "host:"])
def test_bad_address(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        split_address(text)


def test_log_line() -> None:
    stream = io.StringIO()
    before = logging.root.handlers[:], logging.root.level
    try:
        logs.configure("info", stream)
        logging.getLogger("a.b").info("run %s", "started", extra={"resource": "Widget ns/w"})
        logging.getLogger("a.b").debug("not shown")
        try:
            raise ValueError("bad")
        except ValueError:
            logging.getLogger("a.b").exception("bug")
    finally:
        logging.root.handlers[:], logging.root.level = before
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first.pop("ts").endswith("Z")
    assert first == {"level": "INFO", "logger": "a.b", "msg": "run started", "resource": "Widget ns/w"}
    assert second["level"] == "ERROR" and "ValueError: bad" in second["traceback"]
