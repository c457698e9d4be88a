# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Read the steps' states from a Pod, and decide the next order from them. Pure."""

from __future__ import annotations

import datetime
import json
import typing as t

from . import _contract as c

Object = dict[str, t.Any]

WAITING, RUNNING = "Waiting", "Running"
SUCCEEDED, FAILED, SKIPPED, CANCELLED = "Succeeded", "Failed", "Skipped", "Cancelled"
ENDED = (SUCCEEDED, FAILED, SKIPPED, CANCELLED)
# What the kubelet calls a container that is on its way; nothing to tell a person.
AGENT_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
ORDINARY_WAITS = ("PodInitializing", "ContainerCreating")


def pod_order(pod: Object) -> int:
    """Return the Pod's order annotation as a number; 0 where it is missing or no number."""
    text = (pod["metadata"].get("annotations") or {}).get(c.ORDER_ANNOTATION, "")
    try:
        return int(text)
    except ValueError:
        return c.ORDER_INITIAL


def step_statuses(task: Object, pod: Object) -> list[Object]:
    """Return the Task's status.steps, in the order of the spec.

    The kubelet sorts containerStatuses by the containers' names, so each is looked up by name.
    """
    by_name = _container_statuses(pod)
    statuses = [_step_status(step["name"], by_name.get(step["name"], {})) for step in task["spec"]["steps"]]
    runner = _succeeded(statuses)
    if runner < len(statuses) and _is_turn(task, pod, runner + 1):
        step = statuses[runner]
        if step["state"] == WAITING and _state(by_name, step["name"], "running") is not None:
            step["state"] = RUNNING
    return statuses


def next_order(order: int, task: Object, pod: Object) -> int:
    """Decide the order annotation's next value: 0, then 1 to N as the steps go, -1 for good once one has failed.

    It goes up by one at a time, no further than to the step after those that have succeeded. With the Annotation
    hand-off that is what starts a step; with Local the steps start each other, and the order follows them.
    """
    if order == c.ORDER_QUIT:
        return order
    statuses = step_statuses(task, pod)
    if order < min(_succeeded(statuses) + 1, len(statuses)) and _all_started(task, pod):
        return order + 1
    failed = any(s["state"] in (FAILED, SKIPPED, CANCELLED) for s in statuses)
    return c.ORDER_QUIT if failed or (pod.get("status") or {}).get("phase") == "Failed" else order


def orders_to_come(order: int, task: Object, pod: Object) -> list[int]:
    """Return every value that the order annotation takes from here on, while the Pod stays as it is."""
    orders: list[int] = []
    while (after := next_order(order, task, pod)) != order:
        orders.append(after)
        order = after
    return orders


def _container_statuses(pod: Object) -> dict[str, Object]:
    return {s["name"]: s for s in (pod.get("status") or {}).get("containerStatuses") or []}


def _state(by_name: dict[str, Object], name: str, key: str) -> Object | None:
    return ((by_name.get(name) or {}).get("state") or {}).get(key)


def _succeeded(statuses: list[Object]) -> int:
    """Return how many steps from the first on have succeeded, without a gap."""
    return next((i for i, s in enumerate(statuses) if s["state"] != SUCCEEDED), len(statuses))


def _all_started(task: Object, pod: Object) -> bool:
    by_name = _container_statuses(pod)
    names = [step["name"] for step in task["spec"]["steps"]]
    return all(_state(by_name, n, "running") is not None or _state(by_name, n, "terminated") is not None for n in names)


def _is_turn(task: Object, pod: Object, number: int) -> bool:
    if not _all_started(task, pod):
        return False
    return task["spec"].get("handoff") != c.HANDOFF_ANNOTATION or pod_order(pod) >= number


def _step_status(name: str, container: Object) -> Object:
    state = container.get("state") or {}
    status: Object = {"name": name, "state": WAITING}
    if state.get("terminated"):
        status.update(_ended(state["terminated"]))
    elif (state.get("waiting") or {}).get("reason") not in (None, *ORDINARY_WAITS):
        status.update(reason=state["waiting"]["reason"])
        if state["waiting"].get("message"):
            status["message"] = state["waiting"]["message"]
    if container.get("imageID"):
        status["imageID"] = container["imageID"]
    return status


def _ended(terminated: Object) -> Object:
    """Return the fields of a step whose container has ended: the agent's report, or else the kubelet's."""
    report = _report(terminated.get("message") or "")
    exit_code = terminated.get("exitCode", 0)
    succeeded = exit_code == 0
    status: Object = {"state": SUCCEEDED if succeeded else FAILED, "exitCode": exit_code}
    if report is None:
        for ours, theirs in (("reason", "reason"), ("message", "message")):
            if terminated.get(theirs) and not succeeded:
                status[ours] = terminated[theirs]
        status.update({k: terminated[k] for k in ("startedAt", "finishedAt") if terminated.get(k)})
        return status
    if report["state"] in (SKIPPED, CANCELLED):
        # A command that was told to end may well have ended with exit code 0.
        status["state"] = report["state"]
    status.update({k: report[k] for k in ("reason", "message", "startedAt", "finishedAt") if report.get(k)})
    return status


def _report(message: str) -> Object | None:
    """Read the agent's termination message; None when it is not the agent's."""
    try:
        report = json.loads(message)
    except ValueError:
        return None
    if not isinstance(report, dict) or report.get("state") not in ENDED:
        return None
    texts = {key: report[key] for key in ("state", "reason", "message") if isinstance(report.get(key), str)}
    times = {key: report[key] for key in ("startedAt", "finishedAt") if _is_time(report.get(key))}
    return {**texts, **times}


def _is_time(value: t.Any) -> bool:
    try:
        datetime.datetime.strptime(value, AGENT_TIME_FORMAT)
    except (TypeError, ValueError):
        return False
    return True
