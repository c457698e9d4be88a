# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Compute a Task's status and the events that tell of its changes. Pure: the time comes in as an argument."""

from __future__ import annotations

import math
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import format_duration, parse_time, seconds_until
from .._errors import TaskError
from .._kube import event
from .._kube.event import Event
from .._pod.identity import spec_hash
from .._pod.life import has_ended, number_of, pod_order
from . import order as _order
from .attempts import current_pod
from .run import (
    CANCELLED_GENERATION,
    CONDITION,
    FINAL,
    condition_of,
    deadline,
    expiry,
    recorded_status,
    with_cancellations,
)
from .verdict import (
    CANCELLED,
    FAILURE,
    PENDING,
    SIDECAR_FAILED,
    SUCCESSFUL,
    TIMED_OUT,
    Verdict,
    cause_of,
    deaths_of_sidecars,
    is_suspended,
    judge,
    judge_without_pod,
    next_death_in,
    suspended,
)

# Seconds between two tries of what can't be done now: as long as it has lasted so far, within these.
SHORTEST_PAUSE, LONGEST_PAUSE = 2, 300
# Seconds between two looks at Pods that are still ending.
WAITING_PAUSE = 30
# What a status says of its Pod alone; with the Pod it is gone.
OF_ONE_POD = ("steps", "results", "order")
# Reasons that nobody needs to be told of; that the steps run is told as such.
QUIET_REASONS = ("Pending", "WaitingForPod", "Running")
NORMAL_REASONS = ("Suspended", "Held")
# The condition that tells of sidecars that died while the steps ran. It is of one Pod, and only there if one did.
SIDECAR_CONDITION = "SidecarFailed"


def compute_status(task: Object, pods: t.Sequence[Object], problem: TaskError | None, now: str) -> Object:
    """Return the whole new status of a Task.

    Args:
        task: the Task, with its present status.
        pods: every Pod that the Task owns.
        problem: what keeps the Task from having a Pod, if anything does. One that may pass says nothing of a Task
            whose Pod has not ended.
        now: the time, as RFC 3339 in UTC.

    A verdict, once reached, never changes for this run; only the steps that were still ending do.
    """
    task = with_cancellations(task, pods)
    old = recorded_status(task)
    pod = current_pod(task, pods)
    marks = _marks(task)
    if old.get("status") in FINAL:
        status = {**old, **marks, **(_of_pod(task, pod) if pod and _same_pod(old, pod) else {})}
        reason = condition_of(old).get("reason", "")
        status["steps"] = _stopped_steps(status["steps"], old["status"], reason)
        return _without_cancellation(status, reason)
    if is_suspended(task, pod, now):
        return _with_verdict(task, {**marks, "steps": _waiting_steps(task)}, suspended(), now)
    status = {key: value for key, value in old.items() if key not in OF_ONE_POD}
    status.update(marks, **(_of_pod(task, pod) if pod else {}))
    # Of the whole run, so that it does not begin anew with each Pod.
    status["startTime"] = old.get("startTime") or (pod["metadata"]["creationTimestamp"] if pod else now)
    status["startAt"] = parse_time(status["startTime"]).strftime("%Y-%m-%d %H:%M:%S")
    status.setdefault("steps", _waiting_steps(task))
    deaths = deaths_of_sidecars(task, pod, now) if pod else ""
    status["conditions"] = _sidecar_condition(old, status, deaths, now)
    return _with_verdict(task, status, _verdict(task, pod, pods, problem, now), now)


def next_look(task: Object, pods: t.Sequence[Object], problem: TaskError | None, now: str) -> int | None:
    """Return after how many seconds a Task is to be looked at again though nothing may happen to it meanwhile.

    Args:
        task: the Task, with its new status.
        pods: as in compute_status.
        problem: as in compute_status.
        now: the time, as RFC 3339 in UTC.
    """
    status = recorded_status(task)
    if status.get("status") in FINAL:
        moment = expiry(task)
        return None if moment is None else max(1, math.ceil(seconds_until(moment, now)))
    waits: list[float] = []
    moment = deadline(task)
    if moment is not None:
        left = seconds_until(moment, now)
        waits.append(left if left > 0 else left + c.TIMEOUT_GRACE)
    if problem is not None:
        lasted = -seconds_until(parse_time(status.get("startTime") or now), now)
        waits.append(max(problem.retry_after or 0, min(max(lasted, SHORTEST_PAUSE), LONGEST_PAUSE)))
    elif condition_of(status).get("reason") == "WaitingForPod":
        waits.append(WAITING_PAUSE)
    pod = current_pod(task, pods)
    death = next_death_in(task, pod, now) if pod else None
    waits += [] if death is None else [death]
    return max(1, math.ceil(min(waits))) if waits else None


