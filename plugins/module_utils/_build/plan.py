# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide which Job is a Build's, which must go and whether a new one is due. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from .._contract import FINAL
from .._durations import later, parse_time, seconds_until
from .._kube.kind import JOB
from .._kube.owner import owners_of
from .._kube.shapes import Build, BuildStatus, Condition, Job, Pod
from .._pod.life import has_ended, is_ending
from .build import HASH_ANNOTATION, build_hash, job_name

# Jobs of earlier states that have ended and stay for their logs.
KEPT_JOBS = 3


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do about a Build's Jobs.

    Attributes:
        action: created, kept, waiting, suspended or finished, as the module build_job returns it.
        current: the Job of the wanted state, if there is one.
        delete: Jobs that must go: unwanted ones that have not ended, and old ones.
        orphans: Pods that must go, for they were left to themselves when somebody deleted their Job.
    """

    action: str
    current: Job | None = None
    delete: tuple[Job, ...] = ()
    orphans: tuple[Pod, ...] = ()


def plan_jobs(build: Build, jobs: t.Sequence[Job], pods: t.Sequence[Pod], now: str) -> Plan:
    """Decide what to do about a Build's Jobs, so that at most one is alive at any time.

    Args:
        build: the Build, as the API server returns it.
        jobs: every Job that the Build owns, or one of the same name before it.
        pods: every Pod of those, and of such Jobs that are gone already.
        now: the time, as RFC 3339 in UTC.
    """
    if build["metadata"].get("deletionTimestamp"):
        return Plan("finished")
    orphans = tuple(pod for pod in pods if not (_has_job(pod) or has_ended(pod) or is_ending(pod)))
    return dataclasses.replace(_plan(build, jobs, pods, now), orphans=orphans)


def _plan(build: Build, jobs: t.Sequence[Job], pods: t.Sequence[Pod], now: str) -> Plan:
    current = current_job(build, jobs)
    finished = is_finished(build)
    suspended = bool(build["spec"].get("suspend")) and not finished and end_of(current) is None
    kept = None if suspended else current
    delete = tuple(job for job in [*_unwanted(jobs, kept), *_old(jobs, kept)] if not is_ending(job))
    if suspended:
        return Plan("suspended", delete=delete)
    if kept is not None and _is_expired(build, now):
        return Plan("finished", delete=(*delete, kept))
    if finished or kept is not None:
        return Plan("finished" if finished else "kept", kept, delete)
    former = [job for job in jobs if _is_named(job, build) and not is_ending(job) and job not in delete]
    if former or any(map(is_alive, jobs)) or any(not has_ended(pod) for pod in pods):
        return Plan("waiting", delete=(*delete, *former))
    return Plan("created", delete=delete)


def current_job(build: Build, jobs: t.Iterable[Job]) -> Job | None:
    """Return the Job of the Build's wanted state; None where there is none, or somebody deletes it.

    One that had ended before another state was wanted is not it: what is wanted again is built again.
    """
    job = next((job for job in jobs if _is_named(job, build)), None)
    return None if job is None or is_ending(job) or _is_of_the_past(build, job) else job


def _is_named(job: Job, build: Build) -> bool:
    metadata = job["metadata"]
    is_hash = (metadata.get("annotations") or {}).get(HASH_ANNOTATION) == build_hash(build)
    return bool(metadata["name"] == job_name(build) and is_hash)


def _is_of_the_past(build: Build, job: Job) -> bool:
    """Tell whether a Job had ended before the state was wanted: from its making on, the status names it."""
    is_recorded = recorded_status(build).get("jobName") == job["metadata"]["name"]
    return bool(build.get("status")) and not is_recorded and end_of(job) is not None


def _has_job(pod: Pod) -> bool:
    return any(owner.get("kind") == JOB.name for owner in owners_of(pod))


def recorded_status(build: Build) -> BuildStatus:
    """Return the Build's status where it speaks of the wanted state; else an empty one."""
    status: BuildStatus = build.get("status") or {}
    return status if status.get("buildHash") == build_hash(build) else {}


def had_pod(build: Build, job: Job | None) -> bool:
    """Tell whether the status names a Pod of this very Job: another Job of its name was made later than it says."""
    recorded = recorded_status(build)
    if job is None or not recorded.get("podName") or recorded.get("jobName") != job["metadata"]["name"]:
        return False
    return parse_time(recorded["startTime"]) >= parse_time(job["metadata"]["creationTimestamp"])


def is_finished(build: Build) -> bool:
    """Tell whether the wanted state has been built, or could not be."""
    return recorded_status(build).get("phase") in FINAL


def end_of(job: Job | None) -> Condition | None:
    """Return the condition by which a Job has ended (Complete or Failed); None while it has not."""
    conditions = (job.get("status") or {}).get("conditions") or [] if job else []
    return next((x for x in conditions if x["type"] in ("Complete", "Failed") and x["status"] == "True"), None)


def is_alive(job: Job) -> bool:
    """Tell whether Pods of a Job may run: it has not ended, or is not gone yet."""
    return end_of(job) is None or is_ending(job)


def expiry(build: Build) -> datetime.datetime | None:
    """Return when the Job of a Build that has ended is to be deleted; None when it is not."""
    ttl, end = build["spec"].get("ttlSecondsAfterFinished"), recorded_status(build).get("completionTime")
    if ttl is None or not end or not is_finished(build):
        return None
    return later(end, ttl)


def _is_expired(build: Build, now: str) -> bool:
    """Tell whether the Job of a Build that has ended has lived as long as the Build wants it to."""
    moment = expiry(build)
    return moment is not None and seconds_until(moment, now) <= 0


def _unwanted(jobs: t.Iterable[Job], kept: Job | None) -> list[Job]:
    return [job for job in jobs if job is not kept and end_of(job) is None]


def _old(jobs: t.Iterable[Job], kept: Job | None) -> list[Job]:
    """Return the Jobs that have ended, except the last ones."""
    ended = [job for job in jobs if job is not kept and end_of(job) is not None]
    ended.sort(key=lambda job: str(job["metadata"].get("creationTimestamp", "")))
    return ended[: max(len(ended) - KEPT_JOBS, 0)]
