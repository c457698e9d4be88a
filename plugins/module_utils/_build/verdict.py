# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Judge a Build: by its own containers, as a Task is judged, and by its Job for what those can't tell. Pure."""

from __future__ import annotations

import datetime
import typing as t

from .._contract import CANCELLED, ENDED, FAILED, FAILURE, PENDING, RUNNING, SUCCEEDED, SUCCESSFUL
from .._durations import format_duration, later, parse_time, seconds_until
from .._errors import InvalidSpec
from .._kube.shapes import Build, Condition, Job, StepStatus
from .._pod.life import has_ended, is_ending, is_failed
from .._task.conditions import SUSPENDED, Verdict, condition_of
from .._task.fit import message_of
from .._task.losses import loss_of
from .._task.observed import Observed, ObservedPod
from .._task.reports import STOPPED_CODES
from .._task.steps import has_failed, passed
from .._task.unstartable import INVALID_IMAGE_NAME, unstartable
from .._task.verdict import (
    DEADLINE_EXCEEDED,
    ENDED_FROM_OUTSIDE,
    RETRYING,
    TIMED_OUT,
    failed_step,
    outcome,
)
from .._task.waiting import POD_STUCK, on_the_way, waits_for
from .build import GIT_IMAGE_ENV, own_field
from .observed import Seen, failures, present_pod
from .plan import current_job, end_of, had_pod, is_alive, recorded_status

WAITING_FOR_JOB = "WaitingForJob"
POD_LOST = "PodLost"
# The condition of a Job that is about to have failed: its Pods are being deleted.
FAILURE_TARGET = "FailureTarget"
# Between what became of a try and which one follows.
_RETRY = "; retry "


def judge(build: Build, seen: Seen, now: str) -> Verdict:
    """Return the state of a Build.

    Args:
        build: the Build, with its present status.
        seen: what is there of it.
        now: the time, as RFC 3339 in UTC.

    A Pod whose steps have all passed is a success, whatever its Job makes of it. A failure waits for the Job's end: the
    Job may try again. It need not where a container can never be started.
    """
    job, pod = current_job(build, seen.jobs), present_pod(build, seen)
    found = _outcome_of(pod, now) if pod else None
    if found and found.status == SUCCESSFUL:
        return found
    if refused := _never_started(build, pod):
        return refused
    end = end_of(job)
    if job and end:
        return _end_of_job(build, job, end, pod, found)
    return _on_the_way(build, seen, pod, found, now)


def _outcome_of(pod: ObservedPod, now: str) -> Verdict | None:
    """Return how the run of a Pod has ended, as for a Task without timeout and retries."""
    return outcome(Observed(pod.task, (pod.pod,), now, {}, pod))


def _never_started(build: Build, pod: ObservedPod | None) -> Verdict | None:
    """Return the verdict for a container that can never be started; None if there is no such container, or no Pod."""
    found = unstartable(pod) if pod else None
    if found is None:
        return None
    # The operator adds the first step.
    is_own = found.field == "spec.steps[0].image"
    field = f"the operator's {GIT_IMAGE_ENV}" if is_own else own_field(InvalidSpec(found.field, ""), build).field
    return Verdict(FAILURE, INVALID_IMAGE_NAME, found._replace(field=field).words)


def _end_of_job(build: Build, job: Job, end: Condition, pod: ObservedPod | None, found: Verdict | None) -> Verdict:
    """Return the verdict of a Build whose Job has ended, though not all of its steps are known to have passed.

    Args:
        build: the Build.
        job, end: the Job, and the condition by which it has ended.
        pod: its last Pod, if that is still there.
        found: how that has ended, as far as it tells.
    """
    steps = pod.steps if pod else recorded_status(build).get("steps") or []
    if end["type"] == "Complete" and found is None:
        return Verdict(SUCCESSFUL, "Succeeded", "the Job is complete; its Pod was gone before its steps were read")
    if end.get("reason") == DEADLINE_EXCEEDED:
        return Verdict(FAILURE, DEADLINE_EXCEEDED, _out_of_time(build, job, steps))
    if lost := _loss_of(build, pod, found) if pod else _recorded_loss(build):
        words = f"{lost}; spec.backoffLimit is {_limit_of(build)}, which allows no other try"
        return Verdict(FAILURE, POD_LOST, words)
    if found:
        return _as_failure(found)
    said = end.get("message") or "the Job failed"
    if pod is None:
        said += "; none of its Pods is left to say why: were they deleted before their steps had ended?"
    return failed_step(steps) or Verdict(FAILURE, end.get("reason") or "JobFailed", said)


