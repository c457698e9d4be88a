"""A cluster as a Build sees it: API server, Job controller, garbage collector and kubelet.

Whoever uses a BuildWorld decides what happens next. Nowhere are there two Pods of one Build that may run.
"""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from ansible_collections.taskflow.operator.plugins.module_utils._build import reconcile as _jobs
from ansible_collections.taskflow.operator.plugins.module_utils._build.build import build_hash, is_for, is_pod_for
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.batch import Images
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import BUILD

Object = dict[str, Any]
Action = Callable[[], None]

START = datetime.datetime(2024, 1, 6, 22, 19, 24, tzinfo=datetime.UTC)
FINAL = ("Successful", "Failure")
# By how a step ends: its container's exit code and the agent's report, which a killed agent could not write.
ENDS = {
    "ok": (0, {"state": "Succeeded", "exitCode": 0}),
    "fails": (1, {"state": "Failed", "exitCode": 1}),
    "skips": (1, {"state": "Skipped", "exitCode": 1}),
    "killed": (137, None),
    "continues": (0, {"state": "Failed", "exitCode": 1, "continued": 1}),
}
# What only the kubelet knows to be no name of an image, and how a container of it stays.
NO_IMAGE = "0" * 64
INVALID = {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}
# The container of a service mesh, say, that somebody else adds to each Pod. It never ends by itself.
PROXY = "proxy"


class OperatorKilled(Exception):
    """The operator is killed in the middle of its work."""


