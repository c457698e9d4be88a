"""``/healthz`` and ``/readyz``: named checks, answered with 200 or 503 and JSON that says which one fails."""

import json
import logging
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from taskflow_controller.errors import ConfigError

logger = logging.getLogger(__name__)

Check = Callable[[], str | None]
"""Returns what is wrong, None if nothing is."""

_MAX_PORT = 65535


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``:port`` (all addresses). Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > _MAX_PORT:
        raise ValueError(f"{address!r} is not an address such as :6789 or 127.0.0.1:6789")
    return host.strip("[]"), int(port)


class HealthServer:
    """Serves the checks, each group under its path (``{"/healthz": {"workers": check}}``)."""

    def __init__(self, address: str, checks: Mapping[str, Mapping[str, Check]]) -> None:
        """Bind the address. Raises ConfigError if it can't be bound."""
        host, port = split_address(address)
        handler = type("Handler", (_Handler,), {"checks": checks})
        try:
            self._server = _Server((host, port), handler)
        except OSError as exc:
            raise ConfigError(f"--health-probe-bind-address {address}: {exc.strerror}") from exc
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Serve, in a daemon thread."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop serving and free the address."""
        self._server.shutdown()
        self._server.server_close()


def run_checks(checks: Mapping[str, Check]) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return the status and the body for a group of checks."""
    results = {name: _safely(check) for name, check in checks.items()}
    failing = [name for name, problem in results.items() if problem is not None]
    status = HTTPStatus.SERVICE_UNAVAILABLE if failing else HTTPStatus.OK
    body = {
        "status": "failing" if failing else "ok",
        "failing": failing,
        "checks": {name: problem or "ok" for name, problem in results.items()},
    }
    return status, body


def _safely(check: Check) -> str | None:
    try:
        return check()
    except Exception as exc:  # a broken check is a failing check
        logger.exception("bug: a health check raised an error")
        return f"the check itself failed: {exc}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Handler(BaseHTTPRequestHandler):
    checks: Mapping[str, Mapping[str, Check]]
    timeout = 10  # seconds for a client to send its request

    def do_GET(self) -> None:
        group = self.checks.get(self.path.partition("?")[0])
        if group is None:
            status, body = HTTPStatus.NOT_FOUND, {"status": "there are /healthz and /readyz"}
        else:
            status, body = run_checks(group)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """A probe every few seconds is not worth a line."""
