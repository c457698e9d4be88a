# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Judge a Task by its Pod: the state in one word, and why. Pure: the time comes in as an argument."""

from __future__ import annotations

import datetime
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import parse_time, seconds_until
from .._pod.life import (
    has_ended,
    is_ending,
    is_in_the_way,
    is_terminal,
    is_told_to_end,
    number_of,
    pod_order,
    sidecar_failure,
)
from . import order as _order
from .run import FINAL, condition_of, deadline, recorded_status

PENDING, RUNNING, SUCCESSFUL, FAILURE, CANCELLED = "Pending", "Running", "Successful", "Failure", "Cancelled"
# What the kubelet, the node controller and others say of a Pod that they ended through no fault of its own.
LOSSES = (
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "NodeShutdown",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfpods",
    "Preempting",
    "Shutdown",
    "Terminated",
    "UnexpectedAdmissionError",
)
# What the kubelet says of a container that it finds no trace of.
FORGOTTEN = ("ContainerStatusUnknown", "Unknown")
# What is told of the Pod when something disrupted it (Kubernetes 1.26 and later).
DISRUPTION_CONDITION = "DisruptionTarget"
# The kubelet's words for an image that it could not pull, and for the time until it tries again.
PULL_ERROR, BACK_OFF = "ErrImagePull", "ImagePullBackOff"
DEADLINE_EXCEEDED = "DeadlineExceeded"
TIMED_OUT = "TimedOut"
SIDECAR_FAILED = "SidecarFailed"
# What is said of a step that was ended from outside: by somebody, or with the whole Pod.
ENDED_FROM_OUTSIDE = ("Killed", "Signal", *FORGOTTEN)
# The failures after which spec.retries runs the Task again.
RETRIED = ("StepFailed", SIDECAR_FAILED, "AgentInstallFailed", "PodFailed")


class Verdict(t.NamedTuple):
    """The Task's state in one word, and why."""

    status: str
    reason: str
    message: str


def is_time_up(task: Object, now: str) -> bool:
    """Tell whether the Task's timeout has passed."""
    moment = deadline(task)
    return moment is not None and seconds_until(moment, now) <= 0


def shall_stop(task: Object, now: str) -> bool:
    """Tell whether what still runs of the Task shall end."""
    return bool(task["spec"].get("cancel")) or is_time_up(task, now)


def loss_of(pod: Object) -> tuple[str, str] | None:
    """Return reason and message of a Pod that was ended through no fault of a step; None of any other."""
    status = pod.get("status") or {}
    if status.get("phase") != "Failed":
        return None
    if status.get("reason") in LOSSES:
        return status["reason"], status.get("message") or status["reason"]
    for condition in status.get("conditions") or []:
        if condition["type"] == DISRUPTION_CONDITION and condition["status"] == "True":
            reason = condition.get("reason") or DISRUPTION_CONDITION
            return reason, condition.get("message") or reason
    return _forgotten(status)


def _forgotten(status: Object) -> tuple[str, str] | None:
    """Return the loss of a Pod whose containers the kubelet does not know any more: its node was started anew."""
    ended = [(s.get("state") or {}).get("terminated") or {} for s in status.get("containerStatuses") or []]
    failed = [end for end in ended if end.get("exitCode")]
    if failed and all(end.get("reason") in FORGOTTEN and not end.get("message") for end in failed):
        return "ContainerStatusUnknown", "the node does not know how its containers ended; was it started anew?"
    return None


def judge(task: Object, pod: Object, now: str) -> Verdict:
    """Return the state of a Task that has this Pod for its present run."""
    steps = _order.step_statuses(task, pod)
    ended = _end_of(task, pod, steps, now)
    if ended and ended.status == FAILURE and ended.reason in RETRIED and is_retry_left(task, pod):
        if task["spec"].get("cancel"):
            return _cancelled()
        if not is_time_up(task, now):
            next_try = f"retry {number_of(pod, c.RETRY_ANNOTATION, 0) + 1} of {task['spec']['retries']} follows"
            return Verdict(RUNNING, "Retrying", f"{ended.message}; {next_try}")
    # The verdict comes after the order that goes with it, so that the two never contradict each other.
    order = pod_order(pod)
    settled = order == _order.next_order(order, task, pod, shall_stop(task, now))
    if ended and (settled or ended.status not in FINAL or is_ending(pod)):
        return ended
    return on_the_way(task, pod, steps)


