# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Do what was decided for a Build: its Job, and its status."""

from __future__ import annotations

import dataclasses

from .._contract import FAILURE, ORDER_QUIT, SUCCESSFUL, Object
from .._errors import ALREADY_EXISTS, CONFLICTS, FORBIDDEN, InvalidSpec, TaskError
from .._image.batch import Images
from .._kube import event
from .._kube.client import timestamp
from .._kube.shapes import Build, BuildStatus, Job, Task
from .._pod.life import has_ended, is_ending, is_told_to_end
from .._pod.pod import build_pod, images_to_look_up
from .._pod.spec import resolve
from .._task.conditions import condition_of
from .._task.observed import ObservedPod
from .._task.order import orders_to_come
from .._task.record import claim_room, write_status
from .._task.unstartable import INVALID_IMAGE_NAME, unstartable
from .api import BuildApi
from .build import as_task, build_job, job_name, own_field, secret_name
from .observed import Seen, lacks_pod, present_pod, tries_to_allow
from .plan import Plan, current_job, plan_jobs, recorded_status
from .status import WAITING_PAUSE, compute_events, compute_status, next_look, refusal_of


@dataclasses.dataclass
class Done:
    """What was changed for a Build, in check mode what would be.

    Attributes:
        created: whether it has a new Job.
        deleted: the names of the Jobs that went.
        freed: whether a Pod was deleted, ended or told to end, or a Job is to make no other.
    """

    created: bool = False
    deleted: list[str] = dataclasses.field(default_factory=list)
    freed: bool = False

    @property
    def changed(self) -> bool:
        """Whether it is anything."""
        return self.created or bool(self.deleted) or self.freed


