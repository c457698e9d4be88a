# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What is asked of the API server for Tasks and their Pods."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from .. import _contract as c
from .._contract import Object
from .._errors import CONFLICT, NOT_FOUND, ORDER_CONFLICT, REFUSED, TaskError
from .._kube.client import Api
from .._kube.event import Event
from .._kube.kind import POD, TASK
from .._kube.owner import is_owned_by, owner_reference, owners_of
from .._kube.shapes import OwnerReference, Pod, Task, TaskStatus
from .._pod.identity import task_labels, task_selector
from .._pod.life import written_order

# The first version of Kubernetes that takes init containers that go on beside the others.
NATIVE_SIDECARS_SINCE = (1, 29)
# Text that has one form in JSON only, whoever writes it.
_PLAIN = re.compile(r"[A-Za-z0-9_+-]*")


@dataclasses.dataclass(frozen=True)
class TaskApi:
    """The API server, for Tasks and their Pods. Each method raises TaskError as ``Api`` does.

    Args:
        api: sends the requests.
    """

    api: Api

    def get_task(self, namespace: str, name: str) -> Task | None:
        """Return the Task; None when there is none."""
        return self.api.get(TASK, namespace, name)

    def delete_task(self, task: Task) -> None:
        """Delete this very Task, provided that nobody has changed it since; nothing happens when it is gone."""
        self.api.delete(TASK, task, unchanged=("uid", "resourceVersion"))

    def set_status(self, task: Task, status: TaskStatus) -> Task:
        """Replace the Task's status, provided that nobody has changed the Task since it was read; return the Task."""
        return self.api.replace_status(TASK, task, status)

    def emit(self, task: Task, event: Event, once: str = "") -> None:
        """Record an Event on the Task; one that can't be written is let go.

        Args:
            task: the Task.
            event: what is told.
            once: tells it from others; as long as there is one that was told with this, it is not told again.
        """
        self.api.emit(task, event, once)

    def has_native_sidecars(self) -> bool:
        """Tell whether the cluster takes init containers that go on beside the others (1.29 and later)."""
        version = self.api.request("ask for the version of Kubernetes", "GET", "/version")
        numbers = [re.match(r"\d+", str(version.get(key))) for key in ("major", "minor")]
        return tuple(int(n[0]) if n else 0 for n in numbers) >= NATIVE_SIDECARS_SINCE

    def pods_of(self, tasks: t.Sequence[Task]) -> list[Pod]:
        """Return every Pod that one of these Tasks owns; they are of one namespace."""
        namespace = tasks[0]["metadata"]["namespace"]
        labels = task_selector(task["metadata"]["name"] for task in tasks)
        pods = self.api.list_all(POD, namespace, f"the Pods of Tasks in namespace {namespace}", labels)
        uids = [task["metadata"]["uid"] for task in tasks]
        return [pod for pod in pods if any(is_owned_by(pod, uid) for uid in uids)]

    def get_pod(self, namespace: str, name: str) -> Pod | None:
        """Return the Pod, whosever it is; None when there is none."""
        return self.api.get(POD, namespace, name)

    def create_pod(self, pod: Pod, dry_run: bool = False) -> Pod:
        """Create the Pod and return it. A dry run asks the API server whether it would be taken.

        Raises:
            TaskError: AlreadyExists, when there is a Pod of this name: somebody else made it, or it is still ending.
        """
        return self.api.create(POD, pod, dry_run, f"a Pod in namespace {pod['metadata']['namespace']}")

    def admitted_pod(self, pod: Pod) -> Pod:
        """Return what the cluster's admission would make of a Pod. None is created, so one of its name may be there."""
        metadata = {key: value for key, value in pod["metadata"].items() if key != "name"}
        other = {**pod, "metadata": {**metadata, "generateName": f"{pod['metadata']['name']}-"}}
        return self.create_pod(t.cast(Pod, other), dry_run=True)

    def delete_pod(self, pod: Pod) -> None:
        """Delete this very Pod; nothing happens when it is gone already."""
        self.api.delete(POD, pod)

    def reclaim_pod(self, task: Task, pod: Pod) -> Pod:
        """Put the Task's labels, and the Task as the owner, back on its Pod, and return the Pod.

        Raises:
            TaskError: OrderConflict, when somebody has changed the Pod since it was read.
        """
        metadata = pod["metadata"]
        changes = _adding("/metadata/labels", metadata.get("labels"), task_labels(task["metadata"]["name"]))
        if not is_owned_by(pod, task["metadata"]["uid"]):
            # An object has one controller. Another may have made the Pod its own meanwhile, as a ReplicaSet does.
            others: list[OwnerReference] = [{**owner, "controller": False} for owner in owners_of(pod)]
            owners = [*others, owner_reference(TASK, task)]
            changes.append({"op": "add", "path": "/metadata/ownerReferences", "value": owners})
        what = f"put labels and owner of Pod {metadata['namespace']}/{metadata['name']} back"
        return _patch_as_read(self.api, pod, what, [_unchanged(pod), *changes], ORDER_CONFLICT)

    def release_pod(self, pod: Pod) -> None:
        """Take the finalizer off this very Pod that keeps it; nothing happens when it is gone.

        Raises:
            TaskError: Conflict, when somebody has changed the Pod's finalizers since it was read.
        """
        metadata = pod["metadata"]
        path = f"/metadata/finalizers/{metadata['finalizers'].index(c.TRACKING_FINALIZER)}"
        changes = [{"op": "test", "path": path, "value": c.TRACKING_FINALIZER}, {"op": "remove", "path": path}]
        what = f"take the finalizer off Pod {metadata['namespace']}/{metadata['name']}"
        try:
            _patch_as_read(self.api, pod, what, changes, CONFLICT)
        except TaskError as error:
            if error.reason != NOT_FOUND:
                raise

    def set_order(self, pod: Pod, order: int, cancelled: bool = False) -> Pod:
        """Change the Pod's order, provided it still is what it was, and return the Pod.

        Args:
            pod: the Pod, as it was read.
            order: the new value.
            cancelled: whether to mark the Pod as one that spec.cancel ended, too.

        Raises:
            TaskError: OrderConflict, when somebody else has changed it since.
        """
        return change_pod(self.api, pod, order, [_annotating(c.CANCELLED_ANNOTATION, "true")] if cancelled else [])

    def end_pod(self, pod: Pod, fault: str = "") -> Pod:
        """Have the kubelet end whatever runs in the Pod, and return the Pod. It is not deleted: its logs stay.

        Args:
            pod: the Pod, as it was read.
            fault: what a sidecar did that failed it, if one did; it is recorded on the Pod.

        Raises:
            TaskError: OrderConflict, when somebody else has changed its order since.
        """
        mark = [_annotating(c.SIDECAR_ANNOTATION, fault)] if fault else []
        deadline = {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": c.END_NOW}
        return change_pod(self.api, pod, c.ORDER_QUIT, [*mark, deadline])


def change_pod(api: Api, pod: Pod, order: int, changes: t.Sequence[Object] = ()) -> Pod:
    """Change a Pod's order, provided it still is what it was, and more with it; return the Pod.

    Args:
        api: sends the request.
        pod: the Pod, as it was read.
        order: the new value.
        changes: more of the JSON patch.

    Raises:
        TaskError: OrderConflict, when somebody else has changed it since.
    """
    metadata, before = pod["metadata"], written_order(pod)
    # A missing value can't be tested for, and one that somebody wrote may be encoded in more than one way.
    is_plain = before is not None and _PLAIN.fullmatch(before)
    patch = [
        *([{**_annotating(c.ORDER_ANNOTATION, before or ""), "op": "test"}] if is_plain else []),
        # Somebody may have removed all annotations.
        *([] if "annotations" in metadata else [_unchanged(pod), *_adding("/metadata/annotations", None, {})]),
        _annotating(c.ORDER_ANNOTATION, str(order)),
        *changes,
    ]
    what = f"set the order of Pod {metadata['namespace']}/{metadata['name']} from {before} to {order}"
    return _patch_as_read(api, pod, what, patch, ORDER_CONFLICT)


def _patch_as_read(api: Api, pod: Pod, what: str, changes: t.Sequence[Object], conflict: str) -> Pod:
    """Change this very Pod by a JSON patch, and return it.

    Raises:
        TaskError: with the reason ``conflict``, when a test of the patch says that it is not what was read.
    """
    same = {"op": "test", "path": "/metadata/uid", "value": pod["metadata"]["uid"]}
    try:
        return api.patch(POD, pod, what, [same, *changes])
    except TaskError as error:
        if error.reason not in (CONFLICT, REFUSED):
            raise
        raise TaskError(conflict, error.message) from error


def _unchanged(pod: Pod) -> Object:
    """Return the part of a JSON patch that makes sure that nobody has changed the Pod since it was read."""
    return {"op": "test", "path": "/metadata/resourceVersion", "value": pod["metadata"]["resourceVersion"]}


def _adding(path: str, before: t.Mapping[str, str] | None, values: t.Mapping[str, str]) -> list[Object]:
    """Return the part of a JSON patch that adds values to a mapping, which may be missing."""
    if before is None:
        return [{"op": "add", "path": path, "value": dict(values)}]
    return [
        {"op": "add", "path": f"{path}/{key.replace('/', '~1')}", "value": value}
        for key, value in values.items()
        if before.get(key) != value
    ]


def _annotating(annotation: str, value: str) -> Object:
    """Return the part of a JSON patch that sets an annotation."""
    return {"op": "add", "path": "/metadata/annotations/" + annotation.replace("/", "~1"), "value": value}
