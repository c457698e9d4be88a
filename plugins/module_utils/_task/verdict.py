# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Judge a Task by its Pod: the state in one word, and why. Pure: the time comes in as an argument."""

from __future__ import annotations

import datetime
import typing as t

from .. import _contract as c
from .._contract import CANCELLED, ENDED, FAILURE, FINAL, PENDING, RUNNING, SKIPPED, SUCCESSFUL
from .._durations import seconds_until
from .._kube.shapes import Pod, StepStatus
from .._pod.life import has_ended, is_ending, is_failed, is_terminal, is_told_to_end, sidecar_failure
from .._pod.tracking import blocks
from .conditions import SUSPENDED, WAITING_FOR_POD, Verdict, condition_of
from .losses import loss_of, overuse_of
from .observed import Observed, ObservedPod
from .order import next_order
from .reports import ENDED_BEFORE_ITS_TURN, FORGOTTEN, KILLED, SIGNAL, SidecarEnd
from .steps import deciding, has_failed, passed
from .unstartable import INVALID_IMAGE_NAME, unstartable
from .waiting import on_the_way, waits_for

DEADLINE_EXCEEDED = "DeadlineExceeded"
TIMED_OUT = "TimedOut"
# What is said of a step that was ended from outside: by somebody, or with the whole Pod.
ENDED_FROM_OUTSIDE = (KILLED, SIGNAL, ENDED_BEFORE_ITS_TURN, *FORGOTTEN)
# The failures after which spec.retries runs the Task again.
STEP_FAILED, SIDECAR_FAILED, INSTALL_FAILED, POD_FAILED = (
    "StepFailed",
    "SidecarFailed",
    "AgentInstallFailed",
    "PodFailed",
)
RETRIED = (STEP_FAILED, SIDECAR_FAILED, INSTALL_FAILED, POD_FAILED)
RETRYING = "Retrying"


def judge(seen: Observed) -> Verdict:
    """Return the state of a Task."""
    pod = seen.current
    if pod is None:
        return _judge_without_pod(seen)
    ended = _end_of(seen, pod) or _never_started(pod)
    if ended and ended.status == FAILURE and ended.reason in RETRIED and _is_retry_left(seen, pod):
        if seen.is_cancelled:
            return _cancelled()
        if not seen.is_time_up:
            next_try = f"retry {pod.attempt.retry + 1} of {seen.spec['retries']} follows"
            return Verdict(RUNNING, RETRYING, f"{ended.message}; {next_try}")
    # The verdict comes after the order that goes with it, so that the two never contradict each other.
    settled = pod.is_order_written and pod.order == next_order(pod.order, pod, seen.shall_stop)
    if ended and (settled or ended.status not in FINAL or is_ending(pod.pod)):
        return ended
    return on_the_way(pod, condition_of(seen.recorded))


def is_suspended(seen: Observed) -> bool:
    """Tell whether a Task that has not been recorded as ended is to have no Pod."""
    return bool(seen.spec.get("suspend")) and not seen.is_cancelled and not _is_decided(seen)


def _is_decided(seen: Observed) -> bool:
    """Tell whether the Pod has decided the Task, though it may not be recorded yet."""
    ended = outcome(seen)
    if ended is None or seen.current is None:
        return False
    return ended.status in FINAL and not (ended.reason in RETRIED and _is_retry_left(seen, seen.current))


def _is_retry_left(seen: Observed, pod: ObservedPod) -> bool:
    """Tell whether another Pod may follow this one, should it fail."""
    return pod.attempt.retry < int(seen.spec.get("retries") or 0)


def _judge_without_pod(seen: Observed) -> Verdict:
    """Return the state of a Task that has no Pod for its present run, but may have some of earlier ones."""
    if seen.is_cancelled:
        return _cancelled()
    if seen.is_time_up:
        return _timed_out(seen)
    for pod in seen.pods:
        if blocks(pod, seen.now):
            return waits_for(pod, seen.now)
    return Verdict(PENDING, WAITING_FOR_POD, "the Pod is about to be made")


def suspended() -> Verdict:
    """Return the state of a Task that is not to run now."""
    return Verdict(PENDING, SUSPENDED, "spec.suspend is true: it runs when that is false")


def outcome(seen: Observed) -> Verdict | None:
    """Return how the present Pod's run has ended, whatever its order is; None while it has not, or without a Pod."""
    return _end_of(seen, seen.current) if seen.current else None