def is_decided(task: Object, pod: Object, now: str) -> bool:
    """Tell whether the Pod has decided the Task, though it may not be recorded yet."""
    ended = _end_of(task, pod, _order.step_statuses(task, pod), now)
    retried = ended and ended.reason in RETRIED and is_retry_left(task, pod)
    return ended is not None and ended.status in FINAL and not retried


def is_suspended(task: Object, pod: Object | None, now: str) -> bool:
    """Tell whether a Task that has not been recorded as ended is to have no Pod; ``pod`` is that of its run."""
    spec = task["spec"]
    return bool(spec.get("suspend")) and not spec.get("cancel") and not (pod and is_decided(task, pod, now))


def is_retry_left(task: Object, pod: Object) -> bool:
    """Tell whether another Pod may follow this one, should it fail."""
    return number_of(pod, c.RETRY_ANNOTATION, 0) < int(task["spec"].get("retries") or 0)


def judge_without_pod(task: Object, pods: t.Sequence[Object], now: str) -> Verdict:
    """Return the state of a Task that has no Pod for its present run; ``pods`` are those of earlier ones."""
    if task["spec"].get("cancel"):
        return _cancelled()
    if is_time_up(task, now):
        return _timed_out(task)
    for pod in pods:
        if is_in_the_way(pod):
            return _waits_for(pod, now)
    return Verdict(PENDING, "WaitingForPod", "the Pod is about to be made")


def suspended() -> Verdict:
    """Return the state of a Task that is not to run now."""
    return Verdict(PENDING, "Suspended", "spec.suspend is true: it runs when that is false")


def _end_of(task: Object, pod: Object, steps: list[Object], now: str) -> Verdict | None:
    """Return how the Pod's run has ended; None while it has not."""
    if fault := sidecar_failure(pod):
        return Verdict(FAILURE, SIDECAR_FAILED, fault)
    if _order.passed(steps) == len(steps):
        return _success(steps)
    loss = loss_of(pod)
    if loss and shall_stop(task, now):
        return _stopped(task, pod, steps, now)
    if loss:
        return Verdict(PENDING, loss[0], f"Pod {pod['metadata']['name']} was lost, another follows: {loss[1]}")
    if (pod.get("status") or {}).get("reason") == DEADLINE_EXCEEDED and not is_told_to_end(pod):
        return _timed_out(task)
    sidecar = _order.refusing_sidecar(task, pod)
    refused = Verdict(FAILURE, SIDECAR_FAILED, _fault_words(pod, sidecar)) if sidecar else None
    found = refused or failed_step(steps) or _stopped(task, pod, steps, now) or _failed_pod(pod)
    return None if _may_be_lost(pod, [*steps, *([sidecar] if sidecar else [])]) else found


def _may_be_lost(pod: Object, ends: list[Object]) -> bool:
    """Tell whether what failed was ended from outside, and the kubelet has yet to say whether the Pod was lost.

    It says so by the Pod's phase and reason, a moment after the containers' ends. ``ends`` are the steps, and the
    sidecar for which the first one did not begin.
    """
    is_said = is_terminal(pod) or is_ending(pod)
    failed = (x for x in ends if x.get("state", _order.FAILED) == _order.FAILED and not x.get("continued"))
    return not is_said and has_ended(pod) and any(x.get("reason") in ENDED_FROM_OUTSIDE for x in failed)


def fault_of_sidecar(task: Object, pod: Object) -> str:
    """Return what a sidecar has done that keeps the first step from its turn, in words; empty where none has."""
    sidecar = _order.failed_sidecar(task, pod)
    return "" if sidecar is None else _fault_words(pod, sidecar)


def _fault_words(pod: Object, sidecar: Object) -> str:
    """Return in words what a sidecar has done for which no step began."""
    name = sidecar["name"]
    if "exitCode" not in sidecar:
        words = sidecar["words"] or "a sidecar ended before the first step began"
        return f"{words}; {_log_of(pod, name)}" if name else words
    words = f'sidecar "{name}" ended before the first step began: {cause_of(sidecar)}'
    if not sidecar["exitCode"]:
        words += " again and again; no step starts until it goes on, so have it go on, or make it a step"
    return f"{words}; {_log_of(pod, name)}"


