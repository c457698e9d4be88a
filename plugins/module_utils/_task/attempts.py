# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide which Pod is a Task's, which must go and whether a new one is due. Pure."""

from __future__ import annotations

import dataclasses

from .. import _contract as c
from .._contract import PENDING
from .._errors import TaskError
from .._kube.shapes import Pod
from .._pod.adoption import is_recorded
from .._pod.identity import Attempt
from .._pod.life import has_ended, is_ending, is_told_to_end
from .._pod.tracking import blocks, is_over
from .losses import loss_of
from .observed import Observed, ObservedPod
from .run import is_of_run
from .verdict import RETRYING, fault_of_sidecar, is_suspended, judge


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do about a Task's Pods.

    Attributes:
        action: created, kept, waiting, suspended or finished, as the module task_pod returns it.
        current: the Pod of the present run, if there is one.
        delete: Pods of an earlier run, a second one of this, or one that is not to start any more.
        end: the present Pod, if the kubelet is to end it without its being deleted: a sidecar has failed, a step has
            failed while another still waits for its image, or somebody else's containers would go on in it.
        fault: what the sidecar did, in words.
        attempt: which attempt to create a Pod for now; None to create none.
        why: why there is another attempt, in words.
    """

    action: str
    current: Pod | None = None
    delete: tuple[Pod, ...] = ()
    end: Pod | None = None
    fault: str = ""
    attempt: Attempt | None = None
    why: str = ""


def plan_pods(seen: Observed) -> Plan:
    """Decide what to do about a Task's Pods, so that at most one is alive at any time.

    Raises:
        TaskError: PodLost, permanent: too many Pods of this run have been lost.
    """
    if seen.task["metadata"].get("deletionTimestamp"):
        return Plan("finished")
    if not seen.is_finished and is_suspended(seen):
        return Plan("suspended", delete=tuple(pod for pod in seen.pods if not is_ending(pod)))
    others = [pod for pod in seen.pods if seen.current is None or pod is not seen.current.pod]
    delete = tuple(pod for pod in others if not is_ending(pod) and not _is_kept(seen, pod))
    if seen.is_finished or seen.shall_stop:
        return _plan_end(seen, delete)
    return _plan_run(seen, others, delete)


def _plan_run(seen: Observed, others: list[Pod], delete: tuple[Pod, ...]) -> Plan:
    """Return the plan for a Task that shall go on: its Pod is kept, ended, or followed by another."""
    current = seen.current
    pod = current.pod if current else None
    if current and (fault := fault_of_sidecar(current)):
        return Plan("kept", pod, delete, end=pod, fault=fault)
    if current and pod and _waits_in_vain(seen, current):
        return Plan("waiting", pod, delete, end=pod)
    attempt, why = _next_attempt(seen)
    if attempt is None:
        return Plan("kept", pod, delete)
    if pod and not is_over(pod, seen.now):
        return Plan("waiting", pod, delete, end=pod if current and current.holders else None)
    if any(blocks(other, seen.now) for other in others):
        return Plan("waiting", pod, delete)
    _check_losses(attempt, pod or _recorded_pod(seen))
    return Plan("created", pod, delete, attempt=attempt, why=why)


def _waits_in_vain(seen: Observed, current: ObservedPod) -> bool:
    """Tell whether a Pod has failed although one of its containers has not started yet: its image may never come."""
    pod = current.pod
    is_going = has_ended(pod) or is_ending(pod) or is_told_to_end(pod)
    return current.runs_nothing and not is_going and judge(seen).reason == RETRYING


def _plan_end(seen: Observed, delete: tuple[Pod, ...]) -> Plan:
    """Return the plan for a Task that has its verdict, or shall end: a Pod that is not to start any more goes."""
    if seen.current is None:
        return Plan("finished", None, delete)
    pod = seen.current.pod
    ends_anyway = is_ending(pod) or has_ended(pod) or is_told_to_end(pod)
    if seen.current.runs_nothing and not ends_anyway:
        # It has no logs of steps to keep.
        return Plan("finished", delete=(*delete, pod))
    return Plan("finished" if seen.is_finished else "kept", pod, delete)


def _next_attempt(seen: Observed) -> tuple[Attempt | None, str]:
    """Return which attempt is due, and why; None while the present one goes on or has decided the Task."""
    current = seen.current
    if current is None:
        number, retry = int(seen.recorded.get("attempts", 0)), int(seen.recorded.get("retries", 0))
        return Attempt(number + 1, retry), _loss_in_words(seen) if number else ""
    number, retry = current.attempt.number, current.attempt.retry
    if not is_over(current.pod, seen.now) and not current.is_over:
        return None, ""
    state = judge(seen)
    if state.reason == RETRYING:
        return Attempt(number + 1, retry + 1), f"retry {retry + 1} of {seen.spec['retries']}"
    if loss_of(current.pod) and state.status == PENDING:
        return Attempt(number + 1, retry), f"the one before was lost: {state.reason}"
    return None, ""


def _loss_in_words(seen: Observed) -> str:
    """Return what became of the last attempt's Pod, which has not decided the Task."""
    name, words = seen.recorded.get("podName"), "the one before was lost"
    if is_removed(seen):
        return f"{words}: its Pod {name} was removed before its end was known"
    pod = _recorded_pod(seen)
    if pod is None:
        return words
    loss = loss_of(pod)
    return f"{words}: {loss[0]}" if loss else f"{words}: Pod {name} was deleted"


def _recorded_pod(seen: Observed) -> Pod | None:
    """Return the last attempt's Pod, be it lost; None where it is gone."""
    return next((pod for pod in seen.pods if is_recorded(seen.recorded, pod)), None)


def is_removed(seen: Observed) -> bool:
    """Tell whether the last attempt's Pod is gone though nobody has seen how it ended."""
    uid = seen.recorded.get("podUID")
    return bool(uid) and not seen.is_finished and _recorded_pod(seen) is None


def _check_losses(attempt: Attempt, last: Pod | None) -> None:
    """Refuse another attempt after too many losses, with the cause of the last one."""
    losses = attempt.number - 1 - attempt.retry
    if losses >= c.MAX_LOSSES:
        loss = loss_of(last) if last else None
        cause = f"{loss[0]}: {loss[1]}" if loss else "deleted, or removed with its node"
        raise TaskError(
            "PodLost",
            f"{losses} Pods of this Task were deleted or lost before it had ended; it is not tried again. "
            f"The last one: {cause}",
            permanent=True,
        )


def _is_kept(seen: Observed, pod: Pod) -> bool:
    """Tell whether a Pod stays for its logs: an earlier attempt of this run that has ended, or the one that decided."""
    if seen.is_finished and is_recorded(seen.recorded, pod):
        return True
    return is_of_run(seen.task, pod) and (has_ended(pod) or is_told_to_end(pod))
