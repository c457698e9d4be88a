"""The proxy's own answers. Errors are Status objects, as the API server's are."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import h11

_REASONS = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.BAD_GATEWAY: "BadGateway",
    HTTPStatus.GATEWAY_TIMEOUT: "Timeout",
}


class ProxyError(Exception):
    """A request that the proxy must answer with an error. The text is the Status object's message.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def failure(status: HTTPStatus, message: str) -> dict[str, Any]:
    """Return a Status object that describes an error."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(status, status.phrase),
        "code": int(status),
    }


def json_answer(status: HTTPStatus, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> list[h11.Event]:
    """Return the events of an answer whose body is JSON, with optional headers besides those about the body."""
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers]
    return [
        h11.Response(status_code=int(status), headers=fields, reason=status.phrase),
        h11.Data(data=body),
        h11.EndOfMessage(),
    ]


def failure_answer(error: ProxyError) -> list[h11.Event]:
    """Return the events of an error. It ends the connection, because the request may be half read."""
    body = json.dumps(failure(error.status, str(error))).encode()
    return json_answer(error.status, body, [("Connection", "close")])
