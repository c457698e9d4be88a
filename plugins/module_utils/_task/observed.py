# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What belongs to a Task's present run: its recorded status, its Pods, its deadline. Pure."""

from __future__ import annotations

import datetime
import hashlib
import json
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import later, seconds_of
from .._errors import InvalidSpec

FINAL = ("Successful", "Failure", "Cancelled")
# The field of the status that has the last generation with spec.cancel whose run that ended.
CANCELLED_GENERATION = "cancelledGeneration"
CONDITION = "Succeeded"


def spec_hash(task: Object) -> str:
    """Return what tells one run from another: a digest of the spec without the fields that control a run."""
    relevant = {key: value for key, value in task["spec"].items() if key not in c.CONTROL_FIELDS}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def condition_of(status: Object) -> Object:
    """Return the condition Succeeded of a status; an empty one if there is none."""
    return next((x for x in status.get("conditions") or [] if x["type"] == CONDITION), {})


def recorded_status(task: Object) -> Object:
    """Return the Task's status where it speaks of the present run; else an empty one.

    The hash decides, unless the generation is the same: then nobody changed the spec, though a newer schema may show
    it with more defaults. A run that spec.cancel ended is over once cancel is false again.
    """
    status: Object = task.get("status") or {}
    same_generation = status.get("observedGeneration") == task["metadata"]["generation"]
    if not same_generation and status.get("specHash") != spec_hash(task):
        return {}
    return {} if _is_cancelled(task, status.get("observedGeneration", 0)) else status


def with_cancellations(task: Object, pods: t.Iterable[Object]) -> Object:
    """Return the Task with a status that knows of each cancelled run, though only a Pod may tell of it yet.

    A Pod that was made after the run that the status speaks of was cancelled is of a new run, and the status is not.
    """
    pods = list(pods)
    marked = [
        number_of(pod, c.GENERATION_ANNOTATION, 0)
        for pod in pods
        if (pod["metadata"].get("annotations") or {}).get(c.CANCELLED_ANNOTATION)
    ]
    status = task.get("status") or {}
    until = max([*marked, status.get(CANCELLED_GENERATION, 0)])
    if until and status.get("observedGeneration", 0) <= until:
        newer = any(number_of(pod, c.GENERATION_ANNOTATION, 0) > until for pod in pods)
        status = {} if newer else status
    return {**task, "status": {**status, CANCELLED_GENERATION: until}} if until else task


def is_finished(task: Object) -> bool:
    """Tell whether the Task's present run has its verdict."""
    return recorded_status(task).get("status") in FINAL


def is_of_run(task: Object, pod: Object) -> bool:
    """Tell whether a Pod was made for the Task's present run."""
    annotations = pod["metadata"].get("annotations") or {}
    if _is_cancelled(task, number_of(pod, c.GENERATION_ANNOTATION, 0)):
        return False
    if annotations.get(c.GENERATION_ANNOTATION) == str(task["metadata"]["generation"]):
        return True
    return bool(annotations.get(c.SPEC_HASH_ANNOTATION) == spec_hash(task))


def is_owned_by(pod: Object, uid: str) -> bool:
    """Tell whether the Task of this UID owns the Pod."""
    return any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences") or [])


def is_ending(pod: Object) -> bool:
    """Tell whether somebody has deleted the Pod."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def is_terminal(pod: Object) -> bool:
    """Tell whether the kubelet is done with the Pod: by then it has said why, should the Pod be lost."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def has_ended(pod: Object) -> bool:
    """Tell whether nothing runs in the Pod any more, and nothing will.

    The kubelet tells of the last container's end a second or two before the Pod's phase is terminal. Native sidecars
    go on after that end until the kubelet stops them; one that waited to be started again is not.
    """
    if is_terminal(pod):
        return True
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    states = {s["name"]: s.get("state") or {} for s in status.get("containerStatuses") or []}
    names = {*states, *(container["name"] for container in spec.get("containers") or [])}
    init_states = [s.get("state") or {} for s in status.get("initContainerStatuses") or []]
    all_ended = bool(names) and all(states.get(name, {}).get("terminated") is not None for name in names)
    return all_ended and all(state.get("running") is None for state in init_states)


def is_in_the_way(pod: Object) -> bool:
    """Tell whether a new Pod has to wait for this one: something may run in it, or it is being deleted."""
    return is_ending(pod) or not has_ended(pod)


def is_told_to_end(pod: Object) -> bool:
    """Tell whether the operator has had the kubelet end the Pod."""
    return (pod.get("spec") or {}).get("activeDeadlineSeconds") == c.END_NOW


def sidecar_failure(pod: Object) -> str:
    """Return what a sidecar did that failed the Pod's attempt; empty where none did."""
    return str((pod["metadata"].get("annotations") or {}).get(c.SIDECAR_ANNOTATION, ""))


def number_of(pod: Object, annotation: str, default: int) -> int:
    """Return one of the operator's numbers on a Pod; the default where it is missing or no number."""
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    try:
        return int(text)
    except ValueError:
        return default


def deadline(task: Object) -> datetime.datetime | None:
    """Return when the Task's timeout ends its present run; None without one, or before the run has begun."""
    timeout, start = task["spec"].get("timeout"), recorded_status(task).get("startTime")
    if not timeout or not start:
        return None
    try:
        return later(start, seconds_of(timeout, "spec.timeout"))
    except InvalidSpec:
        return None  # it is told where the Pod is built


def expiry(task: Object) -> datetime.datetime | None:
    """Return when a Task that has ended is to be deleted; None when it is not."""
    ttl = task["spec"].get("ttlSecondsAfterFinished")
    end = recorded_status(task).get("completionTime")
    if ttl is None or not end or not is_finished(task):
        return None
    return later(end, ttl)


def _is_cancelled(task: Object, generation: int) -> bool:
    """Tell whether what is of this generation belongs to a run that spec.cancel ended, and that is over now."""
    until: int = (task.get("status") or {}).get(CANCELLED_GENERATION, 0)
    return not task["spec"].get("cancel") and generation <= until
