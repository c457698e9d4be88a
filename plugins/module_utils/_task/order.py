# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Read the steps' states from a Pod, and decide the next order from them. Pure."""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import parse_time
from .._pod.life import has_ended, is_ending, is_terminal, pod_order, sidecar_failure

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
# Its word for one that it starts again, later each time; and after how many starts a sidecar will come to nothing else.
CRASH_LOOP, RESTARTS = "CrashLoopBackOff", 2
# How a container ends that is stopped, or killed: perhaps with the whole Pod.
STOPPED_CODES = (137, 143)
# The words of the kubelet, and of older ones, for a container that was made but could not be started.
START_ERRORS = ("StartError", "ContainerCannotRun")


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
    if sidecar_failure(pod):
        # They were ended with the Pod, should they have been started at all.
        statuses = [{**step, "state": CANCELLED} if step["state"] == FAILED else step for step in statuses]
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
    own = [*task["spec"]["steps"], *sidecars_of(task)]
    return all(_has_started(by_name.get(container["name"]) or {}) for container in own)


def runs_nothing(task: Object, pod: Object) -> bool:
    """Tell whether the Pod has yet to start a container while no step's runs.

    Then no step has run: the first one begins when every container has started.
    """
    by_name = _container_statuses(pod)
    running = any(_state(by_name, step["name"], "running") is not None for step in task["spec"]["steps"])
    return not running and not all_started(task, pod)


def is_over(task: Object, pod: Object) -> bool:
    """Tell whether all of the Task's own containers have ended; somebody may have added others that have not."""
    by_name, native = _container_statuses(pod), _init_containers(pod)
    own = [*task["spec"]["steps"], *sidecars_of(task)]
    return all(_state(by_name, x["name"], "terminated") is not None for x in own if x["name"] not in native)


def sidecars_of(task: Object) -> list[Object]:
    """Return the Task's sidecars."""
    return task["spec"].get("sidecars") or []


def probed_sidecars(task: Object) -> list[Object]:
    """Return the sidecars that the first step awaits until they are ready."""
    return [sidecar for sidecar in sidecars_of(task) if sidecar.get("readinessProbe")]


def failed_sidecar(task: Object, pod: Object) -> Object | None:
    """Return the first sidecar that keeps the first step from its turn; None where none does, or its turn has come.

    It could not be started, it died, or the kubelet starts it again and again and no step before it goes on. How it
    ended is told as of a step (name, exitCode, reason, message). Where no order is awaited, the agents decide once all
    containers have started: if a sidecar has failed by then, the first step does not begin, and the Pod ends by itself.
    """
    if pod_order(pod) > c.ORDER_INITIAL or is_ending(pod) or has_ended(pod) or sidecar_failure(pod):
        return None
    if refused := refusing_sidecar(task, pod):
        return None if all_started(task, pod) else refused
    by_name, native = _container_statuses(pod), _init_containers(pod)
    holds = not all(_has_started(by_name.get(step["name"]) or {}) for step in task["spec"]["steps"])
    is_turn, quits = _is_turn(task, pod, 1), pod_order(pod) == c.ORDER_QUIT
    if quits and not holds:
        return None
    for sidecar in sidecars_of(task):
        name = sidecar["name"]
        container, is_native = by_name.get(name) or {}, name in native
        if is_turn:
            end = None if is_native else _start_error(container)
        else:
            end = _early_end(container, is_native, holds, quits)
        if end:
            return _end_of_sidecar(name, end)
    return None


def refusing_sidecar(task: Object, pod: Object) -> Object | None:
    """Return the sidecar for whose failure the first step did not begin; None if it did, or may yet.

    No step is before the first one: only for a sidecar it is skipped. How that ended is told as ``failed_sidecar`` has
    it, or else in the words of the first step's agent.
    """
    by_name, native = _container_statuses(pod), _init_containers(pod)
    end = _state(by_name, task["spec"]["steps"][0]["name"], "terminated")
    sidecars = [sidecar["name"] for sidecar in sidecars_of(task)]
    if not end or not sidecars or _ended(end)["state"] != SKIPPED:
        return None
    named = [name for name in sidecars if name == _sidecar_in(end.get("message") or "")]
    for name in named or sidecars:
        if found := _bad_end(by_name.get(name) or {}, name in native):
            return _end_of_sidecar(name, found)
    return {"name": named[0] if named else "", "words": _ended(end).get("message", "")}


def dead_sidecars(task: Object, pod: Object) -> list[Object]:
    """Return the sidecars that died while the steps ran: how each ended, as ``failed_sidecar`` has it.

    ``since`` is the time from which on the first step can be expected to know, where there is one.
    """
    order = pod_order(pod)
    if order == c.ORDER_QUIT or is_ending(pod) or is_terminal(pod) or refusing_sidecar(task, pod):
        return []
    if order == c.ORDER_INITIAL and not _is_turn(task, pod, 1):
        return []
    by_name, native = _container_statuses(pod), _init_containers(pod)
    up = (_state(by_name, task["spec"]["steps"][0]["name"], "running") or {}).get("startedAt")
    over = _end_of_steps(step_statuses(task, pod))
    dead = []
    for sidecar in sidecars_of(task):
        name = sidecar["name"]
        end = _bad_end(by_name.get(name) or {}, name in native, over)
        if end:
            death = _end_of_sidecar(name, end)
            times = [time for time in (up, death.get("finishedAt")) if time]
            dead.append({**death, "since": max(times, key=parse_time, default=None)})
    return dead


