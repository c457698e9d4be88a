# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Compute a Task's status and the events that tell of its changes. Pure: the time comes in as an argument."""

from __future__ import annotations

import datetime
import typing as t

from . import _contract as c
from . import _order
from ._attempts import FINAL, observed_status
from ._errors import TaskError

Object = dict[str, t.Any]

PENDING, RUNNING, SUCCESSFUL, FAILURE = "Pending", "Running", "Successful", "Failure"
CONDITION = "Succeeded"


class Verdict(t.NamedTuple):
    """The Task's state in one word, and why."""

    status: str
    reason: str
    message: str


class Event(t.NamedTuple):
    """One line of ``kubectl describe``. ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


def compute_status(task: Object, pod: Object | None, problem: TaskError | None, now: str) -> Object:
    """Return the whole new status of a Task.

    Args:
        task: the Task, with its present status.
        pod: the Pod of the present attempt, if there is one.
        problem: what keeps the Task from having a Pod, if anything does. One that may pass says nothing of a Task
            whose Pod is there.
        now: the time, as RFC 3339 in UTC.

    A verdict, once reached, never changes for this generation of the spec; only the steps that were still ending do.
    """
    old = observed_status(task)
    status = dict(old)
    status["observedGeneration"] = task["metadata"]["generation"]
    if pod is not None:
        status.update(_of_pod(task, pod))
    if old.get("status") in FINAL:
        return status
    status.setdefault("steps", [{"name": s["name"], "state": _order.WAITING} for s in task["spec"]["steps"]])
    if problem and (problem.permanent or pod is None):
        verdict = _problem_verdict(problem)
    else:
        verdict = _pod_verdict(task, pod, status["steps"])
    status["status"] = verdict.status
    status["progress"] = _progress(status["steps"])
    status["conditions"] = _conditions((task.get("status") or {}).get("conditions") or [], verdict, status, now)
    if verdict.status in FINAL:
        status["completionTime"] = _completion_time(status["steps"], now)
        if status.get("startTime"):
            status["duration"] = format_duration(parse_time(status["startTime"]), parse_time(status["completionTime"]))
    return status


def compute_events(old: Object, new: Object) -> list[Event]:
    """Return the events that tell a person what changed from one status to the next."""
    same_run = old.get("podName") == new.get("podName") and old.get("observedGeneration") == new.get(
        "observedGeneration"
    )
    before = {s["name"]: s["state"] for s in old.get("steps") or []} if same_run else {}
    total = len(new.get("steps") or [])
    events = []
    for number, step in enumerate(new.get("steps") or [], start=1):
        if before.get(step["name"], _order.WAITING) != step["state"]:
            events += _step_events(step, f'step "{step["name"]}" ({number} of {total})')
    was, condition = (_condition(old) if same_run else {}), _condition(new)
    if (was.get("status"), was.get("reason")) != (condition.get("status"), condition.get("reason")):
        events += _verdict_events(new, condition)
    return events


def format_duration(start: datetime.datetime, end: datetime.datetime) -> str:
    """Return the time between two moments in whole seconds, as Go writes a duration: 31s, 1m20s, 1h0m3s."""
    seconds = max(0, int((end - start).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def parse_time(text: str) -> datetime.datetime:
    """Read a time as the API server writes it (RFC 3339)."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def _of_pod(task: Object, pod: Object) -> Object:
    """Return the fields of the status that come straight from the Pod."""
    metadata = pod["metadata"]
    start = metadata["creationTimestamp"]
    return {
        "podName": metadata["name"],
        "order": str(_order.pod_order(pod)),
        "attempts": int((metadata.get("annotations") or {}).get(c.ATTEMPT_ANNOTATION, "1")),
        "startTime": start,
        "startAt": parse_time(start).strftime("%Y-%m-%d %H:%M:%S"),
        "steps": _order.step_statuses(task, pod),
    }


def _problem_verdict(problem: TaskError) -> Verdict:
    return Verdict(FAILURE if problem.permanent else PENDING, problem.reason, problem.message)


def _pod_verdict(task: Object, pod: Object | None, steps: list[Object]) -> Verdict:
    if pod is None:
        return Verdict(PENDING, "WaitingForPod", "the Pod of an earlier run is still ending")
    order = _order.pod_order(pod)
    ended = _final_verdict(pod, steps)
    # The verdict comes after the order that goes with it, so that the two never contradict each other.
    if ended and order == _order.next_order(order, task, pod):
        return ended
    if order == c.ORDER_INITIAL and not any(s["state"] != _order.WAITING for s in steps):
        return _pending(task, pod, steps)
    return Verdict(RUNNING, "Running", f"{_ended_count(steps)} of {len(steps)} steps have ended")


