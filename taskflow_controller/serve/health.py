"""``/healthz`` and ``/readyz``: named checks, answered with 200 or 503 and JSON that says which ones fail."""

import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from taskflow_controller.serve.http_endpoint import HttpEndpoint

logger = logging.getLogger(__name__)

FLAG = "--health-probe-bind-address"

Check = Callable[[], str | None]
"""Returns what is wrong, or None if nothing is."""


def health_endpoint(address: str, checks: Mapping[str, Mapping[str, Check]]) -> HttpEndpoint:
    """Return an endpoint that answers health probes.

    Args:
        address: where to listen.
        checks: the named checks of each path, such as ``{"/healthz": {"workers": check}}``.

    Raises:
        ConfigError: the address can't be bound.
    """
    return HttpEndpoint(FLAG, address, type("Handler", (_Handler,), {"checks": checks}))


def run_checks(checks: Mapping[str, Check]) -> tuple[HTTPStatus, dict[str, Any]]:
    """Run a group of named checks; return the status and the body of the answer."""
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


class _Handler(BaseHTTPRequestHandler):
    checks: Mapping[str, Mapping[str, Check]]

    def do_GET(self) -> None:
        group = self.checks.get(self.path.partition("?")[0])
        if group is None:
            status, body = HTTPStatus.NOT_FOUND, {"status": "not found; the paths are /healthz and /readyz"}
        else:
            status, body = run_checks(group)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: probes come every few seconds."""
