# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What belongs to a Task's present run: its recorded status, its Pods, its deadline. Pure."""

from __future__ import annotations

import datetime
import typing as t

from .. import _contract as c
from .._contract import CANCELLED, FINAL
from .._durations import later, parse_time, seconds_of
from .._errors import InvalidSpec
from .._kube.shapes import Pod, Task, TaskSpec, TaskStatus
from .._pod.identity import spec_hash
from .._pod.life import number_of
from .conditions import condition_of


def recorded_status(task: Task) -> TaskStatus:
    """Return the Task's status where it speaks of the present run; else an empty one.

    The hash decides, unless the generation is the same: then nobody changed the spec, though a newer schema may show
    it with more defaults. A run that spec.cancel ended is over once cancel is false again.
    """
    status: TaskStatus = task.get("status") or {}
    same_generation = status.get("observedGeneration") == task["metadata"]["generation"]
    if not same_generation and status.get("specHash") != spec_hash(task):
        return {}
    return {} if _is_cancelled(task, status.get("observedGeneration", 0)) else status


def with_cancellations(task: Task, pods: t.Sequence[Pod]) -> Task:
    """Return the Task with a status that knows of each cancelled run, though only a Pod may tell of it yet.

    A Pod that was made after the run that the status speaks of was cancelled is of a new run, and the status is not.
    Whoever sets spec.cancel raises the Task's generation, so no mark of ours is on a Pod of the present one.
    """
    generations = [
        number_of(pod, c.GENERATION_ANNOTATION, 0)
        for pod in pods
        if (pod["metadata"].get("annotations") or {}).get(c.CANCELLED_ANNOTATION)
    ]
    marked = [generation for generation in generations if generation < task["metadata"]["generation"]]
    status: TaskStatus = task.get("status") or {}
    until = max([*marked, status.get("cancelledGeneration", 0)])
    if until and status.get("observedGeneration", 0) <= until:
        newer = any(number_of(pod, c.GENERATION_ANNOTATION, 0) > until for pod in pods)
        status = {} if newer else status
    return {**task, "status": {**status, "cancelledGeneration": until}} if until else task


def is_of_run(task: Task, pod: Pod) -> bool:
    """Tell whether a Pod was made for the Task's present run."""
    annotations = pod["metadata"].get("annotations") or {}
    if _is_cancelled(task, number_of(pod, c.GENERATION_ANNOTATION, 0)):
        return False
    if annotations.get(c.GENERATION_ANNOTATION) == str(task["metadata"]["generation"]):
        return True
    return bool(annotations.get(c.SPEC_HASH_ANNOTATION) == spec_hash(task))


def marks_of(task: Task) -> TaskStatus:
    """Return what tells which run, and which spec, a status is of that is written now."""
    generation = task["metadata"]["generation"]
    marks: TaskStatus = {"observedGeneration": generation, "specHash": spec_hash(task)}
    if task["spec"].get("cancel"):
        return {**marks, "cancelledGeneration": generation}
    until = (task.get("status") or {}).get("cancelledGeneration")
    return {**marks, "cancelledGeneration": until} if until else marks


def without_cancellation(status: TaskStatus, reason: str) -> TaskStatus:
    """Return the status of a Task that has ended; what came too late to cancel it is no part of it."""
    status = {**status}
    if reason != CANCELLED:
        status.pop("cancelledGeneration", None)
    return status


def deadline(spec: TaskSpec, recorded: TaskStatus) -> datetime.datetime | None:
    """Return when the Task's timeout ends its present run; None without one, or before the run has begun."""
    timeout, start = spec.get("timeout"), recorded.get("startTime")
    if not timeout or not start:
        return None
    try:
        return later(start, seconds_of(timeout, "spec.timeout"))
    except InvalidSpec:
        return None  # it is told where the Pod is built


def expiry(spec: TaskSpec, recorded: TaskStatus) -> datetime.datetime | None:
    """Return when a Task that has ended is to be deleted; None when it is not.

    The end is that of the last step by its node's clock, or the verdict by ours, whichever is later.
    """
    ttl, end = spec.get("ttlSecondsAfterFinished"), recorded.get("completionTime")
    if ttl is None or not end or recorded.get("status") not in FINAL:
        return None
    said = condition_of(recorded).get("lastTransitionTime") or end
    return later(max(said, end, key=parse_time), ttl)


def _is_cancelled(task: Task, generation: int) -> bool:
    """Tell whether what is of this generation belongs to a run that spec.cancel ended, and that is over now."""
    until: int = (task.get("status") or {}).get("cancelledGeneration", 0)
    return not task["spec"].get("cancel") and generation <= until
