# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Do what was decided for a Build: its Job, and its status."""

from __future__ import annotations

import dataclasses
import typing as t

from .._contract import ORDER_QUIT, Object
from .._errors import InvalidSpec, TaskError
from .._image.batch import Images
from .._kube.client import ALREADY_EXISTS, CONFLICT, ORDER_CONFLICT, Cluster, namespace_path, timestamp
from .._pod.pod import build_pod, images_to_look_up
from .._pod.spec import resolve
from .._task.observed import has_ended
from .._task.order import orders_to_come, pod_order
from .._task.status import Event
from .build import (
    API_VERSION,
    BUILD_LABEL,
    PLURAL,
    as_task,
    build_job,
    is_for,
    is_pod_for,
    labels_of,
    own_field,
    secret_name,
)
from .plan import Plan, plan_jobs
from .status import WAITING_PAUSE, Seen, compute_events, compute_status, lacks_pod, latest_pod, next_look, refusal_of

# Somebody else was faster: it is looked at afresh.
CONFLICTS = (CONFLICT, ORDER_CONFLICT)


class BuildCluster(Cluster):
    """The API server, for Builds and their Jobs."""

    def get_build(self, namespace: str, name: str) -> Object | None:
        """Return the Build; None when there is none."""
        return self._get(f"read Build {namespace}/{name}", _build_path(namespace, name))

    def jobs_of(self, build: Object) -> list[Object]:
        """Return every Job that the Build owns, or that one of the same name owned before it."""
        jobs = self._list(build, "Jobs", _jobs_path(build["metadata"]["namespace"]))
        return [job for job in jobs if is_for(job, build)]

    def pods_of_jobs(self, build: Object) -> list[Object]:
        """Return every Pod of such a Job, be it there still or not."""
        pods = self._list(build, "Pods", namespace_path(build["metadata"]["namespace"], "pods"))
        return [pod for pod in pods if is_pod_for(pod, build)]

    def events_of(self, job: Object) -> list[Object]:
        """Return the Events of this very Job; none where Events may not be read."""
        metadata = job["metadata"]
        what = f"list the Events of Job {metadata['namespace']}/{metadata['name']}"
        query = {"fieldSelector": f"involvedObject.uid={metadata['uid']}"}
        try:
            answer = self._request(what, "GET", namespace_path(metadata["namespace"], "events"), query)
        except TaskError as error:
            if error.reason == "Forbidden":
                return []
            raise
        return list(answer["items"])

    def create_job(self, job: Object, dry_run: bool) -> Object | None:
        """Create the Job and return it; None where it is there already. A dry run asks whether it would be taken."""
        namespace = job["metadata"]["namespace"]
        query = {"dryRun": "All"} if dry_run else {}
        try:
            return self._request(f"create a Job in namespace {namespace}", "POST", _jobs_path(namespace), query, job)
        except TaskError as error:
            if error.reason == ALREADY_EXISTS:
                return None
            raise

    def delete_job(self, job: Object) -> None:
        """Delete this very Job, its Pods first: until they are gone, it is there."""
        metadata = job["metadata"]
        what = f"delete Job {metadata['namespace']}/{metadata['name']}"
        self._delete(what, _jobs_path(metadata["namespace"], metadata["name"]), metadata, ("uid",), "Foreground")

    def set_build_status(self, build: Object, status: Object) -> None:
        """Replace the Build's status, provided that nobody changed the Build meanwhile."""
        metadata = build["metadata"]
        what = f"write the status of Build {metadata['namespace']}/{metadata['name']}"
        path = _build_path(metadata["namespace"], metadata["name"]) + "/status"
        self._request(what, "PUT", path, body={**build, "status": status})

    def _list(self, build: Object, kind: str, path: str) -> list[Object]:
        metadata = build["metadata"]
        selector = f"{BUILD_LABEL}={labels_of(build)[BUILD_LABEL]}"
        what = f"list the {kind} of Build {metadata['namespace']}/{metadata['name']}"
        items: list[Object] = self._request(what, "GET", path, query={"labelSelector": selector})["items"]
        return items


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
        cluster: the API server.
        check_mode: True to change nothing.
        agent_image, git_image: the images that hold the agent, and git.
        images: tells what images run by themselves.
    """

    cluster: BuildCluster
    check_mode: bool
    agent_image: str
    git_image: str
    images: Images

    def reconcile_named(self, namespace: str, name: str) -> Object:
        """Reconcile the Build as it is now; once more, read afresh, where somebody changed it meanwhile."""
        done = Done()
        for is_last in (False, True):
            build = self.cluster.get_build(namespace, name)
            if build is None:
                break
            try:
                return self._reconcile(build, done)
            except TaskError as error:
                if is_last or error.reason not in CONFLICTS:
                    raise
        return {"changed": done.changed, "action": "absent", "job_name": "", "deleted": done.deleted}

    def _reconcile(self, build: Object, done: Done) -> Object:
        """Have the Job of the wanted state, record the status, and return the module's result."""
        jobs = self.cluster.jobs_of(build)
        # After the Jobs: a Job that is not there any more makes no Pod that is not there yet.
        pods = self.cluster.pods_of_jobs(build)
        plan = plan_jobs(build, jobs, pods, timestamp())
        self._delete(build, plan, done)
        problem: TaskError | None = None
        task = created = None
        try:
            task = as_task(build, self.git_image)
            self._free_waiting_steps(task, plan.current, pods, done)
            created = self._create(build, task) if plan.action == "created" else None
            if lacks_pod(plan.current, pods):
                problem = refusal_of(self.cluster.events_of(plan.current or {}))
        except InvalidSpec as error:
            problem = own_field(error, build)
        except TaskError as error:
            if error.reason in CONFLICTS:
                raise
            problem = error
        if created:
            jobs, done.created = [*jobs, created], True
        return self._record(build, plan, Seen(task, jobs, pods, problem), created, done)

    def _delete(self, build: Object, plan: Plan, done: Done) -> None:
        done.deleted += [job["metadata"]["name"] for job in plan.delete]
        done.freed = done.freed or bool(plan.orphans)
        if self.check_mode:
            return
        for job in plan.delete:
            self.cluster.delete_job(job)
            self.cluster.emit(build, Event("Normal", "Deleted", f"deleted Job {job['metadata']['name']}"))
        for pod in plan.orphans:
            self.cluster.delete_pod(pod)
            words = f"deleted Pod {pod['metadata']['name']}, which has no Job any more"
            self.cluster.emit(build, Event("Normal", "Deleted", words))

    def _free_waiting_steps(self, task: Object, job: Object | None, pods: t.Iterable[Object], done: Done) -> None:
        """Tell the steps after one that failed to end: killed with its agent, it could not tell them itself."""
        pod = latest_pod(job, pods)
        if pod is None or has_ended(pod) or self.check_mode:
            return
        if ORDER_QUIT in orders_to_come(pod_order(pod), task, pod):
            self.cluster.set_order(pod, ORDER_QUIT)
            done.freed = True

    def _create(self, build: Object, task: Object) -> Object:
        self._check_secret(build)
        namespace, resolved = build["metadata"]["namespace"], resolve(task)
        secrets = [str(reference.get("name", "")) for reference in resolved.template.get("imagePullSecrets") or []]
        account = resolved.service_account or "default"
        configs = self.images.configs(namespace, account, secrets, images_to_look_up(resolved))
        wanted = build_job(build, build_pod(task, self.agent_image, configs))
        job = self.cluster.create_job(wanted, dry_run=self.check_mode)
        if job is None:
            words = f'a Job "{wanted["metadata"]["name"]}" is there, not known as this Build\'s: it is awaited'
            raise TaskError(ALREADY_EXISTS, words, retry_after=WAITING_PAUSE)
        if not self.check_mode:
            self.cluster.emit(build, Event("Normal", "Created", f"created Job {job['metadata']['name']}"))
        return job

    def _check_secret(self, build: Object) -> None:
        """Say that a Secret is missing, as far as Secrets may be read: its Pod would only be stuck."""
        name, namespace = secret_name(build), build["metadata"]["namespace"]
        if not name:
            return
        try:
            found = self.cluster.get_secret(namespace, name)
        except TaskError as error:
            if error.reason == "Forbidden":
                return
            raise
        if found is None:
            words = f'spec.source.git.secretRef: there is no Secret "{name}" in namespace {namespace}'
            raise TaskError("SecretMissing", words)

    def _record(self, build: Object, plan: Plan, seen: Seen, created: Object | None, done: Done) -> Object:
        now = timestamp()
        before = build.get("status") or {}
        after = compute_status(build, seen, now)
        if after != before and not self.check_mode:
            self.cluster.set_build_status(build, after)
            for event in compute_events(before, after):
                self.cluster.emit(build, event)
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


def _build_path(namespace: str, name: str) -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}/{name}"


def _jobs_path(namespace: str, *words: str) -> str:
    return "/".join(["/apis/batch/v1/namespaces", namespace, "jobs", *words])