class BuildWorld:
    """The API server and all who work on it.

    Args:
        outcomes: tells from a Build's spec how the steps of its Pods end.
        with_proxy: whether each Pod gets a container that never ends.
    """

    def __init__(self, spec: Object, outcomes: Callable[[Object], list[str]], with_proxy: bool = False) -> None:
        self.outcomes, self.clock, self.uids, self.with_proxy = outcomes, START, 0, with_proxy
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.ends: dict[str, list[str]] = {}
        self.events: list[str] = []
        self.job_events: list[Object] = []
        self.writes_left, self.git_image = 1000, "git:1"
        # What others do in the middle of the operator's work, before it writes the status.
        self.meanwhile: Action | None = None
        self._changes = 0
        # The wanted states of which a status was written, and how many things there had been by then.
        self._recorded: list[tuple[str, int]] = []
        # The Pod that a status has named, by its Job's UID.
        self._told: dict[str, str] = {}
        self.recreate(spec)

    @property
    def now(self) -> str:
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def status(self) -> Object:
        return self.build.get("status") or {}

    def _uid(self) -> str:
        self.uids += 1
        return f"uid-{self.uids}"

    # What users do.

    def recreate(self, spec: Object) -> None:
        """Have another Build of the same name; the garbage collector removes what the one before owned."""
        self._told.clear()
        metadata = {"name": "site", "namespace": "ci", "uid": self._uid(), "generation": 1, "annotations": {}}
        self.build = {
            "apiVersion": BUILD.api_version,
            "kind": BUILD.name,
            "metadata": metadata,
            "spec": copy.deepcopy(spec),
        }
        self._touch()

    def change(self, **spec: Any) -> None:
        """Change the spec."""
        self.build["metadata"]["generation"] += 1
        self.build["spec"] = {**self.build["spec"], **copy.deepcopy(spec)}
        self._touch()

    def request(self, text: str) -> None:
        """Ask for a build anew."""
        self.build["metadata"]["annotations"]["build.taskflow/request"] = text
        self._touch()

    def _touch(self) -> None:
        self._changes += 1
        self.build["metadata"]["resourceVersion"] = str(self._changes)

    def delete_by_hand(self, job: Object, way: str) -> None:
        """Delete a Job as kubectl does by default, or with --cascade=foreground or orphan."""
        if way == "foreground":
            job["metadata"]["deletionTimestamp"] = self.now
            return
        del self.jobs[job["metadata"]["name"]]
        if way == "orphan":
            for pod in self.pods.values():
                if _owner(pod) == job["metadata"]["uid"]:
                    pod["metadata"]["ownerReferences"] = []

    # What the operator calls.

    def jobs_of(self, build: Object) -> list[Object]:
        return copy.deepcopy([job for job in self.jobs.values() if is_for(job, build)])

    def pods_of_jobs(self, build: Object) -> list[Object]:
        return copy.deepcopy([pod for pod in self.pods.values() if is_pod_for(pod, build)])

    def get_build(self, namespace: str, name: str) -> Object:
        assert (namespace, name) == ("ci", "site")
        return copy.deepcopy(self.build)

    def events_of(self, job: Object) -> list[Object]:
        assert job["metadata"]["uid"] == self.jobs[job["metadata"]["name"]]["metadata"]["uid"]
        return self.job_events

    def create_job(self, job: Object, dry_run: bool) -> Object | None:
        self._write()
        assert not dry_run
        json.dumps(job)
        if job["metadata"]["name"] in self.jobs:
            return None
        self.uids += 1
        job = copy.deepcopy(job)
        job["metadata"].update(uid=f"job-{self.uids}", number=self.uids, creationTimestamp=self.now)
        job["status"] = {}
        self.jobs[job["metadata"]["name"]] = job
        return copy.deepcopy(job)

    def delete_job(self, job: Object) -> None:
        self._write()
        found = self.jobs.get(job["metadata"]["name"])
        if found and found["metadata"]["uid"] == job["metadata"]["uid"]:
            found["metadata"].setdefault("deletionTimestamp", self.now)

    def allow_tries(self, job: Object, limit: int) -> None:
        self._write()
        found = self.jobs.get(job["metadata"]["name"])
        if found is None or found["metadata"]["uid"] != job["metadata"]["uid"]:
            raise TaskError("Conflict", "it is another one")
        found["spec"]["backoffLimit"] = limit

    def end_pod(self, pod: Object) -> None:
        self.set_order(pod, -1)
        self.pods[pod["metadata"]["name"]]["spec"]["activeDeadlineSeconds"] = 1

    def delete_pod(self, pod: Object) -> None:
        self._write()
        if pod["metadata"]["name"] in self.pods:
            self._end_pod(self.pods[pod["metadata"]["name"]])

    def set_order(self, pod: Object, order: int) -> None:
        self._write()
        if pod["metadata"]["name"] not in self.pods:
            raise TaskError("NotFound", "it is gone")
        self.pods[pod["metadata"]["name"]]["metadata"]["annotations"]["taskorder"] = str(order)

    def set_status(self, build: Object, status: Object) -> Object:
        self._write()
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        if build["metadata"]["resourceVersion"] != self.build["metadata"]["resourceVersion"]:
            raise TaskError("Conflict", "somebody else was faster")
        before, same = self.status, self.status.get("buildHash") == status["buildHash"]
        if same and before["phase"] in FINAL:
            assert {**status, "observedGeneration": 0} == {**before, "observedGeneration": 0}, "the verdict has changed"
        if status["phase"] in FINAL and not (same and before["phase"] in FINAL) and status.get("jobName") in self.jobs:
            number = self.jobs[status["jobName"]]["metadata"]["number"]
            others = [count for state, count in self._recorded if state != status["buildHash"]]
            assert number > max(others, default=0), "it was built before another state was wanted"
        self._check_pod(status)
        self._recorded.append((status["buildHash"], self.uids))
        self.build["status"] = copy.deepcopy(status)
        self._touch()
        return copy.deepcopy(self.build)

    def _check_pod(self, status: Object) -> None:
        """Check that nothing is forgotten of the Pod of a Job that has not been made again since."""
        job, name = self.jobs.get(status.get("jobName")), status.get("podName", "")
        if job is None:
            return
        uid = job["metadata"]["uid"]
        assert name or uid not in self._told, f"forgotten: {self._told[uid]}"
        if name in self.pods and _owner(self.pods[name]) == uid:
            self._told[uid] = name

    def emit(self, _build: Object, event: Any) -> None:
        self.events.append(event.reason)

    def _write(self) -> None:
        if self.writes_left == 0:
            raise OperatorKilled
        self.writes_left -= 1

    def round(self, writes: int = 1000, meanwhile: Action | None = None, check_mode: bool = False) -> Object:
        """Reconcile once and return the result, or {}. The operator may be killed after some writes."""
        self.clock += datetime.timedelta(seconds=1)
        self.writes_left, self.meanwhile = writes, meanwhile
        images = Images(self, lambda: None, for_many=False)
        reconciler = _jobs.BuildReconciler(self, check_mode, "agent:1", self.git_image, images)
        with mock.patch.object(_jobs, "timestamp", lambda: self.now):
            try:
                return reconciler.reconcile_named("ci", "site")
            except OperatorKilled:
                return {}
            except TaskError as error:
                assert error.reason == "NotFound", error.message
                return {}

    # What the Job controller, the garbage collector and the kubelet do.

    def actions(self) -> list[Action]:
        """Return all that can happen next."""
        return [*self._of_jobs(), *self._of_pods()]

    def _of_jobs(self) -> Iterator[Action]:
        for job in list(self.jobs.values()):
            pods = [pod for pod in self.pods.values() if _owner(pod) == job["metadata"]["uid"]]
            if _owner(job) != self.build["metadata"]["uid"]:
                yield lambda job=job: self.jobs.pop(job["metadata"]["name"], None)
            if job["metadata"].get("deletionTimestamp"):
                for pod in pods:
                    if "deletionTimestamp" not in pod["metadata"]:
                        yield lambda pod=pod: self._end_pod(pod)
                if not pods:
                    yield lambda job=job: self.jobs.pop(job["metadata"]["name"], None)
            elif _types_of(job) == ["FailureTarget"]:
                if all(map(_is_over, pods)):
                    yield lambda job=job: self._end_job(job, "Failed", "DeadlineExceeded")
            elif not job["status"].get("conditions") and (all(map(_is_over, pods)) or _has_failed(job, pods)):
                yield lambda job=job, pods=pods: self._go_on(job, pods)

    def _go_on(self, job: Object, pods: list[Object]) -> None:
        job["status"]["failed"] = sum(pod["status"]["phase"] == "Failed" for pod in pods)
        if _has_failed(job, pods):
            for pod in pods:
                if not _is_over(pod):
                    self._end_pod(pod)
            self._end_job(job, "Failed", "BackoffLimitExceeded")
        elif any(pod["status"]["phase"] == "Succeeded" for pod in pods):
            self._end_job(job, "Complete")
        else:
            self._make_pod(job)

    def run_out_of_time(self, job: Object) -> None:
        """Let a Job's activeDeadlineSeconds have passed. Its Pods go before it tells of its end."""
        self._end_job(job, "FailureTarget", "DeadlineExceeded")
        for pod in list(self.pods.values()):
            if _owner(pod) == job["metadata"]["uid"] and not _is_over(pod):
                self._end_pod(pod)

    def _end_job(self, job: Object, kind: str, reason: str = "") -> None:
        job["status"]["conditions"] = [
            {"type": kind, "status": "True", "reason": reason, "message": reason, "lastTransitionTime": self.now}
        ]

    def _make_pod(self, job: Object) -> None:
        is_decided = self.is_current() and self.status["phase"] in FINAL
        assert not (is_decided and self.status.get("jobName") == job["metadata"]["name"]), (
            "another try after the verdict"
        )
        template, uid = copy.deepcopy(job["spec"]["template"]), self._uid()
        self.ends[f"pod-{uid}"] = self.outcomes(template["spec"])
        if self.with_proxy:
            template["spec"]["containers"].insert(0, {"name": PROXY, "image": "mesh:1"})
        owner = {"kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
        template["metadata"].update(name=f"pod-{uid}", uid=uid, creationTimestamp=self.now, ownerReferences=[owner])
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        names = [container["name"] for container in template["spec"]["containers"]]
        statuses = [{"name": name, "state": waiting} for name in names]
        self.pods[f"pod-{uid}"] = {**template, "status": {"phase": "Pending", "containerStatuses": statuses}}
        alive = [name for name, pod in self.pods.items() if not _is_over(pod)]
        assert len(alive) <= 1, f"two Pods at once: {alive}"

    def _end_pod(self, pod: Object) -> None:
        pod["metadata"].setdefault("deletionTimestamp", self.now)
        if _is_over(pod):
            self.pods.pop(pod["metadata"]["name"], None)

    def _of_pods(self) -> Iterator[Action]:
        job_uids = [job["metadata"]["uid"] for job in self.jobs.values()]
        for name, pod in list(self.pods.items()):
            is_ending = "deletionTimestamp" in pod["metadata"]
            if _owner(pod) and _owner(pod) not in job_uids and not is_ending:
                yield lambda pod=pod: self._end_pod(pod)
            if is_ending:
                yield lambda name=name: self.pods.pop(name, None)
            is_new = all(_is_new(container) for container in pod["status"]["containerStatuses"])
            if pod["status"]["phase"] == "Pending" and is_new and not is_ending:
                yield lambda pod=pod: self._start(pod)
            elif pod["spec"].get("activeDeadlineSeconds") and not _is_over(pod):
                yield lambda pod=pod: _fail(pod, "DeadlineExceeded", 143)
            elif pod["status"]["phase"] == "Running":
                step = self._next_step(pod)
                if step:
                    yield step

    def _start(self, pod: Object) -> None:
        images = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        for container in pod["status"]["containerStatuses"]:
            is_invalid = images[container["name"]] == NO_IMAGE
            container["state"] = copy.deepcopy(INVALID) if is_invalid else {"running": {}}
        if NO_IMAGE not in images.values():
            pod["status"]["phase"] = "Running"

    def _next_step(self, pod: Object) -> Action | None:
        """Return the end of the first step that has not ended; None where it waits for good."""
        before = "ok"
        statuses = [status for status in pod["status"]["containerStatuses"] if status["name"] != PROXY]
        for container, end in zip(statuses, self.ends[pod["metadata"]["name"]], strict=True):
            if "terminated" not in container["state"]:
                stops = before in ("fails", "skips") or pod["metadata"]["annotations"]["taskorder"] == "-1"
                if before == "killed" and not stops:
                    return None
                return lambda: self._end_step(pod, container, "skips" if stops else end)
            before = container["end"]
        return None

    @staticmethod
    def _end_step(pod: Object, container: Object, end: str) -> None:
        code, report = ENDS[end]
        ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
        container["end"] = end
        container["state"] = {"terminated": {**ended, **({"message": json.dumps(report)} if report else {})}}
        statuses = pod["status"]["containerStatuses"]
        if all("terminated" in other["state"] for other in statuses):
            failed = any(other["state"]["terminated"]["exitCode"] for other in statuses)
            pod["status"]["phase"] = "Failed" if failed else "Succeeded"

    def lose_pod(self, pod: Object) -> None:
        """Let the kubelet evict a Pod for its node's sake."""
        _fail(pod, "Evicted", 137, "The node was low on resource: memory. ")

    def settle(self) -> None:
        """Let everything happen that still will."""
        for _ in range(100):
            before = copy.deepcopy((self.build, self.jobs, self.pods))
            self.round()
            for _ in range(1000):
                if not (actions := self.actions()):
                    break
                actions[0]()
            if before == (self.build, self.jobs, self.pods):
                return
        raise AssertionError(f"it never ends: {json.dumps(self.status)}")

    def is_current(self) -> bool:
        """Tell whether the status speaks of the wanted state."""
        return self.status.get("buildHash") == build_hash(self.build)


def _owner(thing: Object) -> str:
    return str(next((owner["uid"] for owner in thing["metadata"].get("ownerReferences") or []), ""))


def _fail(pod: Object, reason: str, code: int, message: str = "") -> None:
    """Let the kubelet end what runs in a Pod, and say why."""
    for container in pod["status"]["containerStatuses"]:
        if "terminated" not in container["state"]:
            container["state"] = {"terminated": {"exitCode": code, "reason": "Error"}}
    pod["status"].update(phase="Failed", reason=reason, message=message or f"it was told: {reason}")


def _has_failed(job: Object, pods: list[Object]) -> bool:
    """Tell whether more of a Job's Pods have failed than may."""
    return sum(pod["status"]["phase"] == "Failed" for pod in pods) > job["spec"]["backoffLimit"]


def _types_of(job: Object) -> list[str]:
    return [condition["type"] for condition in job["status"].get("conditions", [])]


def _is_new(container: Object) -> bool:
    return container["state"].get("waiting", {}).get("reason") == "ContainerCreating"


def _is_over(pod: Object) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")
