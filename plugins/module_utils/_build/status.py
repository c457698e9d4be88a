# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Compute a Build's status and the events that tell of its changes. Pure: the time comes in as an argument."""

from __future__ import annotations

import datetime
import math
import re
import typing as t

from .._contract import FAILURE, FINAL, RUNNING, SUCCESSFUL
from .._durations import format_duration, parse_time, seconds_until
from .._errors import TaskError, reason_of
from .._kube import event
from .._kube.event import Event
from .._kube.shapes import Build, BuildStatus, Condition, Job, PastBuild, RecordedEvent, StepStatus
from .._pod.life import has_ended, is_ending
from .._task.conditions import CONDITION, SUSPENDED, Verdict, condition_of, verdict_condition
from .._task.observed import ObservedPod
from .._task.status import completion_time
from .._task.verdict import RETRYING
from .build import CLONE_STEP, REVISION, build_hash
from .observed import Seen, lacks_pod, present_pod
from .plan import current_job, end_of, expiry, had_pod, is_finished, recorded_status
from .verdict import WAITING_FOR_JOB, judge, settled_steps

HISTORY_MAX = 10
# What a build in the history keeps of its status.
HISTORY_FIELDS: t.Final = ("jobName", "phase", "revision", "startTime", "completionTime", "duration")
# Seconds between two looks at a Job that has to go, and at what can't be done now.
WAITING_PAUSE, PROBLEM_PAUSE = 10, 30
# Seconds between two looks at a Pod that is being deleted.
ENDING_PAUSE = 30
# Seconds between two looks at a Job without a Pod while it is new, and how long that is. Later its Pod will tell.
NO_POD_PAUSE, NEW_JOB = 5, 60
REPLACED = "Replaced"
# Reasons that nobody needs to be told of.
QUIET_REASONS = ("Pending", WAITING_FOR_JOB)


def compute_status(build: Build, seen: Seen, now: str) -> BuildStatus:
    """Return the whole new status of a Build, which comes with its present one; ``now`` is RFC 3339 in UTC.

    A verdict, once recorded, never changes.
    """
    before, job = recorded_status(build), current_job(build, seen.jobs)
    marks: BuildStatus = {"observedGeneration": build["metadata"]["generation"], "buildHash": build_hash(build)}
    if before.get("phase") in FINAL:
        return {**before, **marks}
    pod, verdict = present_pod(build, seen), judge(build, seen, now)
    # A Pod goes a moment before its Job tells of its end.
    kept = before if end_of(job) or had_pod(build, job) else BuildStatus()
    steps = pod.steps if pod else kept.get("steps", [])
    status: BuildStatus = {**marks, "steps": settled_steps(steps, verdict) if verdict.status in FINAL else steps}
    if history := _history(build, now):
        status["history"] = history
    status.update(_of_job(before, job, pod))
    if name := pod.name if pod else kept.get("podName"):
        status["podName"] = name
    if revision := _revision(steps):
        status["revision"] = revision
    return _with_verdict(build, status, verdict, job, now)


def _of_job(before: BuildStatus, job: Job | None, pod: ObservedPod | None) -> BuildStatus:
    """Return a Job's name, and when it began; as they are recorded where only its Pod is left."""
    status: BuildStatus = {}
    if job:
        status["jobName"] = job["metadata"]["name"]
        status["startTime"] = (job.get("status") or {}).get("startTime") or job["metadata"]["creationTimestamp"]
    elif pod and before.get("jobName"):
        status["jobName"], status["startTime"] = before["jobName"], before["startTime"]
    return status


def next_look(build: Build, job: Job | None, waiting: bool, seen: Seen, now: str) -> int | None:
    """Return after how many seconds a Build is to be looked at again, though nothing may happen to it until then.

    Args:
        build: the Build, with its new status.
        job: the Job of the wanted state, if there is one that is to stay.
        waiting: whether a Job of an earlier state is still ending.
        seen: as in compute_status.
        now: the time, as RFC 3339 in UTC.
    """
    moment = expiry(build)
    if moment is not None:
        return max(1, math.ceil(seconds_until(moment, now))) if job else None
    if seen.problem is not None and not seen.problem.permanent:
        return math.ceil(seen.problem.retry_after or PROBLEM_PAUSE)
    if job and lacks_pod(job, seen.pods) and _is_new(job, now):
        return NO_POD_PAUSE
    if waiting:
        return WAITING_PAUSE
    # One that does not end is told of.
    is_awaited = any(is_ending(pod) and not has_ended(pod) for pod in seen.pods)
    return ENDING_PAUSE if is_awaited and not is_finished(build) else None