def deaths_of_sidecars(task: Object, pod: Object, now: str) -> str:
    """Return which sidecars have died while the steps ran, and how, in words; empty where none is to be told of."""
    return "; ".join(
        f'sidecar "{sidecar["name"]}" ended while the steps ran: {cause_of(sidecar)}; {_log_of(pod, sidecar["name"])}'
        for sidecar in _order.dead_sidecars(task, pod)
        if not _told_in(task, pod, sidecar, now)
    )


def next_death_in(task: Object, pod: Object, now: str) -> float | None:
    """Return after how many seconds the death of a sidecar is to be told; None without one that is not yet told."""
    waits = (_told_in(task, pod, sidecar, now) for sidecar in _order.dead_sidecars(task, pod))
    return min((wait for wait in waits if wait), default=None)


def _told_in(task: Object, pod: Object, sidecar: Object, now: str) -> float:
    """Return how many seconds are to pass until a sidecar's death may be told: the first step may not have begun."""
    has_begun = _order.step_statuses(task, pod)[0].get("startedAt")
    if has_begun or sidecar["since"] is None:
        return 0
    passed = -seconds_until(parse_time(sidecar["since"]), now)
    # The node's clock may be another.
    return c.DEATH_TOLD_AFTER - passed if 0 <= passed < c.DEATH_TOLD_AFTER else 0


def _log_of(pod: Object, container: str) -> str:
    return f"its log: kubectl logs {pod['metadata']['name']} -c {container}"


def failed_step(steps: list[Object]) -> Verdict | None:
    """Return the verdict that the first failed step is; None without one."""
    for number, step in enumerate(steps, start=1):
        if step["state"] == _order.FAILED and not step.get("continued"):
            words = f'step "{step["name"]}" ({number} of {len(steps)}) failed: {cause_of(step)}'
            return Verdict(FAILURE, "StepFailed", words)
    return None


def _stopped(task: Object, pod: Object, steps: list[Object], now: str) -> Verdict | None:
    """Return the verdict of a Task that was told to end, once it has."""
    all_ended = all(step["state"] in _order.ENDED for step in steps)
    over = all_ended or is_terminal(pod) or _order.runs_nothing(task, pod)
    if over and task["spec"].get("cancel"):
        return _cancelled()
    if over and is_time_up(task, now):
        return _timed_out(task)
    if is_time_up(task, now) and _is_given_up(task, now):
        return Verdict(
            FAILURE, TIMED_OUT, f"{_timed_out(task).message}; its steps could not be ended, is its node lost?"
        )
    if all_ended:
        order = pod_order(pod)
        return Verdict(CANCELLED, "CancelledByOrder", f"the steps were told to end: the Pod's order is {order}")
    return None


def _success(steps: list[Object]) -> Verdict:
    failed = [step["name"] for step in steps if step.get("continued")]
    if failed:
        words = f"all {len(steps)} steps ended; failed, and continued: {', '.join(failed)}"
        return Verdict(SUCCESSFUL, "Succeeded", words)
    return Verdict(SUCCESSFUL, "Succeeded", f"all {len(steps)} steps succeeded")


def _cancelled() -> Verdict:
    return Verdict(CANCELLED, "Cancelled", "spec.cancel is true")


def _timed_out(task: Object) -> Verdict:
    return Verdict(FAILURE, TIMED_OUT, f"the Task did not end within its timeout of {task['spec'].get('timeout')}")


def _is_given_up(task: Object, now: str) -> bool:
    moment = deadline(task)
    return moment is not None and seconds_until(moment + datetime.timedelta(seconds=c.TIMEOUT_GRACE), now) <= 0


def cause_of(step: Object) -> str:
    """Return why a step failed, in words."""
    words = f"exit code {step['exitCode']}"
    if step.get("reason") not in (None, "Error"):
        words += f", {step['reason']}"
    if step.get("retries"):
        words += f", after {step['retries']} retries"
    return f"{words}: {step['message']}" if step.get("message") else words


