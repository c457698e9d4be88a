# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What there is of a Build at one moment: its Jobs, their Pods, and the Pod that tells how far it is. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from .._errors import TaskError
from .._kube.owner import is_owned_by
from .._kube.shapes import Build, BuildStatus, Job, Pod, StepStatus, Task
from .._pod.life import is_failed
from .._task.observed import ObservedPod
from .._task.unstartable import unstartable
from .plan import current_job, end_of, recorded_status

# The finalizer by which the Job controller keeps a Pod until it has counted it.
TRACKING = "batch.kubernetes.io/job-tracking"


@dataclasses.dataclass(frozen=True)
class Seen:
    """What is there of a Build.

    Attributes:
        task: the Task that does its work; None where its spec makes none.
        jobs, pods: every Job and every Pod, as plan_jobs() has them.
        problem: what keeps the Build from having a Job, or its Job from having a Pod, if anything does.
    """

    task: Task | None = None
    jobs: t.Sequence[Job] = ()
    pods: t.Sequence[Pod] = ()
    problem: TaskError | None = None


def pods_of(job: Job | None, pods: t.Iterable[Pod]) -> list[Pod]:
    """Return the Pods of a Job's tries, the first one first."""
    own = [pod for pod in pods if job and is_owned_by(pod, job["metadata"]["uid"])]
    return sorted(own, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))


def failures(job: Job, pods: t.Iterable[Pod]) -> int:
    """Return how many Pods of a Job have failed, by the Job's own count, or as far as they are still there.

    The Job counts a Pod that has failed, and then takes its finalizer away; in between it may name the Pod's UID.
    """
    status, failed = job.get("status") or {}, [pod["metadata"] for pod in pods_of(job, pods) if is_failed(pod)]
    uncounted = {metadata.get("uid") for metadata in failed if TRACKING in (metadata.get("finalizers") or [])}
    uncounted.update((status.get("uncountedTerminatedPods") or {}).get("failed") or [])
    return max(status.get("failed", 0) + len(uncounted), len(failed))


def lacks_pod(job: Job | None, pods: t.Iterable[Pod]) -> bool:
    """Tell whether a Job that has not ended has no Pod, or none yet."""
    return job is not None and end_of(job) is None and not pods_of(job, pods)


def present_pod(build: Build, seen: Seen) -> ObservedPod | None:
    """Return the Pod that tells how far a Build is; None without one.

    It is that of the Job's last try. If all steps of an earlier one have passed, it is that one: the Pod was lost
    before the Job could count its success. Where somebody deletes the Job, it is the Pod that the status names, if its
    steps have passed.
    """
    if seen.task is None:
        return None
    recorded, job = recorded_status(build), current_job(build, seen.jobs)
    tries = pods_of(job, seen.pods) if job else [pod for pod in seen.pods if _is_recorded(recorded, pod)]
    observed = [ObservedPod(seen.task, pod, _recorded_steps(recorded, pod)) for pod in tries]
    done = next((pod for pod in observed if pod.all_passed), None)
    return done or (observed[-1] if job and observed else None)


def tries_to_allow(build: Build, seen: Seen) -> int | None:
    """Return the backoffLimit with which a Job makes no other Pod; None where it makes none anyway, or may make one.

    It is not to make another when its work is done: a Pod that is ended for others' containers, or lost, counts as
    failed for the Job, though its steps have passed. Nor where a container can never be started.
    """
    job, pod = current_job(build, seen.jobs), present_pod(build, seen)
    if job is None or end_of(job) or pod is None or not (pod.all_passed or unstartable(pod)):
        return None
    if (pod.pod.get("status") or {}).get("phase") == "Succeeded":
        return None
    # Where the Job counts the Pod itself as failed, it is to end now, with the Pod that it may have made since.
    failed = 0 if is_failed(pod.pod) else failures(job, seen.pods)
    return failed if failed < int(job["spec"].get("backoffLimit") or 0) else None


def _is_recorded(recorded: BuildStatus, pod: Pod) -> bool:
    return recorded.get("podName") == pod["metadata"]["name"]


def _recorded_steps(recorded: BuildStatus, pod: Pod) -> tuple[StepStatus, ...]:
    return tuple(recorded.get("steps") or ()) if _is_recorded(recorded, pod) else ()