def _final_verdict(pod: Object, steps: list[Object]) -> Verdict | None:
    total = len(steps)
    for number, step in enumerate(steps, start=1):
        if step["state"] == _order.FAILED:
            return Verdict(FAILURE, "StepFailed", f'step "{step["name"]}" ({number} of {total}) failed: {_cause(step)}')
    if all(step["state"] == _order.SUCCEEDED for step in steps):
        return Verdict(SUCCESSFUL, "Succeeded", f"all {total} steps succeeded")
    if all(step["state"] in _order.ENDED for step in steps):
        return Verdict(FAILURE, "Cancelled", f"the steps were told to end: the Pod's order is {_order.pod_order(pod)}")
    return _failed_pod(pod) if (pod.get("status") or {}).get("phase") == "Failed" else None


def _cause(step: Object) -> str:
    words = f"exit code {step['exitCode']}"
    if step.get("reason") not in (None, "Error"):
        words += f", {step['reason']}"
    return f"{words}: {step['message']}" if step.get("message") else words


def _failed_pod(pod: Object) -> Verdict:
    status = pod["status"]
    for container in status.get("initContainerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            detail = ended.get("message") or ended.get("reason") or "no reason given"
            return Verdict(
                FAILURE,
                "AgentInstallFailed",
                f"init container {container['name']} ended with exit code {ended['exitCode']}: {detail}",
            )
    message = status.get("message") or "the Pod failed before its steps had ended"
    return Verdict(FAILURE, status.get("reason") or "PodFailed", message)


def _pending(task: Object, pod: Object, steps: list[Object]) -> Verdict:
    """Say what a Pod that has not started waits for."""
    images = {step["name"]: step["image"] for step in task["spec"]["steps"]}
    for step in steps:
        if step.get("reason"):
            message = f'step "{step["name"]}", image {images[step["name"]]}: {step.get("message", step["reason"])}'
            return Verdict(PENDING, step["reason"], message)
    for container in (pod.get("status") or {}).get("initContainerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, *_order.ORDINARY_WAITS):
            detail = waiting.get("message") or waiting["reason"]
            return Verdict(PENDING, waiting["reason"], f"agent image {container['image']}: {detail}")
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Verdict(PENDING, condition.get("reason", "Unschedulable"), condition.get("message", ""))
    return Verdict(PENDING, "Pending", "the Pod is starting")


def _progress(steps: list[Object]) -> str:
    """Return the step that runs or ran last, of how many."""
    begun = [n for n, s in enumerate(steps, start=1) if s["state"] in (_order.RUNNING, _order.SUCCEEDED, _order.FAILED)]
    return f"{max(begun, default=0)}/{len(steps)}"


def _ended_count(steps: list[Object]) -> int:
    return sum(step["state"] in _order.ENDED for step in steps)


def _condition(status: Object) -> Object:
    return next((x for x in status.get("conditions") or [] if x["type"] == CONDITION), {})


def _conditions(present: list[Object], verdict: Verdict, status: Object, now: str) -> list[Object]:
    """Return the conditions with ours renewed; the time of its last transition stays while its status does."""
    truth = {SUCCESSFUL: "True", FAILURE: "False"}.get(verdict.status, "Unknown")
    was = _condition({"conditions": present})
    since = was.get("lastTransitionTime", now) if was.get("status") == truth else now
    condition = {
        "type": CONDITION,
        "status": truth,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": since,
        "observedGeneration": status["observedGeneration"],
    }
    return [x for x in present if x["type"] != CONDITION] + [condition]


def _completion_time(steps: list[Object], now: str) -> str:
    """Return when the last step that ran ended, to the second; now where no step tells."""
    ends = [s["finishedAt"] for s in steps if s.get("startedAt") and s.get("finishedAt")]
    return max(map(parse_time, ends)).strftime("%Y-%m-%dT%H:%M:%SZ") if ends else now


def _step_events(step: Object, who: str) -> list[Event]:
    if step["state"] == _order.RUNNING:
        return [Event("Normal", "StepStarted", f"{who} started")]
    if step["state"] == _order.SUCCEEDED:
        return [Event("Normal", "StepSucceeded", f"{who} succeeded")]
    if step["state"] == _order.FAILED:
        return [Event("Warning", "StepFailed", f"{who} failed: {_cause(step)}")]
    return []


def _verdict_events(status: Object, condition: Object) -> list[Event]:
    message = condition.get("message", "")
    if status["status"] == SUCCESSFUL:
        return [Event("Normal", "Completed", f"{message} in {status.get('duration', '0s')}")]
    if status["status"] == FAILURE:
        return [Event("Warning", "Failed", message)]
    if status["status"] == RUNNING:
        return [Event("Normal", "Started", f"the steps run in Pod {status.get('podName')}")]
    if condition.get("reason") in ("Pending", "WaitingForPod"):
        return []
    return [Event("Warning", condition.get("reason", "Pending"), message)]