def _early_end(container: Object, is_native: bool, holds: bool, quits: bool) -> Object | None:
    """Return how a sidecar ended before the first step's turn; None where it has not, or may have been told to.

    Args:
        container: its status.
        is_native: whether the kubelet starts it again.
        holds: whether the kubelet has yet to start a step's container.
        quits: whether the order tells all to end; a native sidecar does not see it.
    """
    if quits and not is_native:
        return None
    return _bad_end(container, is_native) or (_idle_end(container) if holds else None)


def _end_of_steps(steps: list[Object]) -> datetime.datetime | None:
    """Return when the last step ended; None while one has not, the earliest time there is where that is not known."""
    if any(step["state"] not in ENDED for step in steps):
        return None
    ends = (parse_time(step["finishedAt"]) for step in steps if step.get("finishedAt"))
    return max(ends, default=datetime.datetime.min.replace(tzinfo=datetime.UTC))


def _bad_end(container: Object, is_native: bool, over: datetime.datetime | None = None) -> Object | None:
    """Return how a sidecar's container ended that was not to end; None if it has not, or has ended well.

    A native one that was stopped may have been stopped with its Pod. Otherwise the kubelet starts it again, and how it
    ended is in lastState then. After the steps (``over``) the sidecars end, too, each in its way.
    """
    now, last = ((container.get(key) or {}).get("terminated") or {} for key in ("state", "lastState"))
    code = now.get("exitCode")
    if code and not (is_native and code in STOPPED_CODES) and (over is None or _ended_before(now, over)):
        return now
    return last if last.get("exitCode") else None


def _ended_before(end: Object, moment: datetime.datetime) -> bool:
    """Tell whether a container ended before; only the agent's report has the time to the millisecond."""
    finished = (_report(end.get("message") or "") or {}).get("finishedAt")
    return finished is not None and parse_time(finished) < moment


def _end_of_sidecar(name: str, end: Object) -> Object:
    """Return how a sidecar ended: by the agent's report, or where none started it, by the kubelet's."""
    if _report(end.get("message") or ""):
        return {**_ended(end), "name": name}
    words = {k: end[k] for k in ("reason", "message", "finishedAt") if end.get(k) not in (None, "", "Completed")}
    return {"name": name, "exitCode": end.get("exitCode", 0), **words}


def _start_error(container: Object) -> Object | None:
    """Return how an ordinary sidecar has ended whose agent never ran, so that the first step would wait for ever."""
    end = (container.get("state") or {}).get("terminated") or {}
    return end if end.get("reason") in START_ERRORS else None


def _idle_end(container: Object) -> Object | None:
    """Return how a native sidecar has ended that ends again and again; None of any other."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    last = (container.get("lastState") or {}).get("terminated")
    return last if waiting.get("reason") == CRASH_LOOP and container.get("restartCount", 0) >= RESTARTS else None


def _may_begin(order: int, task: Object, pod: Object) -> bool:
    """Tell whether all is there that the order waits for; a sidecar that was ready once need not stay so."""
    if not all_started(task, pod):
        return False
    if order > c.ORDER_INITIAL:
        return True
    by_name = _container_statuses(pod)
    are_ready = all(_is_ready_or_done(by_name.get(sidecar["name"]) or {}) for sidecar in probed_sidecars(task))
    return are_ready and failed_sidecar(task, pod) is None and refusing_sidecar(task, pod) is None


def _is_ready_or_done(container: Object) -> bool:
    state = container.get("state") or {}
    return bool(container.get("ready")) or (state.get("running") is None and _has_started(container))


def _init_containers(pod: Object) -> set[str]:
    """Return the names of the Pod's init containers; a native sidecar is one."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    both = [*(spec.get("initContainers") or []), *(status.get("initContainerStatuses") or [])]
    return {container["name"] for container in both}


def _container_statuses(pod: Object) -> dict[str, Object]:
    """Return the statuses of steps and sidecars by name; a native sidecar is an init container."""
    status = pod.get("status") or {}
    both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {s["name"]: s for s in both}


def _has_started(container: Object) -> bool:
    """Tell whether a container has been started, be it some time ago: the kubelet starts a native sidecar again."""
    state, last = container.get("state") or {}, container.get("lastState") or {}
    return any(x is not None for x in (state.get("running"), state.get("terminated"), last.get("terminated")))


def _state(by_name: dict[str, Object], name: str, key: str) -> Object | None:
    return ((by_name.get(name) or {}).get("state") or {}).get(key)


def _is_turn(task: Object, pod: Object, number: int) -> bool:
    if not all_started(task, pod) or (number == 1 and _will_not_begin(task, pod)):
        return False
    by_order = task["spec"].get("handoff") == c.HANDOFF_ANNOTATION or (number == 1 and bool(probed_sidecars(task)))
    return not by_order or pod_order(pod) >= number


def _will_not_begin(task: Object, pod: Object) -> bool:
    """Tell whether the first step's agent, which has just been started, is sure to find that a sidecar has failed."""
    by_name, native = _container_statuses(pod), _init_containers(pod)
    started = (_state(by_name, task["spec"]["steps"][0]["name"], "running") or {}).get("startedAt")
    if not started:
        return False
    ends = (_bad_end(by_name.get(sidecar["name"]) or {}, sidecar["name"] in native) for sidecar in sidecars_of(task))
    return any(_ended_before(end, parse_time(started)) for end in ends if end)


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


def _sidecar_in(message: str) -> str:
    """Return which sidecar the agent's report of a first step names that did not begin; empty if it names none."""
    try:
        report = json.loads(message)
    except ValueError:
        return ""
    name = report.get("sidecar") if isinstance(report, dict) else None
    return name if isinstance(name, str) else ""


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
