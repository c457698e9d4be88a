# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The Kubernetes API calls that the modules make. Objects are plain dictionaries, as the API server writes them."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import typing as t
import uuid

from .. import _contract as c
from .._contract import Object
from .._errors import TaskError, reason_of
from .._pod.pod import task_selector
from .._task.observed import is_owned_by
from .._task.status import Event
from .access import configuration_of

try:
    import kubernetes
    import urllib3.exceptions

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5, 30)
EVENT_MESSAGE_MAX = 1024
NATIVE_SIDECARS_SINCE = (1, 29)
JSON, JSON_PATCH = "application/json", "application/json-patch+json"


class Cluster:
    """One cluster's API server.

    The requests are raw: importing the client's typed API would cost each module run more than the requests do.

    Args:
        params: a module's CLUSTER_ARGUMENTS.

    Raises:
        TaskError: NoCluster: no cluster is configured.
    """

    def __init__(self, params: t.Mapping[str, t.Any]) -> None:
        self._client = kubernetes.client.ApiClient(configuration_of(params))

    def get_task(self, namespace: str, name: str) -> Object | None:
        """Return the Task; None when there is none."""
        return self._get(f"read Task {namespace}/{name}", _task_path(namespace, name))

    def get_secret(self, namespace: str, name: str) -> Object | None:
        """Return a Secret; None when there is none."""
        return self._get(f"read Secret {namespace}/{name}", namespace_path(namespace, "secrets", name))

    def get_service_account(self, namespace: str, name: str) -> Object | None:
        """Return a ServiceAccount; None when there is none."""
        return self._get(f"read ServiceAccount {namespace}/{name}", namespace_path(namespace, "serviceaccounts", name))

    def has_native_sidecars(self) -> bool:
        """Tell whether the cluster takes init containers that go on beside the others (1.29 and later)."""
        version = self._request("ask for the version of Kubernetes", "GET", "/version")
        numbers = [re.match(r"\d+", str(version.get(key))) for key in ("major", "minor")]
        return tuple(int(n[0]) if n else 0 for n in numbers) >= NATIVE_SIDECARS_SINCE

    def delete_task(self, task: Object) -> None:
        """Delete this very Task, provided that nobody changed it meanwhile; nothing happens when it is gone already."""
        metadata = task["metadata"]
        what = f"delete Task {metadata['namespace']}/{metadata['name']}"
        self._delete(what, _task_path(metadata["namespace"], metadata["name"]), metadata, ("uid", "resourceVersion"))

    def pods_of(self, tasks: t.Sequence[Object]) -> list[Object]:
        """Return every Pod that one of these Tasks owns; they are of one namespace."""
        namespace = tasks[0]["metadata"]["namespace"]
        query = {"labelSelector": task_selector(task["metadata"]["name"] for task in tasks)}
        what = f"list the Pods of Tasks in namespace {namespace}"
        answer = self._request(what, "GET", namespace_path(namespace, "pods"), query=query)
        uids = {task["metadata"]["uid"] for task in tasks}
        return [pod for pod in answer["items"] if any(is_owned_by(pod, uid) for uid in uids)]

    def create_pod(self, pod: Object, dry_run: bool = False) -> Object:
        """Create the Pod and return it. A dry run asks the API server whether it would be taken.

        Raises:
            TaskError: AlreadyExists, when there is a Pod of this name: somebody else made it, or it is still ending.
        """
        namespace = pod["metadata"]["namespace"]
        query = {"dryRun": "All"} if dry_run else {}
        return self._request(
            f"create a Pod in namespace {namespace}", "POST", namespace_path(namespace, "pods"), query, pod
        )

    def delete_pod(self, pod: Object) -> None:
        """Delete this very Pod; nothing happens when it is gone already."""
        metadata = pod["metadata"]
        what = f"delete Pod {metadata['namespace']}/{metadata['name']}"
        self._delete(what, namespace_path(metadata["namespace"], "pods", metadata["name"]), metadata, ("uid",))

    def set_order(self, pod: Object, order: int, cancelled: bool = False) -> Object:
        """Change the Pod's order annotation, provided it still is what it was, and return the Pod.

        Args:
            pod: the Pod, as it was read.
            order: the new value.
            cancelled: whether to mark the Pod as one that spec.cancel ended, too.

        Raises:
            TaskError: OrderConflict, when somebody else changed it meanwhile.
        """
        return self._change_pod(pod, order, [_annotating(c.CANCELLED_ANNOTATION, "true")] if cancelled else [])

    def end_pod(self, pod: Object, fault: str = "") -> Object:
        """Have the kubelet end whatever runs in the Pod, and return the Pod. It is not deleted: its logs stay.

        Args:
            pod: the Pod, as it was read.
            fault: what a sidecar did that failed it, if one did; it is recorded on the Pod.

        Raises:
            TaskError: OrderConflict, when somebody else changed its order meanwhile.
        """
        mark = [_annotating(c.SIDECAR_ANNOTATION, fault)] if fault else []
        deadline = {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": c.END_NOW}
        return self._change_pod(pod, c.ORDER_QUIT, [*mark, deadline])

    def _change_pod(self, pod: Object, order: int, changes: list[Object]) -> Object:
        """Change the Pod's order, provided it still is what it was, and more with it."""
        metadata = pod["metadata"]
        before = metadata["annotations"].get(c.ORDER_ANNOTATION)
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            # Somebody may have removed it; a missing value can't be tested for.
            *([{**_annotating(c.ORDER_ANNOTATION, before), "op": "test"}] if before is not None else []),
            _annotating(c.ORDER_ANNOTATION, str(order)),
            *changes,
        ]
        what = f"set the order of Pod {metadata['namespace']}/{metadata['name']} from {before} to {order}"
        path = namespace_path(metadata["namespace"], "pods", metadata["name"])
        try:
            return self._request(what, "PATCH", path, body=patch, content_type=JSON_PATCH)
        except TaskError as error:
            if error.reason not in (CONFLICT, "Refused"):
                raise
            raise TaskError(ORDER_CONFLICT, error.message) from error

    def set_status(self, task: Object, status: Object) -> Object:
        """Replace the Task's status, provided that nobody changed the Task meanwhile, and return the Task."""
        metadata = task["metadata"]
        what = f"write the status of Task {metadata['namespace']}/{metadata['name']}"
        path = _task_path(metadata["namespace"], metadata["name"]) + "/status"
        return self._request(what, "PUT", path, body={**task, "status": status})

    def emit(self, task: Object, event: Event) -> None:
        """Record an Event on the Task, or on a Build. Events inform; one that can't be written is let go."""
        metadata, now = task["metadata"], timestamp()
        name = f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}"
        body = {
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": task["apiVersion"],
                "kind": task["kind"],
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
            self._request("record an Event", "POST", namespace_path(metadata["namespace"], "events"), body=body)

    def _get(self, what: str, path: str) -> Object | None:
        try:
            return self._request(what, "GET", path)
        except TaskError as error:
            if error.reason == "NotFound":
                return None
            raise

    def _delete(
        self, what: str, path: str, metadata: Object, conditions: t.Iterable[str], propagation: str = "Background"
    ) -> None:
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {key: metadata[key] for key in conditions},
        }
        try:
            self._request(what, "DELETE", path, body=options)
        except TaskError as error:
            if error.reason not in ("NotFound", CONFLICT):
                raise

    def _request(
        self,
        what: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        *,
        content_type: str = JSON,
    ) -> Object:
        """Send one request and return the answer, an object.

        Raises:
            TaskError: the API server refused or could not be reached; the message says what was to be done.
        """
        answer: Object = json.loads(self._send(what, method, path, query, body, content_type=content_type))
        return answer

    def _send(
        self,
        what: str,
        method: str,
        path: str,
        query: t.Mapping[str, str] | None = None,
        body: t.Any = None,
        *,
        content_type: str = JSON,
    ) -> bytes:
        """Send one request and return the answer as it came. Raises what ``_request`` does."""
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
            raise _refusal(what, response.status, data)
        return bytes(data)