def _failed_pod(pod: Object) -> Verdict | None:
    status = pod.get("status") or {}
    if status.get("phase") != "Failed":
        return None
    for container in status.get("initContainerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if container["name"] == c.INSTALL_CONTAINER and ended.get("exitCode"):
            detail = ended.get("message") or ended.get("reason") or "no reason given"
            return Verdict(
                FAILURE,
                "AgentInstallFailed",
                f"init container {container['name']} ended with exit code {ended['exitCode']}: {detail}",
            )
    words = status.get("message") or "the Pod failed before its steps had ended"
    return Verdict(FAILURE, "PodFailed", f"{status['reason']}: {words}" if status.get("reason") else words)


def on_the_way(task: Object, pod: Object, steps: list[Object]) -> Verdict:
    """Return the state of a Task whose Pod has not ended: what runs, or what it waits for."""
    order = pod_order(pod)
    waits = all(s["state"] == _order.WAITING for s in steps)
    if order >= _order.held_at(task, order) and _order.all_started(task, pod) and not _is_any_running(steps):
        state = PENDING if waits else RUNNING
        return Verdict(state, "Held", f"the Task's annotation {c.HOLD_ANNOTATION} holds the order at {order}")
    if order == c.ORDER_INITIAL and waits:
        return _pending(task, pod, steps)
    ended = sum(step["state"] in _order.ENDED for step in steps)
    return Verdict(RUNNING, "Running", f"{ended} of {len(steps)} steps have ended")


def _is_any_running(steps: list[Object]) -> bool:
    return any(step["state"] == _order.RUNNING for step in steps)


def _pending(task: Object, pod: Object, steps: list[Object]) -> Verdict:
    """Say what a Pod that has not started waits for."""
    found = _waiting_container(pod)
    if found:
        name, image, reason, detail = found
        where = f"{_role_of(task, name)}, image {image}: "
        before = condition_of(recorded_status(task))
        if reason == BACK_OFF and before.get("reason") == PULL_ERROR and before["message"].startswith(where):
            # Between two tries the kubelet has no words of the registry; those of the last one still hold.
            return Verdict(PENDING, PULL_ERROR, before["message"])
        return Verdict(PENDING, reason, where + detail)
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Verdict(PENDING, condition.get("reason", "Unschedulable"), condition.get("message", ""))
    unready = [s["name"] for s in _order.probed_sidecars(task)]
    if unready and all(step["state"] == _order.WAITING for step in steps) and _order.all_started(task, pod):
        return Verdict(PENDING, "Pending", f"the Pod is starting; the first step awaits sidecar {', '.join(unready)}")
    return Verdict(PENDING, "Pending", "the Pod is starting")


def _waiting_container(pod: Object) -> tuple[str, str, str, str] | None:
    """Return name, image, reason and message of the first container that waits for more than its turn to start."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    images = {x["name"]: x["image"] for x in [*spec.get("initContainers", []), *spec.get("containers", [])]}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, *_order.ORDINARY_WAITS):
            name, reason = container["name"], waiting["reason"]
            image = images.get(name) or container.get("image", "")
            return name, image, reason, waiting.get("message") or reason
    return None


def _role_of(task: Object, name: str) -> str:
    if name == c.INSTALL_CONTAINER:
        return "the agent"
    sidecars = {sidecar["name"] for sidecar in _order.sidecars_of(task)}
    return f'{"sidecar" if name in sidecars else "step"} "{name}"'


def _waits_for(pod: Object, now: str) -> Verdict:
    name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName")
    where = f" on node {node}" if node else ""
    due = pod["metadata"].get("deletionTimestamp")
    if due and -seconds_until(parse_time(due), now) >= c.STUCK_AFTER:
        return Verdict(
            PENDING,
            "PodStuck",
            f"Pod {name}{where} should have ended at {due}; its node may be lost. If it is gone for good, delete it "
            f"(kubectl delete node), or the Pod (kubectl delete pod {name} --force): the Task then goes on",
        )
    return Verdict(PENDING, "WaitingForPod", f"Pod {name}{where} of an earlier run or attempt is still ending")