def _end_of(seen: Observed, pod: ObservedPod) -> Verdict | None:
    """Return how the Pod's run has ended; None while it has not."""
    if fault := sidecar_failure(pod.pod):
        return Verdict(FAILURE, SIDECAR_FAILED, fault)
    if pod.all_passed:
        return _success(pod.steps)
    loss = _loss_of(pod)
    if loss and seen.shall_stop:
        return _stopped(seen, pod)
    if loss:
        follows = "another follows" if has_ended(pod.pod) else "another follows when its containers have ended"
        return Verdict(PENDING, loss[0], f"Pod {pod.name} was lost, {follows}: {loss[1]}")
    if (pod.pod.get("status") or {}).get("reason") == DEADLINE_EXCEEDED and not is_told_to_end(pod.pod):
        return _timed_out(seen)
    sidecar = pod.refusing_sidecar
    refused = Verdict(FAILURE, SIDECAR_FAILED, _fault_words(pod, sidecar)) if sidecar else None
    failed = failed_step(pod.steps, seen.shall_stop) or _skipped_step(pod.steps)
    found = refused or _overuse(pod) or failed or _stopped(seen, pod) or _failed_pod(pod.pod)
    return None if _may_be_lost(pod) else found


def _loss_of(pod: ObservedPod) -> tuple[str, str] | None:
    """Return reason and message of a loss; None where a step had failed by itself before the Pod was lost."""
    return None if pod.has_failed_itself else loss_of(pod.pod)


def _never_started(pod: ObservedPod) -> Verdict | None:
    """Return the verdict that a container is which can never be started; None where each may be."""
    if found := unstartable(pod):
        return Verdict(FAILURE, INVALID_IMAGE_NAME, found.words)
    return None


def _overuse(pod: ObservedPod) -> Verdict | None:
    """Return the verdict that the Pod's eviction for a limit of its own is, unless a step had failed by itself."""
    words = overuse_of(pod.pod)
    by_itself = any(has_failed(step) and not _is_from_outside(pod, step) for step in pod.steps)
    return Verdict(FAILURE, POD_FAILED, words) if words and not by_itself else None


def _may_be_lost(pod: ObservedPod) -> bool:
    """Tell whether what failed was ended from outside, and the kubelet has yet to say whether the Pod was lost.

    It says so by the Pod's phase and reason, a moment after the containers' ends. What failed may be the sidecar for
    which the first step did not begin.
    """
    if is_terminal(pod.pod) or is_ending(pod.pod) or not has_ended(pod.pod):
        return False
    if any(has_failed(step) and _is_from_outside(pod, step) for step in pod.steps):
        return True
    return any(has_failed(end) and end.get("reason") in ENDED_FROM_OUTSIDE for end in pod.refusals)


def _is_from_outside(pod: ObservedPod, step: StepStatus) -> bool:
    return step.get("reason") in ENDED_FROM_OUTSIDE or pod.is_from_outside(step["name"])


def fault_of_sidecar(pod: ObservedPod) -> str:
    """Return what a sidecar has done that keeps the first step from its turn, in words; empty where none has."""
    return "" if pod.failed_sidecar is None else _fault_words(pod, pod.failed_sidecar)


def _fault_words(pod: ObservedPod, sidecar: SidecarEnd) -> str:
    """Return in words what a sidecar has done for which no step began."""
    name = sidecar.name
    if sidecar.end is None:
        words = sidecar.words or "a sidecar ended before the first step began"
        return f"{words}; {_log_of(pod, name)}" if name else words
    words = f'sidecar "{name}" ended before the first step began: {cause_of(sidecar.end)}'
    if not sidecar.end["exitCode"]:
        words += " again and again; no step starts until it goes on, so have it go on, or make it a step"
    return f"{words}; {_log_of(pod, name)}"


def deaths_of_sidecars(pod: ObservedPod) -> str:
    """Return which sidecars have died while the steps ran, and how, in words; empty where none has."""
    return "; ".join(
        f'sidecar "{sidecar.name}" ended while the steps ran: {cause_of(sidecar.end)}; {_log_of(pod, sidecar.name)}'
        for sidecar in pod.dead_sidecars
        if sidecar.end
    )