def compute_events(old: Object, new: Object) -> list[Event]:
    """Return the events that tell a person what changed from one status to the next."""
    same_run = old.get("podName") == new.get("podName") and old.get("specHash") == new.get("specHash")
    before = {s["name"]: s["state"] for s in old.get("steps") or []} if same_run else {}
    total = len(new.get("steps") or [])
    events = []
    for number, step in enumerate(new.get("steps") or [], start=1):
        if before.get(step["name"], _order.WAITING) != step["state"]:
            was_waiting = before.get(step["name"], _order.WAITING) == _order.WAITING
            events += _step_events(step, f'step "{step["name"]}" ({number} of {total})', was_waiting)
    if _has_begun(new) and not (same_run and _has_begun(old)):
        events.insert(0, event.started(f"Pod {new.get('podName')}"))
    died = _of_type(new, SIDECAR_CONDITION).get("message")
    if died and not (same_run and died == _of_type(old, SIDECAR_CONDITION).get("message")):
        events.append(Event(event.WARNING, SIDECAR_CONDITION, died))
    was, condition = (condition_of(old) if same_run else {}), condition_of(new)
    if (was.get("status"), was.get("reason")) != (condition.get("status"), condition.get("reason")):
        events += _verdict_events(new, condition)
    return events


def _verdict(
    task: Object, pod: Object | None, pods: t.Sequence[Object], problem: TaskError | None, now: str
) -> Verdict:
    if problem and (problem.permanent or pod is None):
        return Verdict(FAILURE if problem.permanent else PENDING, problem.reason, problem.message)
    verdict = judge(task, pod, now) if pod else judge_without_pod(task, pods, now)
    if problem and pod and has_ended(pod) and verdict.status not in FINAL:
        # The next attempt's Pod can't be made.
        return Verdict(PENDING, problem.reason, f"{problem.message} ({verdict.message})")
    return verdict


def _with_verdict(task: Object, status: Object, verdict: Verdict, now: str) -> Object:
    """Return the status with what a verdict says: state, progress, conditions and, at the end, times and results."""
    status["status"] = verdict.status
    status["steps"] = _stopped_steps(status["steps"], verdict.status, verdict.reason)
    status["progress"] = _progress(status["steps"])
    present = (task.get("status") or {}).get("conditions") or []
    others = [x for x in present if x["type"] not in (CONDITION, SIDECAR_CONDITION)]
    sidecars = [x for x in status.get("conditions", []) if x["type"] == SIDECAR_CONDITION]
    if verdict.reason == SIDECAR_FAILED:
        # It was told too early: the first step has seen it in time, but took long to say so.
        sidecars = []
    status["conditions"] = [*others, _condition(present, verdict, status, now), *sidecars]
    if verdict.status in FINAL:
        status["completionTime"] = _completion_time(status["steps"], verdict, now)
        status["duration"] = format_duration(parse_time(status["startTime"]), parse_time(status["completionTime"]))
        return _without_cancellation(status, verdict.reason)
    return status


def _waiting_steps(task: Object) -> list[Object]:
    return [{"name": step["name"], "state": _order.WAITING} for step in task["spec"]["steps"]]


def _marks(task: Object) -> Object:
    """Return what tells which run, and which spec, the status is of."""
    generation = task["metadata"]["generation"]
    marks = {"observedGeneration": generation, "specHash": spec_hash(task)}
    if task["spec"].get("cancel"):
        return {**marks, CANCELLED_GENERATION: generation}
    until = (task.get("status") or {}).get(CANCELLED_GENERATION)
    return {**marks, CANCELLED_GENERATION: until} if until else marks


def _without_cancellation(status: Object, reason: str) -> Object:
    """Return the status of a Task that has ended; what came too late to cancel it is no part of it."""
    return status if reason == CANCELLED else {k: v for k, v in status.items() if k != CANCELLED_GENERATION}


def _stopped_steps(steps: list[Object], status: str, reason: str) -> list[Object]:
    """Return the steps; once the Task was told to end, or a sidecar failed it, one that waits will never begin."""
    if status != CANCELLED and (status, reason) not in ((FAILURE, TIMED_OUT), (FAILURE, SIDECAR_FAILED)):
        return steps
    return [
        {"name": step["name"], "state": _order.CANCELLED} if step["state"] == _order.WAITING else step for step in steps
    ]


def _same_pod(status: Object, pod: Object) -> bool:
    return bool(status.get("podName") == pod["metadata"]["name"])


