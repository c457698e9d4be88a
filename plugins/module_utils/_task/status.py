# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Compute a Task's status, and when the Task is to be looked at again. Pure."""

from __future__ import annotations

import math

from .. import _contract as c
from .._contract import CANCELLED, FAILED, FAILURE, FINAL, PENDING, RUNNING, SUCCEEDED, WAITING
from .._durations import TIME_FORMAT, format_duration, parse_time, seconds_until
from .._errors import TaskError
from .._kube.shapes import Condition, StepStatus, Task, TaskStatus
from .._pod.adoption import is_recorded
from .._pod.tracking import is_over
from .conditions import CONDITION, WAITING_FOR_POD, Verdict, condition_of, verdict_condition
from .observed import Observed, ObservedPod
from .reports import ENDED_BEFORE_ITS_TURN
from .run import deadline, expiry, marks_of, without_cancellation
from .unstartable import INVALID_IMAGE_NAME
from .verdict import SIDECAR_FAILED, TIMED_OUT, deaths_of_sidecars, is_suspended, judge, suspended

# Seconds between two tries of what can't be done now: as long as it has lasted so far, within these.
SHORTEST_PAUSE, LONGEST_PAUSE = 2, 300
# The reasons of failures after which steps may wait that will never begin.
ENDED_BEFORE = (TIMED_OUT, SIDECAR_FAILED, INVALID_IMAGE_NAME)
# The status of a condition that may prove false.
UNKNOWN = "Unknown"
# Seconds between two looks at Pods that are still ending.
WAITING_PAUSE = 30


def compute_status(seen: Observed, problem: TaskError | None) -> TaskStatus:
    """Return the whole new status of a Task.

    Args:
        seen: the Task, with its present status, and its Pods.
        problem: what keeps the Task from having a Pod, if anything does. One that may pass says nothing of a Task
            whose Pod has not ended.

    A verdict, once reached, never changes for this run; only the steps that were still ending do.
    """
    old, pod, marks = seen.recorded, seen.current, marks_of(seen.task)
    if seen.is_finished:
        is_same = pod is not None and is_recorded(old, pod.pod)
        status: TaskStatus = {**old, **marks, **(_of_pod(pod) if pod and is_same else {})}
        reason = condition_of(old).get("reason", "")
        if "steps" in status:  # a status that was cut has none
            status["steps"] = _stopped_steps(status["steps"], old["status"], reason)
        return without_cancellation(status, reason)
    if is_suspended(seen):
        return _with_verdict(seen, {**marks, "steps": _waiting_steps(seen.task)}, suspended())
    status = {**old}
    # What speaks of a Pod alone is gone with it.
    status.pop("steps", None)
    status.pop("results", None)
    status.pop("order", None)
    status.update({**marks, **(_of_pod(pod) if pod else {})})
    # Of the whole run, so that it does not begin again with each Pod.
    status["startTime"] = old.get("startTime") or (pod.pod["metadata"]["creationTimestamp"] if pod else seen.now)
    status["startAt"] = parse_time(status["startTime"]).strftime("%Y-%m-%d %H:%M:%S")
    status.setdefault("steps", _waiting_steps(seen.task))
    deaths = deaths_of_sidecars(pod) if pod else ""
    status["conditions"] = _sidecar_condition(old, status, deaths, seen.now)
    return _with_verdict(seen, status, _verdict(seen, problem))


def next_look(seen: Observed, status: TaskStatus, problem: TaskError | None) -> int | None:
    """Return after how many seconds a Task is to be looked at again, though nothing may happen to it until then.

    Args:
        seen: as in compute_status.
        status: what that has returned.
        problem: as in compute_status.
    """
    now = seen.now
    if status["status"] in FINAL:
        moment = expiry(seen.spec, status)
        return None if moment is None else max(1, math.ceil(seconds_until(moment, now)))
    waits: list[float] = []
    moment = deadline(seen.spec, status)
    if moment is not None:
        left = seconds_until(moment, now)
        waits.append(left if left > 0 else left + c.TIMEOUT_GRACE)
    if problem is not None:
        lasted = -seconds_until(parse_time(status.get("startTime") or now), now)
        waits.append(max(problem.retry_after or 0, min(max(lasted, SHORTEST_PAUSE), LONGEST_PAUSE)))
    elif condition_of(status).get("reason") == WAITING_FOR_POD:
        waits.append(WAITING_PAUSE)
    if (death := condition_of(status, SIDECAR_FAILED)).get("status") == UNKNOWN:
        waits.append(_doubt_left(death, now))
    return max(1, math.ceil(min(waits))) if waits else None


def _verdict(seen: Observed, problem: TaskError | None) -> Verdict:
    pod = seen.current
    if problem and (problem.permanent or pod is None):
        return Verdict(FAILURE if problem.permanent else PENDING, problem.reason, problem.message)
    verdict = judge(seen)
    if problem and pod and is_over(pod.pod, seen.now) and verdict.status not in FINAL:
        # The next attempt's Pod can't be made.
        return Verdict(PENDING, problem.reason, f"{problem.message} ({verdict.message})")
    return verdict