def _is_new(job: Job, now: str) -> bool:
    return seconds_until(parse_time(job["metadata"]["creationTimestamp"]), now) > -NEW_JOB


def refusal_of(events: t.Iterable[RecordedEvent]) -> TaskError | None:
    """Return what keeps a Job from having its Pod, by the Events of the Job; None if the last one tells of no refusal.

    The Job controller goes on trying, and records reason FailedCreate with the API server's words.
    """
    told = [event for event in events if event.get("reason") in ("FailedCreate", "SuccessfulCreate")]
    if not told:
        return None
    last = max(enumerate(told), key=lambda pair: (_time_of(pair[1]), pair[0]))[1]
    return _refused(last["message"]) if last["reason"] == "FailedCreate" else None


def _refused(message: str) -> TaskError:
    # Each try has a name of its own for the Pod.
    said = re.sub(r'\bpods "[^"]*"', "the Pod", message.removeprefix("Error creating: "))
    return TaskError(reason_of(message, "PodRefused"), f"the Job can't make its Pod: {said}")


def _time_of(event: RecordedEvent) -> datetime.datetime:
    return parse_time(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def compute_events(old: BuildStatus, new: BuildStatus) -> list[Event]:
    """Return the events that tell a person what changed from one status to the next."""
    was = condition_of(old if old.get("buildHash") == new.get("buildHash") else {})
    now = condition_of(new)
    if (was.get("status"), was.get("reason")) == (now.get("status"), now.get("reason")):
        return []
    return [_event_of(new, now)] if now["reason"] not in QUIET_REASONS else []


def _event_of(status: BuildStatus, condition: Condition) -> Event:
    message, phase, reason = condition.get("message", ""), status["phase"], condition["reason"]
    if phase == SUCCESSFUL:
        return event.completed(message, status.get("duration", "0s"))
    if phase == FAILURE:
        return event.failed(message)
    if phase == RUNNING and reason != RETRYING:
        return event.started(f"Job {status.get('jobName')}")
    return Event(event.NORMAL if reason == SUSPENDED else event.WARNING, reason, message)


def _with_verdict(build: Build, status: BuildStatus, verdict: Verdict, job: Job | None, now: str) -> BuildStatus:
    status["phase"] = verdict.status
    before: BuildStatus = build.get("status") or {}
    condition = verdict_condition(before, verdict, status["observedGeneration"], now)
    status["conditions"] = [x for x in before.get("conditions") or [] if x["type"] != CONDITION] + [condition]
    if verdict.status in FINAL:
        status["completionTime"] = _completion_time(status, verdict, job, now)
        status.setdefault("startTime", status["completionTime"])
        status["duration"] = format_duration(parse_time(status["startTime"]), parse_time(status["completionTime"]))
    return status


def _completion_time(status: BuildStatus, verdict: Verdict, job: Job | None, now: str) -> str:
    """Return when the last step of a success ended; else when the Job did."""
    end = end_of(job)
    ended = (end.get("lastTransitionTime") if end else None) or now
    if verdict.status != SUCCESSFUL:
        return ended
    return completion_time(status["steps"], status.get("startTime", ended), verdict, ended)


def _history(build: Build, now: str) -> list[PastBuild]:
    """Return the builds before the present one, the latest first."""
    status: BuildStatus = build.get("status") or {}
    history: list[PastBuild] = list(status.get("history") or [])
    if not status.get("jobName") or status.get("buildHash") == build_hash(build):
        return history
    last: PastBuild = {}
    for key in HISTORY_FIELDS:
        if key in status:
            last[key] = status[key]
    if last["phase"] not in FINAL:
        last["phase"], last["completionTime"] = REPLACED, now
    return [last, *history][:HISTORY_MAX]


def _revision(steps: t.Iterable[StepStatus]) -> str:
    """Return the commit that the first step has found."""
    results = next((step.get("results") or {} for step in steps if step["name"] == CLONE_STEP), {})
    return str(results.get(REVISION, ""))
