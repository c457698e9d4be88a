# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Read the steps' states from a Pod, and decide the next order from them. Pure."""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from . import _contract as c
from ._run import number_of

Object = dict[str, t.Any]

WAITING, RUNNING = "Waiting", "Running"
SUCCEEDED, FAILED, SKIPPED, CANCELLED = "Succeeded", "Failed", "Skipped", "Cancelled"
ENDED = (SUCCEEDED, FAILED, SKIPPED, CANCELLED)
AGENT_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
# The agent's report has each result as a field of its own.
RESULT_PREFIX = "result."
# The kubelet's word for a container that was over its memory limit.
OOM_KILLED = "OOMKilled"
_BEGIN_OF_REPORT = re.compile(r'\{"state":"(?P<state>[A-Za-z]+)","exitCode":(?P<code>\d+),')
# What the kubelet calls a container that is on its way; nothing to tell a person.
ORDINARY_WAITS = ("PodInitializing", "ContainerCreating")


def pod_order(pod: Object) -> int:
    """Return the Pod's order annotation as a number; 0 where it is missing or no number."""
    return number_of(pod, c.ORDER_ANNOTATION, c.ORDER_INITIAL)


def step_statuses(task: Object, pod: Object) -> list[Object]:
    """Return the Task's status.steps, in the order of the spec.

    The kubelet sorts containerStatuses by the containers' names, so each is looked up by name.
    """
    by_name = _container_statuses(pod)
    statuses = [_step_status(step["name"], by_name.get(step["name"], {})) for step in task["spec"]["steps"]]
    runner = passed(statuses)
    if runner < len(statuses) and _is_turn(task, pod, runner + 1):
        step = statuses[runner]
        if step["state"] == WAITING and _state(by_name, step["name"], "running") is not None:
            step["state"] = RUNNING
    return statuses


def passed(statuses: t.Sequence[Object]) -> int:
    """Return how many steps from the first on let the next one run: they succeeded, or failed and continue."""
    return next((i for i, s in enumerate(statuses) if not has_passed(s)), len(statuses))


def has_passed(status: Object) -> bool:
    """Tell whether a step lets the next one run."""
    return status["state"] == SUCCEEDED or bool(status.get("continued"))


def stops_the_task(status: Object) -> bool:
    """Tell whether no later step may run after this one."""
    return status["state"] in (FAILED, SKIPPED, CANCELLED) and not status.get("continued")


def next_order(order: int, task: Object, pod: Object, stop: bool = False) -> int:
    """Decide the order annotation's next value: 0, then 1 to N as the steps go, -1 for good once one has failed.

    It goes up by one, no further than to the step after those that have passed. With the Annotation hand-off that is
    what starts a step; with Local the steps start each other, and the order follows them.

    Args:
        order: its present value.
        task: the Task; its annotation hold-order holds the order with the Annotation hand-off.
        pod: the Pod, with the containers' statuses.
        stop: True when the Task was cancelled or its time is up: what has not ended then shall end.
    """
    if order == c.ORDER_QUIT:
        return order
    statuses = step_statuses(task, pod)
    done = passed(statuses)
    if stop and done < len(statuses):
        return c.ORDER_QUIT
    if order < min(done + 1, len(statuses)) and order + 1 <= held_at(task, order) and _may_begin(order, task, pod):
        return order + 1
    failed = any(stops_the_task(s) for s in statuses)
    over = done < len(statuses) and (pod.get("status") or {}).get("phase") == "Failed"
    return c.ORDER_QUIT if failed or over else order


def orders_to_come(order: int, task: Object, pod: Object, stop: bool = False) -> list[int]:
    """Return every value that the order annotation takes from here on, while the Pod stays as it is."""
    orders: list[int] = []
    while (after := next_order(order, task, pod, stop)) != order:
        orders.append(after)
        order = after
    return orders


def orders_to_write(orders: t.Sequence[int], task: Object) -> list[int]:
    """Return which of the values to come are written, each by a request of its own.

    With the Annotation hand-off each starts a step. With Local nobody waits for one, and each would have the kubelet
    write its file again: only the last number is written, and -1 after it.
    """
    if task["spec"].get("handoff") == c.HANDOFF_ANNOTATION:
        return list(orders)
    numbers = [order for order in orders if order != c.ORDER_QUIT]
    return numbers[-1:] + [order for order in orders if order == c.ORDER_QUIT]


def held_at(task: Object, order: int) -> float:
    """Return how far the order may go: to the number that the Task's annotation gives, or not on at all.

    Without the annotation, and with the Local hand-off, it is not held.
    """
    hold = (task["metadata"].get("annotations") or {}).get(c.HOLD_ANNOTATION)
    if hold is None or task["spec"].get("handoff") != c.HANDOFF_ANNOTATION:
        return float("inf")
    return int(hold) if hold.isascii() and hold.isdigit() else order


def all_started(task: Object, pod: Object) -> bool:
    """Tell whether the container of every step and every sidecar has started: the first step awaits them all."""
    by_name = _container_statuses(pod)
    own = [*task["spec"]["steps"], *(task["spec"].get("sidecars") or [])]
    return all(_has_started(by_name, container["name"]) for container in own)


def runs_nothing(task: Object, pod: Object) -> bool:
    """Tell whether the Pod has yet to start a container while no step's runs.

    Then no step has run: the first one begins when every container has started.
    """
    by_name = _container_statuses(pod)
    running = any(_state(by_name, step["name"], "running") is not None for step in task["spec"]["steps"])
    return not running and not all_started(task, pod)