def _log_of(pod: ObservedPod, container: str) -> str:
    return f"its log: kubectl logs {pod.name} -c {container}"


def failed_step(steps: t.Sequence[StepStatus], stopped: bool = False) -> Verdict | None:
    """Return the verdict that the first failed step is, once it counts; None without one.

    Args:
        steps: all of them.
        stopped: whether the Task was told to end.
    """
    for number, step in deciding(steps, stopped):
        if has_failed(step):
            who = f'step "{step["name"]}" ({number} of {len(steps)})'
            return Verdict(FAILURE, STEP_FAILED, f"{who} {_failure_of(step)}")
    return None


def _failure_of(step: StepStatus) -> str:
    if step.get("reason") == ENDED_BEFORE_ITS_TURN:
        words = "kubectl describe pod tells why, such as a livenessProbe or a postStart hook that failed"
        return f"was ended from outside before its turn, with exit code {step['exitCode']}: {words}"
    return f"failed: {cause_of(step)}"


def _skipped_step(steps: t.Sequence[StepStatus]) -> Verdict | None:
    """Return the verdict where a step did not run although all before it had passed; None where there is no such step.

    Its agent could not know that they had.
    """
    turn = passed(steps)
    if turn == len(steps) or steps[turn]["state"] != SKIPPED:
        return None
    step = steps[turn]
    words = f'step "{step["name"]}" ({turn + 1} of {len(steps)}) did not run, though no step before it had failed'
    return Verdict(FAILURE, STEP_FAILED, f"{words}: {step['message']}" if step.get("message") else words)


def _stopped(seen: Observed, pod: ObservedPod) -> Verdict | None:
    """Return the verdict of a Task that was told to end, once it has."""
    all_ended = all(step["state"] in ENDED for step in pod.steps)
    over = all_ended or is_terminal(pod.pod) or pod.runs_nothing
    if over and seen.is_cancelled:
        return _cancelled()
    if over and seen.is_time_up:
        return _timed_out(seen)
    if seen.is_time_up and _is_given_up(seen):
        words = f"{_timed_out(seen).message}; its steps could not be ended, is its node lost?"
        return Verdict(FAILURE, TIMED_OUT, words)
    if all_ended:
        words = f"the steps were told to end: the Pod's order is {pod.order}"
        return Verdict(CANCELLED, "CancelledByOrder", words)
    return None


def _success(steps: t.Sequence[StepStatus]) -> Verdict:
    failed = [step["name"] for step in steps if step.get("continued")]
    if failed:
        words = f"all {len(steps)} steps ended; failed, and continued: {', '.join(failed)}"
        return Verdict(SUCCESSFUL, "Succeeded", words)
    return Verdict(SUCCESSFUL, "Succeeded", f"all {len(steps)} steps succeeded")


def _cancelled() -> Verdict:
    return Verdict(CANCELLED, "Cancelled", "spec.cancel is true")


def _timed_out(seen: Observed) -> Verdict:
    return Verdict(FAILURE, TIMED_OUT, f"the Task did not end within its timeout of {seen.spec.get('timeout')}")


def _is_given_up(seen: Observed) -> bool:
    grace = datetime.timedelta(seconds=c.TIMEOUT_GRACE)
    return seen.deadline is not None and seconds_until(seen.deadline + grace, seen.now) <= 0


def cause_of(step: StepStatus) -> str:
    """Return why a step failed, in words."""
    words = f"exit code {step['exitCode']}"
    if step.get("reason") not in (None, "Error"):
        words += f", {step['reason']}"
    if step.get("retries"):
        words += f", after {step['retries']} retries"
    return f"{words}: {step['message']}" if step.get("message") else words


def _failed_pod(pod: Pod) -> Verdict | None:
    status = pod.get("status") or {}
    if not is_failed(pod):
        return None
    for container in status.get("initContainerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if container["name"] == c.INSTALL_CONTAINER and ended.get("exitCode"):
            detail = ended.get("message") or ended.get("reason") or "no reason given"
            return Verdict(
                FAILURE,
                INSTALL_FAILED,
                f"init container {container['name']} ended with exit code {ended['exitCode']}: {detail}",
            )
    words = (status.get("message") or "").strip() or "the Pod failed before its steps had ended"
    return Verdict(FAILURE, POD_FAILED, f"{status['reason']}: {words}" if status.get("reason") else words)
