# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide which Pod is a Task's, which must go and whether a new one is due. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import parse_time
from .._errors import TaskError
from .._pod.identity import Attempt
from .._pod.life import has_ended, is_ending, is_in_the_way, is_told_to_end, number_of, sidecar_failure
from . import order as _order
from . import verdict as _verdict
from .run import is_finished, is_of_run, recorded_status, with_cancellations


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do about a Task's Pods.

    Attributes:
        action: created, kept, waiting, suspended or finished, as the module task_pod returns it.
        current: the Pod of the present run, if there is one.
        delete: Pods of an earlier run, a second one of this, or one that is not to start any more.
        end: the present Pod, if the kubelet is to end it without its being deleted: a sidecar has failed, or somebody
            else's containers would go on in it.
        fault: what the sidecar did, in words.
        attempt: which attempt to create a Pod for now; None to create none.
        why: why there is another attempt, in words.
    """

    action: str
    current: Object | None = None
    delete: tuple[Object, ...] = ()
    end: Object | None = None
    fault: str = ""
    attempt: Attempt | None = None
    why: str = ""


def current_pod(task: Object, pods: t.Iterable[Object]) -> Object | None:
    """Return the Pod of the Task's present run: that of the last attempt. None without one.

    One that somebody deletes is lost, unless all of its steps had passed by then, or one had failed.
    """
    pods = list(pods)
    task = with_cancellations(task, pods)
    # After the last attempt's Pod is gone, those of failed attempts before it are not taken for it.
    last = int(recorded_status(task).get("attempts", 0))
    of_run = (pod for pod in pods if is_of_run(task, pod) and _attempt_of(pod) >= last)
    candidates = [pod for pod in of_run if not is_ending(pod) or _had_ended(task, pod)]
    return max(candidates, key=lambda pod: (_attempt_of(pod), pod["metadata"]["name"]), default=None)


def plan_pods(task: Object, pods: t.Iterable[Object], now: str) -> Plan:
    """Decide what to do about a Task's Pods, so that at most one is alive at any time.

    Args:
        task: the Task, as the API server returns it.
        pods: every Pod that the Task owns.
        now: the time, as RFC 3339 in UTC.

    Raises:
        TaskError: PodLost, permanent: too many Pods of this run have been lost.
    """
    pods = list(pods)
    task = with_cancellations(task, pods)
    if task["metadata"].get("deletionTimestamp"):
        return Plan("finished")
    finished, current = is_finished(task), current_pod(task, pods)
    if not finished and _verdict.is_suspended(task, current, now):
        return Plan("suspended", delete=tuple(pod for pod in pods if not is_ending(pod)))
    delete = tuple(pod for pod in pods if pod is not current and not is_ending(pod) and not _is_kept(task, pod))
    if finished or _verdict.shall_stop(task, now):
        return _plan_end(task, current, delete, finished)
    return _plan_run(task, pods, current, delete)


def _plan_run(task: Object, pods: list[Object], current: Object | None, delete: tuple[Object, ...]) -> Plan:
    """Return the plan for a Task that shall go on: its Pod is kept, ended, or followed by another."""
    if current and (fault := _verdict.fault_of_sidecar(task, current)):
        return Plan("kept", current, delete, end=current, fault=fault)
    attempt, why = _next_attempt(task, current)
    if attempt is None:
        return Plan("kept", current, delete)
    if current and not has_ended(current):
        return Plan("waiting", current, delete, end=current if _goes_on(current) else None)
    if any(pod is not current and is_in_the_way(pod) for pod in pods):
        return Plan("waiting", current, delete)
    _check_losses(attempt)
    return Plan("created", current, delete, attempt=attempt, why=why)


def _goes_on(pod: Object) -> bool:
    """Tell whether a Pod whose own containers have ended goes on by others' containers: the kubelet won't end those."""
    others = (s.get("state") or {} for s in (pod.get("status") or {}).get("containerStatuses") or [])
    is_held = any(state.get("terminated") is None for state in others)
    return is_held and not is_ending(pod) and not is_told_to_end(pod)


def _plan_end(task: Object, current: Object | None, delete: tuple[Object, ...], finished: bool) -> Plan:
    """Return the plan for a Task that has its verdict, or shall end: a Pod that is not to start any more goes."""
    if current and _is_unstarted(task, current):
        # It has no logs of steps to keep.
        return Plan("finished", delete=(*delete, current))
    return Plan("finished" if finished or current is None else "kept", current, delete)


def _is_unstarted(task: Object, pod: Object) -> bool:
    """Tell whether a Pod has yet to start, and nobody has ended it."""
    over = is_ending(pod) or has_ended(pod) or is_told_to_end(pod)
    return not over and _order.runs_nothing(task, pod)


def _next_attempt(task: Object, current: Object | None) -> tuple[Attempt | None, str]:
    """Return which attempt is due, and why; None while the present one goes on or has decided the Task."""
    if current is None:
        status = recorded_status(task)
        number, retry = int(status.get("attempts", 0)), int(status.get("retries", 0))
        return Attempt(number + 1, retry), "the one before was lost" if number else ""
    number, retry = _attempt_of(current), number_of(current, c.RETRY_ANNOTATION, 0)
    if not has_ended(current) and not _order.is_over(task, current):
        return None, ""
    state = _verdict.judge(task, current, _NEVER)
    if state.reason == "Retrying":
        return Attempt(number + 1, retry + 1), f"retry {retry + 1} of {task['spec']['retries']}"
    if _verdict.loss_of(current) and state.status == _verdict.PENDING:
        return Attempt(number + 1, retry), f"the one before was lost: {state.reason}"
    return None, ""


# A time before every deadline: here only the Pod counts.
_NEVER = "1970-01-01T00:00:00Z"


def _check_losses(attempt: Attempt) -> None:
    losses = attempt.number - 1 - attempt.retry
    if losses >= c.MAX_LOSSES:
        raise TaskError(
            "PodLost",
            f"{losses} Pods of this Task were deleted or lost before it had ended; it is not tried again",
            permanent=True,
        )


def _is_kept(task: Object, pod: Object) -> bool:
    """Tell whether a Pod stays for its logs: an earlier attempt of this run that has ended, or the one that decided."""
    if is_finished(task) and pod["metadata"]["name"] == recorded_status(task).get("podName"):
        return True
    return is_of_run(task, pod) and (has_ended(pod) or is_told_to_end(pod))


def _had_ended(task: Object, pod: Object) -> bool:
    """Tell whether a Pod that is being deleted had decided the Task before."""
    steps = _order.step_statuses(task, pod)
    if sidecar_failure(pod) or _order.passed(steps) == len(steps):
        return True
    metadata = pod["metadata"]
    grace = datetime.timedelta(seconds=metadata.get("deletionGracePeriodSeconds", 0))
    asked = parse_time(metadata["deletionTimestamp"]) - grace
    ran = (step for step in steps if step.get("startedAt"))
    failed = [step for step in ran if step["state"] == _order.FAILED and not step.get("continued")]
    decided = [*failed, _order.refusing_sidecar(task, pod) or {}]
    return any(parse_time(end["finishedAt"]) < asked for end in decided if end.get("finishedAt"))


def _attempt_of(pod: Object) -> int:
    return number_of(pod, c.ATTEMPT_ANNOTATION, 1)