def is_over(task: Object, pod: Object) -> bool:
    """Tell whether all of the Task's own containers have ended; somebody may have added others that have not."""
    by_name = _container_statuses(pod)
    native = {s["name"] for s in (pod.get("spec") or {}).get("initContainers") or []}
    own = [*task["spec"]["steps"], *(task["spec"].get("sidecars") or [])]
    return all(_state(by_name, x["name"], "terminated") is not None for x in own if x["name"] not in native)


def probed_sidecars(task: Object) -> list[Object]:
    """Return the sidecars that the first step awaits until they are ready."""
    return [sidecar for sidecar in task["spec"].get("sidecars") or [] if sidecar.get("readinessProbe")]


def _may_begin(order: int, task: Object, pod: Object) -> bool:
    """Tell whether all is there that the order waits for; a sidecar that was ready once need not stay so."""
    by_name = _container_statuses(pod)
    return all_started(task, pod) and (
        order > c.ORDER_INITIAL
        or all(
            (by_name.get(sidecar["name"]) or {}).get("ready")
            or _state(by_name, sidecar["name"], "terminated") is not None
            for sidecar in probed_sidecars(task)
        )
    )


def _container_statuses(pod: Object) -> dict[str, Object]:
    """Return the statuses of steps and sidecars by name; a native sidecar is an init container."""
    status = pod.get("status") or {}
    both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {s["name"]: s for s in both}


def _has_started(by_name: dict[str, Object], name: str) -> bool:
    return _state(by_name, name, "running") is not None or _state(by_name, name, "terminated") is not None


def _state(by_name: dict[str, Object], name: str, key: str) -> Object | None:
    return ((by_name.get(name) or {}).get("state") or {}).get(key)


def _is_turn(task: Object, pod: Object, number: int) -> bool:
    if not all_started(task, pod):
        return False
    by_order = task["spec"].get("handoff") == c.HANDOFF_ANNOTATION or (number == 1 and probed_sidecars(task))
    return not by_order or pod_order(pod) >= number


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
    message = terminated.get("message") or ""
    report = _report(message) or _cut_report(message)
    exit_code = terminated.get("exitCode", 0)
    if report is None:
        return _ended_without_report(terminated, exit_code)
    state, code = report.pop("state"), report.pop("exitCode", exit_code)
    if state in (SKIPPED, CANCELLED):
        # A command that was told to end may well have ended with exit code 0.
        return {"state": state, "exitCode": exit_code, **report}
    if state == SUCCEEDED and exit_code == 0:
        # That all went well needs no words, but for those of the step itself.
        return {"state": SUCCEEDED, "exitCode": 0, **{k: v for k, v in report.items() if k != "continued"}}
    status = {"state": FAILED, "exitCode": exit_code or code, **report}
    if exit_code:
        # The agent itself ends with 0 when the Task goes on.
        status.pop("continued", None)
    if state == SUCCEEDED:
        status.update(reason="Killed", message="the container was ended from outside after its command had succeeded")
    if terminated.get("reason") == OOM_KILLED:
        # The kernel chose the command, and the agent lived to see it end by SIGKILL.
        status.update(reason=OOM_KILLED, message="the container was out of memory (resources.limits.memory)")
    return status


def _ended_without_report(terminated: Object, exit_code: int) -> Object:
    """Return the fields of a step whose agent could not say how it ended: something killed the whole container."""
    status: Object = {"state": FAILED if exit_code else SUCCEEDED, "exitCode": exit_code}
    if exit_code:
        reason = terminated.get("reason") or "Error"
        known = {
            OOM_KILLED: "the container was out of memory (resources.limits.memory)",
            "Error": "the container was ended from outside, with its agent",
        }
        status["reason"] = "Killed" if reason == "Error" else reason
        status["message"] = terminated.get("message") or known.get(reason, reason)
    status.update({k: terminated[k] for k in ("startedAt", "finishedAt") if terminated.get(k)})
    return status


def _report(message: str) -> Object | None:
    """Read the agent's termination message as fields of a step's status; None when it is not the agent's."""
    try:
        report = json.loads(message)
    except ValueError:
        return None
    if not isinstance(report, dict) or report.get("state") not in ENDED:
        return None
    fields = {key: report[key] for key in ("state", "reason", "message") if isinstance(report.get(key), str)}
    fields.update({key: report[key] for key in ("exitCode", "retries") if _is_whole(report.get(key))})
    fields.update({key: report[key] for key in ("startedAt", "finishedAt") if _is_time(report.get(key))})
    if report.get("continued"):
        fields["continued"] = True
    results = {
        key.removeprefix(RESULT_PREFIX): value
        for key, value in report.items()
        if key.startswith(RESULT_PREFIX) and isinstance(value, str)
    }
    if results:
        fields["results"] = results
    return fields


def _cut_report(message: str) -> Object | None:
    """Read what is left of a report that the kubelet cut: others added containers, which have their share, too."""
    match = _BEGIN_OF_REPORT.match(message)
    if not match or match["state"] not in ENDED:
        return None
    fields = {"state": match["state"], "exitCode": int(match["code"]), "reason": "ReportCut"}
    words = "the kubelet cut the agent's report, for containers were added to the Pod; results and times may be lost"
    return {**fields, "message": words, **({"continued": True} if '"continued":1' in message else {})}


def _is_whole(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: t.Any) -> bool:
    try:
        datetime.datetime.strptime(value, AGENT_TIME_FORMAT)
    except (TypeError, ValueError):
        return False
    return True