def _of_pod(task: Object, pod: Object) -> Object:
    """Return the fields of the status that come straight from the Pod."""
    steps = _order.step_statuses(task, pod)
    fields = {
        "podName": pod["metadata"]["name"],
        "order": str(pod_order(pod)),
        "attempts": number_of(pod, c.ATTEMPT_ANNOTATION, 1),
        "retries": number_of(pod, c.RETRY_ANNOTATION, 0),
        "steps": steps,
    }
    results = {name: value for step in steps for name, value in (step.get("results") or {}).items()}
    return {**fields, "results": results} if results else fields


def _progress(steps: list[Object]) -> str:
    """Return the step that runs or ran last, of how many."""
    states = (_order.RUNNING, _order.SUCCEEDED, _order.FAILED)
    begun = [n for n, s in enumerate(steps, start=1) if s["state"] in states or s.get("startedAt")]
    return f"{max(begun, default=0)}/{len(steps)}"


def _sidecar_condition(old: Object, new: Object, deaths: str, now: str) -> list[Object]:
    """Return the condition that tells of the deaths of sidecars; none where there are none. It stays with its Pod."""
    same_pod = old.get("podName") is not None and old.get("podName") == new.get("podName")
    was = _of_type(old, SIDECAR_CONDITION) if same_pod else {}
    if not deaths:
        return [was] if was else []
    return [
        {
            "type": SIDECAR_CONDITION,
            "status": "True",
            "reason": SIDECAR_FAILED,
            "message": deaths,
            "lastTransitionTime": was.get("lastTransitionTime", now),
            "observedGeneration": new["observedGeneration"],
        }
    ]


def _of_type(status: Object, condition: str) -> Object:
    """Return the condition of this type; an empty one if there is none."""
    return next((x for x in status.get("conditions") or [] if x["type"] == condition), {})


def _condition(present: list[Object], verdict: Verdict, status: Object, now: str) -> Object:
    """Return the condition Succeeded; the time of its last transition stays while its status does."""
    truth = {SUCCESSFUL: "True", FAILURE: "False", CANCELLED: "False"}.get(verdict.status, "Unknown")
    was = condition_of({"conditions": present})
    since = was.get("lastTransitionTime", now) if was.get("status") == truth else now
    return {
        "type": CONDITION,
        "status": truth,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": since,
        "observedGeneration": status["observedGeneration"],
    }


def _completion_time(steps: list[Object], verdict: Verdict, now: str) -> str:
    """Return when the last step that ran ended, to the second; now where that did not decide the Task."""
    ends = [s["finishedAt"] for s in steps if s.get("startedAt") and s.get("finishedAt")]
    if not ends or verdict.status == CANCELLED or verdict.reason in (TIMED_OUT, SIDECAR_FAILED):
        return now
    return max(map(parse_time, ends)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _has_begun(status: Object) -> bool:
    """Tell whether a step runs, or has run."""
    return any(step["state"] == _order.RUNNING or step.get("startedAt") for step in status.get("steps") or [])


def _step_events(step: Object, who: str, was_waiting: bool) -> list[Event]:
    """Return the events of a step's new state; one that ended while nobody looked has started, too."""
    started = [Event(event.NORMAL, "StepStarted", f"{who} started")]
    if step["state"] == _order.RUNNING:
        return started
    return (started if was_waiting and step.get("startedAt") else []) + _end_events(step, who)


def _end_events(step: Object, who: str) -> list[Event]:
    if step["state"] == _order.SUCCEEDED:
        return [Event(event.NORMAL, "StepSucceeded", f"{who} succeeded")]
    if step.get("continued"):
        return [Event(event.WARNING, "StepFailed", f"{who} failed, and the Task continues: {cause_of(step)}")]
    if step["state"] == _order.FAILED:
        return [Event(event.WARNING, "StepFailed", f"{who} failed: {cause_of(step)}")]
    if step["state"] == _order.CANCELLED and step.get("startedAt"):
        return [Event(event.NORMAL, "StepCancelled", f"{who} was told to end")]
    return []


def _verdict_events(status: Object, condition: Object) -> list[Event]:
    message, reason = condition.get("message", ""), condition.get("reason", "Pending")
    if status["status"] == SUCCESSFUL:
        return [event.completed(message, status.get("duration", "0s"))]
    if status["status"] == FAILURE:
        return [event.failed(message)]
    if status["status"] == CANCELLED:
        return [Event(event.NORMAL, "Cancelled", message)]
    if reason in QUIET_REASONS:
        return []
    return [Event(event.NORMAL if reason in NORMAL_REASONS else event.WARNING, reason, message)]
