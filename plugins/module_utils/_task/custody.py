# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Keep a Task's Pods its own: put back what was taken off them, tell of others', let those go that have told all."""

from __future__ import annotations

from .._errors import TaskError
from .._kube.event import WARNING, Event
from .._kube.shapes import Pod, Task, TaskStatus
from .._pod.adoption import is_astray, is_recorded
from .._pod.life import is_ending
from .api import TaskApi
from .batch import Found
from .observed import Observed
from .release import pods_to_release

POD_NAME_TAKEN = "PodNameTaken"


def reclaim(api: TaskApi, found: Found, task: Task) -> None:
    """Put labels and owner back on the Task's Pod where somebody has taken them off, and say so.

    If the Task is being deleted, somebody may want to keep the Pod.
    """
    if is_ending(task):
        return
    status: TaskStatus = task.get("status") or {}
    for place, pod in enumerate(found.pods):
        if is_recorded(status, pod) and is_astray(task, pod):
            found.pods[place] = api.reclaim_pod(task, pod)
            words = "had lost the labels or the owner that make it this Task's; they are back"
            api.emit(task, Event(WARNING, "PodReclaimed", f"Pod {pod['metadata']['name']} {words}"))


def tell_of_strangers(api: TaskApi, seen: Observed) -> None:
    """Warn of each Pod that only looks like one of the Task's, once."""
    for pod in seen.strangers:
        words = "has the labels and the owner of this Task's Pods, but the operator did not make it: it decides nothing"
        warning = Event(WARNING, "ForeignPod", f"Pod {pod['metadata']['name']} {words}")
        api.emit(seen.task, warning, once=pod["metadata"].get("uid", ""))


def tell_of_removal(api: TaskApi, task: Task, name: str) -> None:
    """Warn that a Pod is gone though nobody has seen how it ended."""
    words = "was removed before its end was known: its steps may have ended well, and run again now"
    api.emit(task, Event(WARNING, "PodRemoved", f"Pod {name} {words}"))


def release(api: TaskApi, seen: Observed, status: TaskStatus, namespace_ends: bool = False) -> bool:
    """Let the Pods go that need not be kept any more, and tell whether there were any."""
    pods = pods_to_release(seen, status, namespace_ends)
    for pod in pods:
        api.release_pod(pod)
    return bool(pods)


def name_taken(pod: Pod, number: int) -> TaskError:
    """Return what is wrong where somebody else's Pod has the name of an attempt's."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    return TaskError(
        POD_NAME_TAKEN,
        f"Pod {namespace}/{name} has the name of the Pod of attempt {number}, but the operator did not make it, and "
        f"does not judge the Task by it. Delete it (kubectl delete pod {name} -n {namespace}): the Task then goes on",
    )