def _with_verdict(seen: Observed, status: TaskStatus, verdict: Verdict) -> TaskStatus:
    """Return the status with what a verdict says: state, progress, conditions and, at the end, times and results."""
    status["status"] = verdict.status
    status["steps"] = _stopped_steps(status["steps"], verdict.status, verdict.reason)
    status["progress"] = _progress(status["steps"])
    before: TaskStatus = seen.task.get("status") or {}
    others = [x for x in before.get("conditions") or [] if x["type"] not in (CONDITION, SIDECAR_FAILED)]
    sidecars = [x for x in status.get("conditions", []) if x["type"] == SIDECAR_FAILED]
    if verdict.reason == SIDECAR_FAILED:
        # It was told too early: the first step has seen it in time, but took long to say so.
        sidecars = []
    if verdict.status in FINAL:
        sidecars = [x for x in sidecars if x["status"] != UNKNOWN]
    own = verdict_condition(before, verdict, status["observedGeneration"], seen.now)
    status["conditions"] = [*others, own, *sidecars]
    if verdict.status in FINAL:
        status["completionTime"] = completion_time(status["steps"], status["startTime"], verdict, seen.now)
        status["duration"] = format_duration(parse_time(status["startTime"]), parse_time(status["completionTime"]))
        return without_cancellation(status, verdict.reason)
    return status


def _waiting_steps(task: Task) -> list[StepStatus]:
    return [{"name": step["name"], "state": WAITING} for step in task["spec"]["steps"]]


def _stopped_steps(steps: list[StepStatus], status: str, reason: str) -> list[StepStatus]:
    """Return the steps; once the Task was told to end, or could not begin, one that waits never will."""
    if status != CANCELLED and not (status == FAILURE and reason in ENDED_BEFORE):
        return steps
    return [{"name": step["name"], "state": CANCELLED} if step["state"] == WAITING else step for step in steps]


def _of_pod(pod: ObservedPod) -> TaskStatus:
    """Return the fields of the status that come straight from the Pod."""
    fields: TaskStatus = {
        "podName": pod.name,
        **_uid_of(pod),
        "order": str(pod.order),
        "attempts": pod.attempt.number,
        "retries": pod.attempt.retry,
        "steps": pod.steps,
    }
    results = {name: value for step in pod.steps for name, value in (step.get("results") or {}).items()}
    return {**fields, "results": results} if results else fields


def _uid_of(pod: ObservedPod) -> TaskStatus:
    uid = pod.pod["metadata"].get("uid")
    return {"podUID": uid} if uid else {}


def _progress(steps: list[StepStatus]) -> str:
    """Return the step that runs or ran last, of how many."""
    states = (RUNNING, SUCCEEDED, FAILED)
    had_turn = [(n, s) for n, s in enumerate(steps, start=1) if s.get("reason") != ENDED_BEFORE_ITS_TURN]
    begun = [n for n, s in had_turn if s["state"] in states or s.get("startedAt")]
    return f"{max(begun, default=0)}/{len(steps)}"


def _sidecar_condition(old: TaskStatus, new: TaskStatus, deaths: str, now: str) -> list[Condition]:
    """Return the condition that tells of sidecars that died while the steps ran; none where there are none.

    It is of one Pod, and stays with it. It is in doubt until the first step has had the time to say that it did not
    begin for the sidecar. That time counts from when the death was recorded: the node's clock may differ from ours.
    """
    same_pod = old.get("podName") is not None and old.get("podName") == new.get("podName")
    was = condition_of(old if same_pod else {}, SIDECAR_FAILED)
    was_sure = was.get("status") == "True"
    if not deaths:
        return [was] if was_sure else []
    is_sure = was_sure or bool(new["steps"][0].get("startedAt")) or (bool(was) and not _doubt_left(was, now))
    status = "True" if is_sure else UNKNOWN
    return [
        {
            "type": SIDECAR_FAILED,
            "status": status,
            "reason": SIDECAR_FAILED,
            "message": deaths,
            "lastTransitionTime": was["lastTransitionTime"] if was.get("status") == status else now,
            "observedGeneration": new["observedGeneration"],
        }
    ]


def _doubt_left(death: Condition, now: str) -> float:
    """Return after how many seconds the death of a sidecar is sure; 0 where it is, or the clock was set back."""
    passed = -seconds_until(parse_time(death["lastTransitionTime"]), now)
    return c.DEATH_TOLD_AFTER - passed if 0 <= passed < c.DEATH_TOLD_AFTER else 0


def completion_time(steps: list[StepStatus], start: str, verdict: Verdict, now: str) -> str:
    """Return when the last step that ran ended, to the second; now where that did not decide the Task.

    The node's clock may be another: nothing ends before the start, or later than now.
    """
    ends = [s["finishedAt"] for s in steps if s.get("startedAt") and s.get("finishedAt")]
    if not ends or verdict.status == CANCELLED or verdict.reason in (TIMED_OUT, SIDECAR_FAILED):
        return now
    latest = max(parse_time(start), *map(parse_time, ends))
    return min(latest, parse_time(now)).strftime(TIME_FORMAT)