def _annotating(annotation: str, value: str) -> Object:
    """Return the part of a JSON patch that sets an annotation."""
    return {"op": "add", "path": "/metadata/annotations/" + annotation.replace("/", "~1"), "value": value}


def namespace_path(namespace: str, *words: str) -> str:
    """Return the path of a namespace's objects of the core group."""
    return "/".join(["/api/v1/namespaces", namespace, *words])


def _task_path(namespace: str, name: str) -> str:
    return f"/apis/{c.API_VERSION}/namespaces/{namespace}/{c.PLURAL}/{name}"


def timestamp() -> str:
    """Return the time now as RFC 3339 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refusal(what: str, status: int, body: bytes) -> TaskError:
    """Turn the API server's refusal into words and a reason; only a refusal of the content is permanent."""
    try:
        said = json.loads(body)
        message = str(said["message"])
    except (TypeError, ValueError, KeyError):
        said, message = {}, f"HTTP status {status}"
        if status == 404:
            # What it does serve, it would tell of in a Status.
            message += ": the API server does not serve this kind; is its CustomResourceDefinition installed?"
    reason = reason_of(message, REASONS.get(status, "APIError"))
    if said.get("reason") == ALREADY_EXISTS:
        reason = ALREADY_EXISTS
    return TaskError(reason, f"could not {what}: {message}", permanent=status in (400, 422))


ALREADY_EXISTS, CONFLICT, ORDER_CONFLICT, UNREACHABLE = "AlreadyExists", "Conflict", "OrderConflict", "APIUnreachable"
REASONS = {400: "Refused", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: CONFLICT, 422: "Refused"}
