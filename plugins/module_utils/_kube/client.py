# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The requests to the API server. Objects are plain dictionaries, as it writes them."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import typing as t
import uuid

from .._contract import Object
from .._durations import TIME_FORMAT
from .._errors import (
    ALREADY_EXISTS,
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    TOO_LARGE,
    UNREACHABLE,
    TaskError,
    reason_of,
)
from .access import configuration_of
from .event import Event
from .kind import EVENT, Kind, S
from .size import too_large

try:
    import kubernetes
    import urllib3.exceptions

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5, 30)
EVENT_MESSAGE_MAX = 1024
JSON, JSON_PATCH = "application/json", "application/json-patch+json"
# The reason of a refusal, by its HTTP status.
REASONS = {400: REFUSED, 401: "Unauthorized", 403: FORBIDDEN, 404: NOT_FOUND, 409: CONFLICT, 422: REFUSED}


class Api:
    """One cluster's API server.

    The requests are raw: importing the client's typed API would cost each module run more than the requests do.
    Each raises TaskError where the API server refuses or does not answer. The error begins with what was to be done,
    which ``what`` says in words where it is not plain from the method.

    Args:
        params: a module's CLUSTER_ARGUMENTS.

    Raises:
        TaskError: NoCluster: no cluster is configured.
    """

    def __init__(self, params: t.Mapping[str, t.Any]) -> None:
        self._client = kubernetes.client.ApiClient(configuration_of(params))

    def get(self, kind: Kind[S], namespace: str, name: str) -> S | None:
        """Return the object; None when there is none."""
        try:
            found: S = self.request(f"read {kind.name} {namespace}/{name}", "GET", kind.path(namespace, name))
        except TaskError as error:
            if error.reason == NOT_FOUND:
                return None
            raise
        return found

    def list_all(self, kind: Kind[S], namespace: str, what: str, labels: str = "", fields: str = "") -> list[S]:
        """Return the objects of a namespace ("" for all namespaces) that both selectors match; "" matches all.

        They are as they come: an item of a list does not say of what kind it is.
        """
        query = {"labelSelector": labels, "fieldSelector": fields}
        asked = {key: value for key, value in query.items() if value}
        items: list[S] = self.request(f"list {what}", "GET", kind.path(namespace), asked)["items"]
        return items

    def create(self, kind: Kind[S], thing: S, dry_run: bool = False, what: str = "") -> S:
        """Create the object and return it. A dry run asks the API server whether it would be taken.

        Raises:
            TaskError: AlreadyExists, when there is one of this name.
        """
        words = f"create {what or _called(kind, thing)}"
        made: S = self.request(words, "POST", kind.path(thing["metadata"]["namespace"]), _dry(dry_run), thing)
        return made

    def replace(self, kind: Kind[S], thing: S, dry_run: bool = False) -> S:
        """Change the object, provided that nobody did since it was read, and return it. A dry run only asks."""
        path, words = _path(kind, thing), f"change {_called(kind, thing)}"
        changed: S = self.request(words, "PUT", path, _dry(dry_run), thing)
        return changed

    def replace_status(self, kind: Kind[S], thing: S, status: t.Mapping[str, t.Any]) -> S:
        """Change the object's status, provided that nobody changed the object since it was read, and return it."""
        path, words = _path(kind, thing, "status"), f"write the status of {_called(kind, thing)}"
        changed: S = self.request(words, "PUT", path, body={**thing, "status": status})
        return changed

    def patch(self, kind: Kind[S], thing: S, what: str, changes: list[Object]) -> S:
        """Change the object by a JSON patch, and return it."""
        changed: S = self.request(what, "PATCH", _path(kind, thing), body=changes, content_type=JSON_PATCH)
        return changed

    def delete(
        self, kind: Kind[S], thing: S, unchanged: t.Sequence[str] = ("uid",), propagation: str = "Background"
    ) -> None:
        """Delete this very object; nothing happens when it is gone, or is not what it was.

        Args:
            kind: its kind.
            thing: the object, as it was read.
            unchanged: which fields of its metadata have to be as they were.
            propagation: what becomes of the objects that it owns, in Kubernetes' words.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {key: thing["metadata"][key] for key in unchanged},
        }
        try:
            self.request(f"delete {_called(kind, thing)}", "DELETE", _path(kind, thing), body=options)
        except TaskError as error:
            if error.reason not in (NOT_FOUND, CONFLICT):
                raise

    def emit(self, thing: t.Mapping[str, t.Any], event: Event, once: str = "") -> None:
        """Record an Event on an object that says of what kind it is. One that can't be written is let go.

        Args:
            thing: the object.
            event: what is told.
            once: tells it from others; as long as there is one that was told with this, it is not told again.
        """
        metadata, now = thing["metadata"], timestamp()
        suffix = hashlib.sha256(f"{metadata['uid']}/{event.reason}/{once}".encode()).hexdigest() if once else ""
        body = {
            "metadata": {
                "name": f"{metadata['name'][:200]}.{(suffix or uuid.uuid4().hex)[:16]}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": thing["apiVersion"],
                "kind": thing["kind"],
                **{key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:EVENT_MESSAGE_MAX],
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "taskflow-operator"},
        }
        with contextlib.suppress(TaskError):
            self.request("record an Event", "POST", EVENT.path(metadata["namespace"]), body=body)

    def request(
        self,
        what: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        *,
        content_type: str = JSON,
    ) -> t.Any:
        """Send one request and return the answer, which is JSON.

        Raises:
            TaskError: the API server refused or could not be reached; the message says what was to be done.
        """
        return json.loads(self.send(what, method, path, query, body, content_type=content_type))

    def send(
        self,
        what: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        *,
        content_type: str = JSON,
    ) -> bytes:
        """Send one request and return the answer as it came. Raises what ``request`` does."""
        request = self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = self._client.call_api(*request, _request_timeout=TIMEOUT)
            data = response.read()
        except urllib3.exceptions.HTTPError as error:
            raise TaskError(UNREACHABLE, f"could not {what}: the API server did not answer: {error}") from error
        if not 200 <= response.status <= 299:
            raise _refusal(what, response.status, data, body)
        return bytes(data)


def _called(kind: Kind[S], thing: S) -> str:
    return f"{kind.name} {thing['metadata']['namespace']}/{thing['metadata']['name']}"


def _path(kind: Kind[S], thing: S, *subresource: str) -> str:
    return kind.path(thing["metadata"]["namespace"], thing["metadata"]["name"], *subresource)


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def timestamp() -> str:
    """Return the time now as RFC 3339 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime(TIME_FORMAT)


def _refusal(what: str, status: int, answer: bytes, body: t.Any = None) -> TaskError:
    """Turn the API server's refusal into words and a reason; only a refusal of the content is permanent.

    Args:
        what: what was to be done.
        status: the HTTP status of the answer.
        answer: the answer.
        body: what was sent.
    """
    try:
        said = json.loads(answer)
        message = str(said["message"])
    except (TypeError, ValueError, KeyError):
        said, message = {}, f"HTTP status {status}"
        if status == 404:
            # What it does serve, it would tell of in a Status.
            message += ": the API server does not serve this kind; is its CustomResourceDefinition installed?"
    if size := too_large(status, message, body):
        return TaskError(TOO_LARGE, f"could not {what}: {message.rstrip('.')}: {size}", permanent=True)
    reason = reason_of(message, REASONS.get(status, "APIError"))
    if said.get("reason") == ALREADY_EXISTS:
        reason = ALREADY_EXISTS
    return TaskError(reason, f"could not {what}: {message}", permanent=status in (400, 422))