def _as_failure(failure: Verdict) -> Verdict:
    """Return the final verdict of a Build whose last Pod has not succeeded. A Build is never cancelled."""
    if failure.reason == TIMED_OUT:
        words = "the Pod did not end within the seconds of spec.podTemplate.activeDeadlineSeconds: allow more"
        return Verdict(FAILURE, DEADLINE_EXCEEDED, words)
    return Verdict(FAILURE, failure.reason, failure.message)


def _loss_of(build: Build, pod: ObservedPod, found: Verdict | None) -> str:
    """Return how a Pod was lost, in words; empty where it was not, or a step had failed before.

    Args:
        build: the Build.
        pod: the Pod.
        found: how its run has ended, as far as it tells.
    """
    loss = loss_of(pod.pod) if found and found.status == PENDING else None
    if loss:
        return f"Pod {pod.name} was lost before its steps had ended: {loss[1]}"
    if is_ending(pod.pod) and (_recorded_loss(build, pod.name) or not _has_failed_before(pod)):
        return f"Pod {pod.name} was deleted before its steps had ended"
    return ""


def _recorded_loss(build: Build, pod: str = "") -> str:
    """Return how a Pod was lost, as the status tells; of a certain Pod, or of whichever it speaks."""
    recorded = recorded_status(build)
    condition = condition_of(recorded)
    if condition.get("reason") != POD_LOST or pod not in ("", recorded.get("podName")):
        return ""
    return message_of(recorded).partition(_RETRY)[0]


def _has_failed_before(pod: ObservedPod) -> bool:
    """Tell whether a step had failed before somebody deleted its Pod: it is recorded, or was not ended from outside."""
    failed = [step for step in pod.steps if has_failed(step)]
    return any(not _is_from_outside(step) for step in failed) or any(map(has_failed, pod.recorded))


def _is_from_outside(step: StepStatus) -> bool:
    return step.get("reason") in ENDED_FROM_OUTSIDE or step.get("exitCode") in STOPPED_CODES


def _out_of_time(build: Build, job: Job, steps: t.Sequence[StepStatus]) -> str:
    """Say what was going on when the Job's time was up, and what to do."""
    limit = job["spec"].get("activeDeadlineSeconds")
    rule = f"spec.activeDeadlineSeconds allows {limit} s for the whole Build, its retries included"
    number = passed(steps)
    if number == len(steps) or not _has_begun(steps, number):
        said = message_of(recorded_status(build))
        return f"no step had begun when the time was up{f' ({said})' if said else ''}; {rule}"
    step = steps[number]
    who = f'step "{step["name"]}" ({number + 1} of {len(steps)})'
    failure = failed_step(steps)
    if failure and not _is_from_outside(step):
        return f"{failure.message}; no time was left for another try: {rule}"
    other_way = "give the step a timeout, which keeps its log" if number else "see why the source takes so long"
    time = _ran_for(job, steps, number)
    return f"{who} was still running when the time was up{time}; {rule}: allow more, or {other_way}"


def _has_begun(steps: t.Sequence[StepStatus], number: int) -> bool:
    """Tell whether the step of this number, from 0, has begun. Where those before it have passed, it has."""
    step = steps[number]
    return number > 0 or step["state"] in (RUNNING, FAILED) or bool(step.get("startedAt"))


def _ran_for(job: Job, steps: t.Sequence[StepStatus], number: int) -> str:
    """Return how long a step had run when the Job's time was up, in words; empty where its begin is not known."""
    began = steps[number].get("startedAt") or (steps[number - 1].get("finishedAt") if number else None)
    due = _due_of(job)
    if not began or not due or parse_time(began) > due:
        return ""
    return f", after {format_duration(parse_time(began), due)}"


