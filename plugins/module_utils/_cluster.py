# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The Kubernetes API calls that the modules make. Objects are plain dictionaries, as the API server writes them."""

from __future__ import annotations

import datetime
import json
import os
import typing as t
import uuid

from . import _contract as c
from ._errors import TaskError
from ._pod import task_labels
from ._status import Event

try:
    import kubernetes
    import urllib3.exceptions
    from kubernetes.client.exceptions import ApiException

    HAS_KUBERNETES = True
except ImportError:
    HAS_KUBERNETES = False

Object = dict[str, t.Any]

# Seconds to connect, and to wait for an answer.
TIMEOUT = (5, 30)
EVENT_MESSAGE_MAX = 1024


class Cluster:
    """One cluster's API server.

    Args:
        kubeconfig: path of a kubeconfig; None for the client's own defaults, or the ServiceAccount inside a Pod.
        context: the kubeconfig's context; None for its current one.

    Raises:
        TaskError: NoCluster: no cluster is configured.
    """

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        client = kubernetes.client.ApiClient(_configuration(kubeconfig, context))
        self._core = kubernetes.client.CoreV1Api(client)
        self._custom = kubernetes.client.CustomObjectsApi(client)

    def get_task(self, namespace: str, name: str) -> Object | None:
        """Return the Task; None when there is none."""
        try:
            task: Object = self._custom.get_namespaced_custom_object(
                c.GROUP, c.VERSION, namespace, c.PLURAL, name, _request_timeout=TIMEOUT
            )
        except ApiException as error:
            if error.status == 404:
                return None
            raise _explained(f"read Task {namespace}/{name}", error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error) from error
        return task

    def pods_of(self, task: Object) -> list[Object]:
        """Return every Pod that the Task owns."""
        metadata = task["metadata"]
        selector = ",".join(f"{key}={value}" for key, value in task_labels(metadata["name"]).items())
        answer = self._call(
            f"list the Pods of Task {metadata['namespace']}/{metadata['name']}",
            self._core.list_namespaced_pod,
            metadata["namespace"],
            label_selector=selector,
        )
        return [pod for pod in answer["items"] if _is_owned_by(pod, metadata["uid"])]

    def create_pod(self, pod: Object, dry_run: bool = False) -> Object:
        """Create the Pod and return it. A dry run asks the API server whether it would be taken."""
        namespace = pod["metadata"]["namespace"]
        options = {"dry_run": "All"} if dry_run else {}
        return self._call(
            f"create a Pod in namespace {namespace}", self._core.create_namespaced_pod, namespace, pod, **options
        )

    def delete_pod(self, pod: Object) -> None:
        """Delete this very Pod; nothing happens when it is gone already."""
        metadata = pod["metadata"]
        try:
            self._core.delete_namespaced_pod(
                metadata["name"],
                metadata["namespace"],
                body={"preconditions": {"uid": metadata["uid"]}},
                _preload_content=False,
                _request_timeout=TIMEOUT,
            )
        except ApiException as error:
            if error.status not in (404, 409):
                raise _explained(f"delete Pod {metadata['namespace']}/{metadata['name']}", error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error) from error

    def set_order(self, pod: Object, before: int, after: int) -> Object:
        """Change the Pod's order annotation, provided it still is what it was, and return the Pod.

        Raises:
            TaskError: OrderConflict, when somebody else changed it meanwhile.
        """
        metadata = pod["metadata"]
        path = f"/metadata/annotations/{c.ORDER_ANNOTATION}"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": path, "value": str(before)},
            {"op": "replace", "path": path, "value": str(after)},
        ]
        what = f"set the order of Pod {metadata['namespace']}/{metadata['name']} from {before} to {after}"
        try:
            return self._call(what, self._core.patch_namespaced_pod, metadata["name"], metadata["namespace"], patch)
        except TaskError as error:
            if error.reason not in ("Conflict", "Refused"):
                raise
            raise TaskError("OrderConflict", error.message) from error

    def set_status(self, task: Object, status: Object) -> Object:
        """Replace the Task's status, provided that nobody changed the Task meanwhile, and return the Task."""
        metadata = task["metadata"]
        what = f"write the status of Task {metadata['namespace']}/{metadata['name']}"
        try:
            written: Object = self._custom.replace_namespaced_custom_object_status(
                c.GROUP,
                c.VERSION,
                metadata["namespace"],
                c.PLURAL,
                metadata["name"],
                {**task, "status": status},
                _request_timeout=TIMEOUT,
            )
        except ApiException as error:
            raise _explained(what, error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error) from error
        return written

    def emit(self, task: Object, event: Event) -> None:
        """Record an Event on the Task. Events inform; one that can't be written is let go."""
        metadata, now = task["metadata"], timestamp()
        name = f"{metadata['name'][:200]}.{uuid.uuid4().hex[:16]}"
        body = {
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": c.API_VERSION,
                "kind": c.KIND,
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
        try:
            self._core.create_namespaced_event(
                metadata["namespace"], body, _preload_content=False, _request_timeout=TIMEOUT
            )
        except (ApiException, urllib3.exceptions.HTTPError):
            return

    def _call(self, what: str, function: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> Object:
        """Call a generated API function and return the answer undecoded by the client's models."""
        try:
            answer = function(*args, _preload_content=False, _request_timeout=TIMEOUT, **kwargs)
        except ApiException as error:
            raise _explained(what, error) from error
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error) from error
        decoded: Object = json.loads(answer.data)
        return decoded


def timestamp() -> str:
    """Return the time now as RFC 3339 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _configuration(kubeconfig: str | None, context: str | None) -> t.Any:
    config = kubernetes.config
    configuration = kubernetes.client.Configuration()
    try:
        if kubeconfig or context or _has_default_kubeconfig():
            config.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
        else:
            config.load_incluster_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise TaskError(
            "NoCluster",
            f"no cluster to talk to: {error}. Set kubeconfig (or KUBECONFIG), or run in a Pod with a ServiceAccount",
        ) from error
    return configuration


def _has_default_kubeconfig() -> bool:
    """Tell whether KUBECONFIG or the home directory leads to a kubeconfig; several may be named, as for kubectl."""
    paths: str = kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION
    return any(os.path.exists(os.path.expanduser(path)) for path in paths.split(os.pathsep))


def _is_owned_by(pod: Object, uid: str) -> bool:
    return any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])


def _explained(what: str, error: ApiException) -> TaskError:
    """Turn the API server's refusal into words and a reason; only a refusal of the content is permanent."""
    try:
        answer = json.loads(error.body)
        message = str(answer["message"])
    except (TypeError, ValueError, KeyError):
        message = str(error.reason)
    reason = "QuotaExceeded" if "exceeded quota" in message else REASONS.get(error.status, "APIError")
    return TaskError(reason, f"could not {what}: {message}", permanent=error.status in (400, 422))


def _unreachable(error: Exception) -> TaskError:
    return TaskError("APIUnreachable", f"the API server could not be reached: {error}")


REASONS = {400: "Refused", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 422: "Refused"}
