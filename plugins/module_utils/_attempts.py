# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide which Pod is a Task's, which must go and whether a new one is due. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from . import _contract as c
from ._errors import TaskError

Object = dict[str, t.Any]

FINAL = ("Successful", "Failure")


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do about a Task's Pods.

    Attributes:
        current: the Pod that runs the present spec, if there is one.
        delete: Pods that run an older spec, or a second one of this spec.
        attempt: the number of the attempt to create a Pod for now; 0 to create none.
        waiting: True while the Pods of an earlier run are still there, so that none may be created yet.
    """

    current: Object | None = None
    delete: tuple[Object, ...] = ()
    attempt: int = 0
    waiting: bool = False


def observed_status(task: Object) -> Object:
    """Return the Task's status where it speaks of the present generation of the spec; else an empty one."""
    status: Object = task.get("status") or {}
    return status if status.get("observedGeneration") == task["metadata"]["generation"] else {}


def is_finished(task: Object) -> bool:
    """Tell whether the present generation of the Task has its verdict."""
    return observed_status(task).get("status") in FINAL


def current_pod(task: Object, pods: t.Iterable[Object]) -> Object | None:
    """Return the Pod that runs the Task's present spec: the oldest, should there be two. None without one."""
    candidates = [pod for pod in pods if _is_current(task, pod) and not _is_ending(pod)]
    return min(candidates, key=_age, default=None)


def plan_pods(task: Object, pods: t.Iterable[Object]) -> Plan:
    """Decide what to do about a Task's Pods, so that at most one is alive at any time.

    Args:
        task: the Task, as the API server returns it.
        pods: every Pod that the Task owns.

    Raises:
        TaskError: PodLost, permanent: too many Pods of this generation have been lost.
    """
    pods = list(pods)
    if task["metadata"].get("deletionTimestamp"):
        return Plan()
    current = current_pod(task, pods)
    delete = tuple(pod for pod in pods if pod is not current and not _is_ending(pod))
    if current or is_finished(task):
        return Plan(current, delete)
    if pods:
        return Plan(delete=delete, waiting=True)
    attempt = int(observed_status(task).get("attempts", 0)) + 1
    if attempt > c.MAX_ATTEMPTS:
        raise TaskError(
            "PodLost",
            f"{c.MAX_ATTEMPTS} Pods of this Task were deleted or lost before it had ended; it is not tried again",
            permanent=True,
        )
    return Plan(attempt=attempt)


def _is_current(task: Object, pod: Object) -> bool:
    annotations = pod["metadata"].get("annotations") or {}
    return bool(annotations.get(c.GENERATION_ANNOTATION) == str(task["metadata"]["generation"]))


def _age(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]


def _is_ending(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))
