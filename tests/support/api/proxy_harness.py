"""A proxy, and in place of the API server one that answers as the test says."""

import copy
import http.client
import json
import socket
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind

WATCH = Watch(
    GroupVersionKind("example.com", "v1", "Widget"),
    command=Command(playbook="play.yml"),
    vars={},
    reconcile_period=None,
    max_runner_artifacts=20,
    snake_case_parameters=True,
    watch_annotations_changes=False,
    dependents=(),
    max_concurrent=None,
    verbosity=None,
)


class ServerRequest(BaseHTTPRequestHandler):
    """A request at the fake API server; ``raw`` is the connection's socket."""

    protocol_version = "HTTP/1.1"
    owner: "FakeApiServer"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    @property
    def raw(self) -> socket.socket:
        return self.connection

    def setup(self) -> None:
        self.owner.connections.append(self.request)
        super().setup()

    def _serve(self) -> None:
        self.body = self._read_body() if self.owner.reads_bodies else b""
        self.owner.requests.append(copy.copy(self))  # one handler serves a connection's requests
        if self.path in self.owner.kinds:
            self.reply({"kind": "APIResourceList", "resources": self.owner.kinds[self.path]})
        else:
            self.owner.answer(self)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, body: bytes | dict[str, Any] = b"", status: int = 200, **headers: str) -> None:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class FakeApiServer:
    """Serves ``kinds`` by discovery, and answers each other request with ``answer``; the test replaces it."""

    def __init__(self) -> None:
        self.requests: list[ServerRequest] = []
        self.kinds: dict[str, list[dict[str, Any]]] = {}
        self.connections: list[socket.socket] = []
        self.reads_bodies = True
        self.answer: Callable[[ServerRequest], None] = lambda request: request.reply(
            request.body or {"path": request.path}
        )
        handler = type("Handler", (ServerRequest,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Client:
    """Talks to the proxy as a kubeconfig says, each request on the same connection."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        self.token: str = user["token"]
        self.address = cluster["server"].removeprefix("https://")
        self._context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        self.connection = http.client.HTTPSConnection(self.address, context=self._context, timeout=20)

    def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, **options: Any
    ) -> http.client.HTTPResponse:
        """Send a request with the run's token; return the answer, of which the head has been read."""
        fields = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        self.connection.request(method, path, body, fields, **options)
        return self.connection.getresponse()

    def json(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Send JSON and return the answer's JSON."""
        content = None if body is None else json.dumps(body)
        return json.loads(
            self.send(method, path, content, {"Content-Type": "application/json", **(headers or {})}).read()
        )

    def socket(self) -> ssl.SSLSocket:
        """Return a connection of its own, for what http.client can't do."""
        host, port = self.address.split(":")
        raw = socket.create_connection((host, int(port)), timeout=20)
        return self._context.wrap_socket(raw, server_hostname=host)


def until(condition: Callable[[], Any], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.005)