def _on_the_way(build: Build, seen: Seen, pod: ObservedPod | None, found: Verdict | None, now: str) -> Verdict:
    """Return the state of a Build that has no verdict yet."""
    job = current_job(build, seen.jobs)
    if seen.problem:
        return Verdict(FAILURE if seen.problem.permanent else PENDING, seen.problem.reason, seen.problem.message)
    if stuck := _stuck(seen, now):
        return stuck
    if job and pod:
        tries = failures(job, seen.pods) + (not is_failed(pod.pod))
        ended = None if _ends_job(job, now) else _after_try(build, pod, found, tries)
        return ended or on_the_way(pod)
    return _without_pod(build, seen, job)


def _without_pod(build: Build, seen: Seen, job: Job | None) -> Verdict:
    """Return the state of a Build whose wanted state has no Pod yet, or none any more.

    A Pod goes as soon as its Job has counted it. What was known of it stays until the Job tells of its end, which may
    be a moment later, or makes another Pod.
    """
    if had_pod(build, job):
        recorded = recorded_status(build)
        return Verdict(recorded["phase"], condition_of(recorded)["reason"], message_of(recorded))
    if job:
        words = f"the Job is about to make its Pod; kubectl describe job {job['metadata']['name']} tells what keeps it"
        return Verdict(PENDING, "Pending", words)
    if build["spec"].get("suspend"):
        return Verdict(PENDING, SUSPENDED, "spec.suspend is true: it is built when that is false")
    if any(map(is_alive, seen.jobs)) or any(not has_ended(pod) for pod in seen.pods):
        return Verdict(PENDING, WAITING_FOR_JOB, "a Job of an earlier state is still ending")
    return Verdict(PENDING, "Pending", "the Job is about to be made")


def _stuck(seen: Seen, now: str) -> Verdict | None:
    """Return the state of a Build that waits for a Pod which should have ended long ago; None without one."""
    waits = (waits_for(pod, now, "Build") for pod in seen.pods if is_ending(pod) and not has_ended(pod))
    return next((verdict for verdict in waits if verdict.reason == POD_STUCK), None)


def _ends_job(job: Job, now: str) -> bool:
    """Tell whether the Job controller is ending a Job, and deletes its Pod for it: it says so a moment afterwards."""
    conditions = (job.get("status") or {}).get("conditions") or []
    due = _due_of(job)
    is_due = due is not None and seconds_until(due, now) <= 0
    return is_due or any(x["type"] == FAILURE_TARGET and x["status"] == "True" for x in conditions)


def _due_of(job: Job) -> datetime.datetime | None:
    """Return when a Job's time is up; None where it has no limit."""
    start, limit = (job.get("status") or {}).get("startTime"), job["spec"].get("activeDeadlineSeconds")
    return later(start, limit) if start and limit else None


def _after_try(build: Build, pod: ObservedPod, found: Verdict | None, number: int) -> Verdict | None:
    """Return the state of a Build whose try has failed, or is lost, while its Job goes on; None of any other.

    Args:
        build: the Build.
        pod: the Pod of that try.
        found: how its run has ended, as far as it tells.
        number: which try it is, from 1.
    """
    limit, lost = _limit_of(build), _loss_of(build, pod, found)
    again = f"{_RETRY}{number} of {limit} follows" if number <= limit else ""
    if lost:
        return Verdict(PENDING, POD_LOST, lost + again)
    return Verdict(RUNNING, RETRYING, _as_failure(found).message + again) if found and again else None


def _limit_of(build: Build) -> int:
    return int(build["spec"].get("backoffLimit") or 0)


def settled_steps(steps: t.Iterable[StepStatus], verdict: Verdict) -> list[StepStatus]:
    """Return the steps of a Build that has its verdict: none of them waits or runs any more.

    Where the Job tells of a success whose Pod was gone before it was read, they have succeeded. Otherwise they were
    ended with the Pod, or will never begin.
    """
    state = SUCCEEDED if verdict.status == SUCCESSFUL else CANCELLED
    return [step if step["state"] in ENDED else {"name": step["name"], "state": state} for step in steps]
