# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Do what was decided for a Build: its Job, and its status."""

from __future__ import annotations

import dataclasses
import typing as t

from .._contract import ORDER_QUIT, Object
from .._errors import ALREADY_EXISTS, CONFLICTS, FORBIDDEN, InvalidSpec, TaskError
from .._image.batch import Images
from .._kube import event
from .._kube.client import timestamp
from .._kube.shapes import Build, BuildStatus, Job, Pod, Task
from .._pod.life import has_ended
from .._pod.pod import build_pod, images_to_look_up
from .._pod.spec import resolve
from .._task.observed import ObservedPod
from .._task.order import orders_to_come
from .api import BuildApi
from .build import as_task, build_job, own_field, secret_name
from .plan import Plan, plan_jobs
from .status import WAITING_PAUSE, Seen, compute_events, compute_status, lacks_pod, latest_pod, next_look, refusal_of


@dataclasses.dataclass
class Done:
    """What was changed for a Build, in check mode what would be.

    Attributes:
        created: whether it has a new Job.
        deleted: the names of the Jobs that went.
        freed: whether a Pod was deleted, or told to end.
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
        plan = plan_jobs(build, jobs, pods, timestamp())
        self._delete(build, plan, done)
        problem: TaskError | None = None
        task = created = None
        try:
            task = as_task(build, self.git_image)
            self._free_waiting_steps(task, plan.current, pods, done)
            created = self._create(build, task) if plan.action == "created" else None
            if plan.current and lacks_pod(plan.current, pods):
                problem = refusal_of(self.api.events_of(plan.current))
        except InvalidSpec as error:
            problem = own_field(error, build)
        except TaskError as error:
            if error.reason in CONFLICTS:
                raise
            problem = error
        if created:
            jobs, done.created = [*jobs, created], True
        return self._record(build, plan, Seen(task, jobs, pods, problem), created, done)

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

    def _free_waiting_steps(self, task: Task, job: Job | None, pods: t.Iterable[Pod], done: Done) -> None:
        """Tell the steps after one that failed to end: killed with its agent, it could not tell them itself."""
        pod = latest_pod(job, pods)
        if pod is None or has_ended(pod) or self.check_mode:
            return
        if ORDER_QUIT in orders_to_come(ObservedPod(task, pod)):
            self.api.set_order(pod, ORDER_QUIT)
            done.freed = True

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

    def _record(self, build: Build, plan: Plan, seen: Seen, created: Job | None, done: Done) -> Object:
        now = timestamp()
        before: BuildStatus = build.get("status") or {}
        after = compute_status(build, seen, now)
        if after != before and not self.check_mode:
            self.api.set_status(build, after)
            for change in compute_events(before, after):
                self.api.emit(build, change)
        job = created or plan.current
        again = next_look({**build, "status": after}, job, plan.action == "waiting", seen, now)
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
