"""A proxy between the controller and the API server that numbers the writes, and lets some of them go wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from support.faults.api_server import ApiServer
from support.faults.schedule import DELAY_SECONDS, KILLS, Fault
from support.faults.streams import Stream, Streams

WRITES = ("POST", "PUT", "PATCH", "DELETE")
RETRY_AFTER = 3
# How long a request stays open whose client is being killed.
GONE_SECONDS = 20.0
_REASONS = {
    Fault.CONFLICT: "Conflict",
    Fault.TOO_MANY: "TooManyRequests",
    Fault.BROKEN: "InternalError",
    Fault.GATEWAY: "Timeout",
}
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "te", "trailer", "upgrade"}


@dataclasses.dataclass
class Write:
    """One write: its number since the proxy was armed, what it was, and what became of it."""

    number: int
    what: str
    fault: Fault | None
    answer: int | None = None

    def __str__(self) -> str:
        became = f"{self.fault}" if self.fault else f"{self.answer}"
        return f"{self.number}. {self.what}: {became}"


class FaultProxy:
    """Listens on a port of loopback.

    Args:
        api: the server behind it, asked with the rights that ``api`` has.
        namespace: only what is written to this namespace is numbered.
        token: what clients have to show.
        kill: kills the controller at once. It is called from a thread of the proxy's.
        delay: how long a delayed write takes.
    """

    def __init__(
        self, api: ApiServer, namespace: str, token: str, kill: Callable[[], None], delay: float = DELAY_SECONDS
    ) -> None:
        self.api, self.namespace, self.token, self.kill, self.delay = api, namespace, token, kill, delay
        self.streams = Streams()
        self.writes: list[Write] = []
        self.healed = time.monotonic()
        self._faults: dict[int, Fault] = {}
        self._under_way = 0
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, name="fault-proxy", daemon=True).start()

    def write_kubeconfig(self, path: Path) -> None:
        """Write a kubeconfig that leads here."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faults",
            "clusters": [{"name": "faults", "cluster": {"server": self.url}}],
            "contexts": [{"name": "faults", "context": {"cluster": "faults", "user": "faults"}}],
            "users": [{"name": "faults", "user": {"token": self.token}}],
        }
        path.write_text(yaml.safe_dump(config))

    def arm(self, faults: Mapping[int, Fault]) -> None:
        """Number the writes from 1 again, and let these go wrong."""
        with self._lock:
            self._faults = dict(faults)
            self.writes = []
            self.healed = time.monotonic()

    @property
    def is_calm(self) -> bool:
        """Whether no fault is under way; one may still be to come."""
        return not self._under_way

    def note(self, method: str, path: str) -> Write | None:
        """Number a write, and return it; None if the request is none."""
        place = urlsplit(path).path
        if method not in WRITES or f"/namespaces/{self.namespace}/" not in place:
            return None
        with self._lock:
            number = len(self.writes) + 1
            what = f"{method} {place.partition(f'/namespaces/{self.namespace}/')[2]}"
            self.writes.append(Write(number, what, self._faults.pop(number, None)))
            return self.writes[-1]

    @contextlib.contextmanager
    def striking(self) -> Any:
        """Count a fault as under way."""
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                self.healed = time.monotonic()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client was killed
            super().handle()

    def do_GET(self) -> None:
        if self._may_ask():
            is_watch = parse_qs(urlsplit(self.path).query).get("watch", ["0"])[0] in ("1", "true", "True")
            self._watch() if is_watch else self._pass_on()

    def do_POST(self) -> None:
        if self._may_ask():
            self._write()

    do_PUT = do_PATCH = do_DELETE = do_POST

    def _may_ask(self) -> bool:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") == f"Bearer {self.proxy.token}":
            return True
        self._refuse(401, "Unauthorized")
        return False

    def _write(self) -> None:
        write = self.proxy.note(self.command, self.path)
        if write is None or write.fault is None:
            answer = self._pass_on()
            if write:
                write.answer = answer
            return
        with self.proxy.striking():
            self._go_wrong(write.fault)

    def _go_wrong(self, fault: Fault) -> None:
        if fault in KILLS:
            if fault is Fault.UNANSWERED:
                self._ask()
            self.proxy.kill()
            self._wait_for_client_to_go()
        elif fault is Fault.DELAYED:
            time.sleep(self.proxy.delay)
            with contextlib.suppress(OSError):
                self._pass_on()
        else:
            if fault is Fault.GATEWAY:
                self._ask()
            headers = {"Retry-After": str(RETRY_AFTER)} if fault is Fault.TOO_MANY else {}
            self._refuse(int(fault), _REASONS[fault], headers)

    def _wait_for_client_to_go(self) -> None:
        self.close_connection = True
        deadline = time.monotonic() + GONE_SECONDS
        while time.monotonic() < deadline:
            if select.select([self.connection], [], [], 0.2)[0]:
                with contextlib.suppress(OSError):
                    if not self.connection.recv(1, socket.MSG_PEEK):
                        return
                    continue
                return

    def _ask(self) -> tuple[http.client.HTTPResponse, bytes]:
        """Send the request on, and return the whole answer."""
        connection = self.proxy.api.connect()
        with contextlib.closing(connection):
            connection.request(self.command, self.path, self.body or None, self._headers())
            answer = connection.getresponse()
            return answer, answer.read()

    def _headers(self) -> dict[str, str]:
        own = {"authorization", "host", *_HOP_BY_HOP}
        passed = {name: value for name, value in self.headers.items() if name.lower() not in own}
        return {**passed, **self.proxy.api.headers}

    def _pass_on(self) -> int:
        try:
            answer, body = self._ask()
        except OSError as error:
            self._refuse(502, str(error))
            return 502
        self._answer(answer.status, body, dict(answer.headers.items()))
        return answer.status

    def _watch(self) -> None:
        connection = self.proxy.api.connect(None)
        with contextlib.closing(connection):
            connection.request(self.command, self.path, None, self._headers())
            answer = connection.getresponse()
            if answer.status != 200:
                self._answer(answer.status, answer.read(), dict(answer.headers.items()))
                return
            self.send_response(200)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            plural = urlsplit(self.path).path.rpartition("/")[2]
            self.proxy.streams.pump(plural, Stream(self.wfile, connection), answer)

    def _refuse(self, code: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
        body = json.dumps({**status, "reason": reason, "message": f"a fault of the test: {reason}"}).encode()
        self._answer(code, body, {"Content-Type": "application/json", **(headers or {})})

    def _answer(self, code: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass
