# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What is asked of the API server for Builds, their Jobs and the Pods of those."""

from __future__ import annotations

import dataclasses

from .._contract import Object
from .._errors import ALREADY_EXISTS, CONFLICT, FORBIDDEN, REFUSED, TaskError
from .._kube.client import Api
from .._kube.event import Event
from .._kube.kind import BUILD, EVENT, JOB, POD, SECRET, Kind, S
from .._kube.shapes import Build, BuildStatus, Job, Pod, RecordedEvent
from .._task.api import TaskApi, change_pod
from .build import BUILD_LABEL, is_for, is_pod_for, labels_of


@dataclasses.dataclass(frozen=True)
class BuildApi:
    """The API server, for Builds and their Jobs. Each method raises TaskError as ``Api`` does.

    Args:
        api: sends the requests.
    """

    api: Api

    def get_build(self, namespace: str, name: str) -> Build | None:
        """Return the Build; None when there is none."""
        return self.api.get(BUILD, namespace, name)

    def set_status(self, build: Build, status: BuildStatus) -> Build:
        """Replace the Build's status, provided that nobody has changed the Build since; return the Build."""
        return self.api.replace_status(BUILD, build, status)

    def emit(self, build: Build, event: Event) -> None:
        """Record an Event on the Build; one that can't be written is let go."""
        self.api.emit(build, event)

    def get_secret(self, namespace: str, name: str) -> Object | None:
        """Return a Secret; None when there is none."""
        return self.api.get(SECRET, namespace, name)

    def jobs_of(self, build: Build) -> list[Job]:
        """Return every Job that the Build owns, or that one of the same name owned before it."""
        return [job for job in self._labelled(JOB, "Jobs", build) if is_for(job, build)]

    def pods_of_jobs(self, build: Build) -> list[Pod]:
        """Return every Pod of such a Job, be it there still or not."""
        return [pod for pod in self._labelled(POD, "Pods", build) if is_pod_for(pod, build)]

    def events_of(self, job: Job) -> list[RecordedEvent]:
        """Return the Events of this very Job; none where Events may not be read."""
        metadata = job["metadata"]
        what = f"the Events of Job {metadata['namespace']}/{metadata['name']}"
        fields = f"involvedObject.uid={metadata['uid']}"
        try:
            return self.api.list_all(EVENT, metadata["namespace"], what, fields=fields)
        except TaskError as error:
            if error.reason == FORBIDDEN:
                return []
            raise

    def create_job(self, job: Job, dry_run: bool) -> Job | None:
        """Create the Job and return it; None where it is there already. A dry run asks whether it would be taken."""
        try:
            return self.api.create(JOB, job, dry_run, f"a Job in namespace {job['metadata']['namespace']}")
        except TaskError as error:
            if error.reason == ALREADY_EXISTS:
                return None
            raise

    def delete_job(self, job: Job) -> None:
        """Delete this very Job, its Pods first: until they are gone, it is there."""
        self.api.delete(JOB, job, propagation="Foreground")

    def allow_tries(self, job: Job, limit: int) -> None:
        """Set how often this very Job may try again, those times included that it already has.

        Raises:
            TaskError: Conflict, when another Job has taken its place.
        """
        metadata = job["metadata"]
        patch: list[Object] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/spec/backoffLimit", "value": limit},
        ]
        try:
            self.api.patch(JOB, job, f"set the backoffLimit of Job {metadata['namespace']}/{metadata['name']}", patch)
        except TaskError as error:
            if error.reason != REFUSED:
                raise
            raise TaskError(CONFLICT, error.message) from error

    def end_pod(self, pod: Pod) -> None:
        """Have the kubelet end whatever runs in the Pod. It is not deleted: its logs stay.

        Raises:
            TaskError: OrderConflict, when somebody else has changed its order since.
        """
        TaskApi(self.api).end_pod(pod)

    def delete_pod(self, pod: Pod) -> None:
        """Delete this very Pod; nothing happens when it is gone already."""
        self.api.delete(POD, pod)

    def set_order(self, pod: Pod, order: int) -> None:
        """Change the Pod's order, provided it still is what it was.

        Raises:
            TaskError: OrderConflict, when somebody else has changed it since.
        """
        change_pod(self.api, pod, order)

    def _labelled(self, kind: Kind[S], plural: str, build: Build) -> list[S]:
        metadata = build["metadata"]
        what = f"the {plural} of Build {metadata['namespace']}/{metadata['name']}"
        labels = f"{BUILD_LABEL}={labels_of(build)[BUILD_LABEL]}"
        return self.api.list_all(kind, metadata["namespace"], what, labels)
