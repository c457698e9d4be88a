# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The Events that tell of the changes in a Task's status. Pure."""

from __future__ import annotations

from .._contract import CANCELLED, FAILED, FAILURE, RUNNING, SUCCEEDED, SUCCESSFUL, WAITING
from .._kube import event
from .._kube.event import Event
from .._kube.shapes import Condition, StepStatus, TaskStatus
from .conditions import HELD, SUSPENDED, WAITING_FOR_POD, condition_of
from .verdict import SIDECAR_FAILED, STEP_FAILED, cause_of

# Reasons that nobody needs to be told of; that the steps run is told as such.
QUIET_REASONS = ("Pending", WAITING_FOR_POD, "Running")
NORMAL_REASONS = (SUSPENDED, HELD)


def compute_events(old: TaskStatus, new: TaskStatus) -> list[Event]:
    """Return the events that tell a person what changed from one status to the next."""
    same_run = old.get("podName") == new.get("podName") and old.get("specHash") == new.get("specHash")
    before = {s["name"]: s for s in old.get("steps") or []} if same_run else {}
    total = len(new.get("steps") or [])
    events = []
    for number, step in enumerate(new.get("steps") or [], start=1):
        who, was = f'step "{step["name"]}" ({number} of {total})', before.get(step["name"], {})
        if was.get("state", WAITING) != step["state"]:
            events += _step_events(step, who, was.get("state", WAITING) == WAITING)
        if step.get("restarts", 0) > was.get("restarts", 0):
            words = "the kubelet made its container again; a command that had begun is not run a second time"
            events.append(Event(event.WARNING, "ContainerRestarted", f"{who}: {words}"))
    if _has_begun(new) and not (same_run and _has_begun(old)):
        events.insert(0, event.started(f"Pod {new.get('podName')}"))
    died = _death(new)
    if died and not (same_run and died == _death(old)):
        events.append(Event(event.WARNING, SIDECAR_FAILED, died))
    said = condition_of(old if same_run else {})
    condition = condition_of(new)
    if (said.get("status"), said.get("reason")) != (condition.get("status"), condition.get("reason")):
        events += _verdict_events(new, condition)
    return events


def _death(status: TaskStatus) -> str:
    """Return what is told of sidecars that have died beside the steps; empty while it is in doubt."""
    condition = condition_of(status, SIDECAR_FAILED)
    return condition["message"] if condition.get("status") == "True" else ""


def _has_begun(status: TaskStatus) -> bool:
    """Tell whether a step runs, or has run."""
    return any(step["state"] == RUNNING or step.get("startedAt") for step in status.get("steps") or [])


def _step_events(step: StepStatus, who: str, was_waiting: bool) -> list[Event]:
    """Return the events of a step's new state; one that ended while nobody looked has started, too."""
    started = [Event(event.NORMAL, "StepStarted", f"{who} started")]
    if step["state"] == RUNNING:
        return started
    return (started if was_waiting and step.get("startedAt") else []) + _end_events(step, who)


def _end_events(step: StepStatus, who: str) -> list[Event]:
    if step["state"] == SUCCEEDED:
        return [Event(event.NORMAL, "StepSucceeded", f"{who} succeeded")]
    if step.get("continued"):
        return [_step_failed(f"{who} failed, and the Task continues: {cause_of(step)}")]
    if step["state"] == FAILED:
        return [_step_failed(f"{who} failed: {cause_of(step)}")]
    if step["state"] == CANCELLED and step.get("startedAt"):
        return [Event(event.NORMAL, "StepCancelled", f"{who} was told to end")]
    return []


def _step_failed(message: str) -> Event:
    return Event(event.WARNING, STEP_FAILED, message)


def _verdict_events(status: TaskStatus, condition: Condition) -> list[Event]:
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