@dataclasses.dataclass(frozen=True)
class BuildReconciler:
    """What it takes to do a Build's work.

    Args:
        api: asks the API server.
        check_mode: True to change nothing.
        agent_image, git_image: the images that hold the agent, and git.
        images: tells what images run by themselves.
    """

    api: BuildApi
    check_mode: bool
    agent_image: str
    git_image: str
    images: Images

    def reconcile_named(self, namespace: str, name: str) -> Object:
        """Reconcile the Build as it is now; once more, read again, where somebody has changed it since."""
        done = Done()
        for is_last in (False, True):
            build = self.api.get_build(namespace, name)
            if build is None:
                break
            try:
                return self._reconcile(build, done)
            except TaskError as error:
                if is_last or error.reason not in CONFLICTS:
                    raise
        return {"changed": done.changed, "action": "absent", "job_name": "", "deleted": done.deleted}

    def _reconcile(self, build: Build, done: Done) -> Object:
        """Have the Job of the wanted state, record the status, and return the module's result."""
        jobs = self.api.jobs_of(build)
        # After the Jobs: a Job that is not there any more makes no Pod that is not there yet.
        pods = self.api.pods_of_jobs(build)
        before: BuildStatus = build.get("status") or {}
        seen = self._with_task(build, Seen(None, jobs, pods))
        build = self._record_verdict(build, seen, done)
        plan = plan_jobs(build, jobs, pods, timestamp())
        self._delete(build, plan, done)
        created: Job | None = None
        try:
            build = self._claim_room(build, seen, plan)
            created = self._act(build, seen, plan, done)
        except InvalidSpec as error:
            seen = dataclasses.replace(seen, problem=own_field(error, build))
        except TaskError as error:
            if error.reason in CONFLICTS:
                raise
            seen = dataclasses.replace(seen, problem=error)
        if created:
            seen, done.created = dataclasses.replace(seen, jobs=[*jobs, created]), True
        now = timestamp()
        after = compute_status(build, seen, now)
        after = self._write(build, after)
        job, waits = created or plan.current, plan.action == "waiting"
        return _result(plan, done, before, after, next_look({**build, "status": after}, job, waits, seen, now))

    def _with_task(self, build: Build, seen: Seen) -> Seen:
        """Return what was seen with the Task that does a Build's work, or with what is wrong in its spec."""
        try:
            return dataclasses.replace(seen, task=as_task(build, self.git_image))
        except InvalidSpec as error:
            return dataclasses.replace(seen, problem=own_field(error, build))

    def _claim_room(self, build: Build, seen: Seen, plan: Plan) -> Build:
        """Write the first status of a large Build that is about to get a Job, which it names; return the Build.

        Raises:
            TaskError: there is no room for one.
        """
        if plan.action != "created" or seen.task is None or recorded_status(build) or self.check_mode:
            return build
        status: BuildStatus = {**compute_status(build, seen, timestamp()), "jobName": job_name(build)}
        return claim_room(self.api, "Build", build, status)

    def _act(self, build: Build, seen: Seen, plan: Plan, done: Done) -> Job | None:
        """Do what is due for the Pod and the Job of the wanted state; return a Job that was made.

        Raises:
            TaskError: what keeps the Build from having a Job, or its Job from having a Pod.
        """
        if seen.task is None:
            return None
        if plan.current:
            self._end_containers(build, seen, done)
        created = self._create(build, seen.task) if plan.action == "created" else None
        if plan.current and lacks_pod(plan.current, seen.pods):
            refusal = refusal_of(self.api.events_of(plan.current))
            if refusal:
                raise refusal
        return created

    def _record_verdict(self, build: Build, seen: Seen, done: Done) -> Build:
        """Record a verdict before anything is done that has the Job count a failure; return the Build with it.

        Before that, the Job is kept from another try. So, whenever the operator is killed, nothing is built twice.
        Other verdicts follow from the Job's end, and are recorded later.
        """
        status = compute_status(build, seen, timestamp())
        is_refused = status["phase"] == FAILURE and condition_of(status).get("reason") == INVALID_IMAGE_NAME
        if not (status["phase"] == SUCCESSFUL or is_refused) or is_ending(build):
            return build
        job, limit = current_job(build, seen.jobs), tries_to_allow(build, seen)
        if job and limit is not None:
            done.freed = True
            if not self.check_mode:
                self.api.allow_tries(job, limit)
        return {**build, "status": self._write(build, status)}

    def _delete(self, build: Build, plan: Plan, done: Done) -> None:
        done.deleted += [job["metadata"]["name"] for job in plan.delete]
        done.freed = done.freed or bool(plan.orphans)
        if self.check_mode:
            return
        for job in plan.delete:
            self.api.delete_job(job)
            self.api.emit(build, event.deleted(f"Job {job['metadata']['name']}"))
        for pod in plan.orphans:
            self.api.delete_pod(pod)
            self.api.emit(build, event.deleted(f"Pod {pod['metadata']['name']}, which has no Job any more"))

    def _end_containers(self, build: Build, seen: Seen, done: Done) -> None:
        """End what would go on for ever in a Pod: others' containers after its own, and steps that wait.

        The steps after one that was killed with its agent wait: it could not tell them that it has ended. So does a
        container that can never be started.
        """
        pod = present_pod(build, seen)
        if pod is None or has_ended(pod.pod):
            return
        if pod.holders:
            done.freed = True
            if not self.check_mode:
                self.api.end_pod(pod.pod)
                self.api.emit(build, _ended(pod))
        elif unstartable(pod) and not is_told_to_end(pod.pod):
            done.freed = True
            if not self.check_mode:
                self.api.end_pod(pod.pod)
        elif ORDER_QUIT in orders_to_come(pod):
            done.freed = True
            if not self.check_mode:
                self.api.set_order(pod.pod, ORDER_QUIT)

    def _create(self, build: Build, task: Task) -> Job:
        self._check_secret(build)
        namespace, resolved = build["metadata"]["namespace"], resolve(task)
        images = images_to_look_up(resolved)
        configs = self.images.configs(namespace, resolved.account, resolved.pull_secrets, images)
        wanted = build_job(build, build_pod(task, resolved, self.agent_image, configs))
        job = self.api.create_job(wanted, dry_run=self.check_mode)
        if job is None:
            words = f'a Job "{wanted["metadata"]["name"]}" is there, not known as this Build\'s: it is awaited'
            raise TaskError(ALREADY_EXISTS, words, retry_after=WAITING_PAUSE)
        if not self.check_mode:
            self.api.emit(build, event.created(f"Job {job['metadata']['name']}"))
        return job

    def _check_secret(self, build: Build) -> None:
        """Say that a Secret is missing, as far as Secrets may be read: its Pod would only be stuck."""
        name, namespace = secret_name(build), build["metadata"]["namespace"]
        if not name:
            return
        try:
            found = self.api.get_secret(namespace, name)
        except TaskError as error:
            if error.reason == FORBIDDEN:
                return
            raise
        if found is None:
            words = f'spec.source.git.secretRef: there is no Secret "{name}" in namespace {namespace}'
            raise TaskError("SecretMissing", words)

    def _write(self, build: Build, status: BuildStatus) -> BuildStatus:
        """Write the status, and the Events of what changes by it; return what is recorded: it may have been cut."""
        before: BuildStatus = build.get("status") or {}
        if status == before or self.check_mode:
            return status
        written = write_status(self.api, build, before, status)
        if written is None:
            return before
        for change in compute_events(before, written):
            self.api.emit(build, change)
        return written


def _result(plan: Plan, done: Done, before: BuildStatus, after: BuildStatus, again: int | None) -> Object:
    """Return the module's result.

    Args:
        plan: what was to be done.
        done: what was.
        before, after: the status as it was at first, and as it is now.
        again: after how many seconds the Build is to be looked at again, if it is.
    """
    return {
        "changed": done.changed or after != before,
        "action": _action(plan, done),
        "job_name": after.get("jobName", ""),
        "deleted": done.deleted,
        "status": after,
        "diff": {"before": before, "after": after},
        **({"requeue_after": again} if again else {}),
    }


def _action(plan: Plan, done: Done) -> str:
    """Return what was done, by the module's words."""
    if plan.action == "created" and not done.created:
        return "failed"
    return "created" if plan.action == "kept" and done.created else plan.action


def _ended(pod: ObservedPod) -> event.Event:
    """Return the Event of a Pod that is ended, since others' containers would go on in it."""
    names = ", ".join(pod.holders)
    words = f"Pod {pod.name} is ended: its steps have ended, and containers that others added would go on ({names})"
    return event.Event(event.NORMAL, "PodEnded", words)
