# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Make the Pod of an attempt, or recognise the one that was made before."""

from __future__ import annotations

import dataclasses

from .. import _contract as c
from .._errors import ALREADY_EXISTS, TaskError
from .._image.batch import Images
from .._kube import event
from .._kube.shapes import Pod, Task
from .._pod.adoption import is_as_built, with_images
from .._pod.identity import Attempt
from .._pod.life import is_ending
from .._pod.pod import build_pod, images_to_look_up
from .._pod.spec import resolve
from .api import TaskApi
from .custody import name_taken


@dataclasses.dataclass(frozen=True)
class PodMaker:
    """What it takes to make a Task's Pods.

    Args:
        api: asks the API server.
        check_mode: True to change nothing.
        agent_image: the image that holds the agent.
        images: tells what images run by themselves; only Pods need it.
        own_namespace: the one that the operator itself runs in; "" where it is in none.
        track_pods: whether a Pod that is made stays, though it is deleted, until its end is recorded. It does not in
            the operator's own namespace: that could not be deleted, for the operator would go first.
    """

    api: TaskApi
    check_mode: bool
    agent_image: str = c.DEFAULT_AGENT_IMAGE
    images: Images | None = None
    own_namespace: str = ""
    track_pods: bool = False

    def build(self, task: Task, attempt: Attempt) -> Pod:
        """Build the Pod of one attempt."""
        resolved, namespace = resolve(task), task["metadata"]["namespace"]
        native = bool(resolved.sidecars) and self.api.has_native_sidecars()
        configs = {}
        if self.images:
            images = images_to_look_up(resolved, native)
            configs = self.images.configs(namespace, resolved.account, resolved.pull_secrets, images)
        tracked = self.track_pods and namespace != self.own_namespace
        return build_pod(
            task, resolved, self.agent_image, configs, attempt=attempt, native_sidecars=native, tracked=tracked
        )

    def create_pod(self, task: Task, attempt: Attempt, why: str) -> tuple[Pod | None, bool]:
        """Have the Pod of one attempt, and tell whether it was made now; no Pod while one of its name is ending.

        Args:
            task: the Task.
            attempt: which Pod of the run it is.
            why: why there is another attempt, in words; empty for the first.

        Raises:
            TaskError: PodNameTaken: somebody else has made a Pod of its name.
        """
        built = self.build(task, attempt)
        try:
            pod = self.api.create_pod(built, dry_run=self.check_mode)
        except TaskError as error:
            if error.reason != ALREADY_EXISTS:
                raise
            return self._pod_there(built, attempt), False
        if not self.check_mode:
            again = f" (attempt {attempt.number}, {why})" if why else ""
            self.api.emit(task, event.created(f"Pod {pod['metadata']['name']}{again}"))
        return pod, True

    def is_own(self, pod: Pod, built: Pod) -> bool:
        """Tell whether a Pod is what the API server makes of the one that was built: admission may change its images.

        Raises:
            TaskError: the API server would not take such a Pod now. It may later, whatever its reason.
        """
        if is_as_built(pod, built):
            return True
        if not is_as_built(pod, with_images(built, pod)):
            return False
        try:
            admitted = self.api.admitted_pod(built)
        except TaskError as error:
            raise TaskError(error.reason, error.message, retry_after=error.retry_after) from error
        return is_as_built(pod, with_images(built, admitted))

    def _pod_there(self, built: Pod, attempt: Attempt) -> Pod | None:
        """Return the Pod that has the name of one that was to be made; None where that is going.

        Raises:
            TaskError: PodNameTaken: somebody else has made it.
        """
        pod = self.api.get_pod(built["metadata"]["namespace"], built["metadata"]["name"])
        if pod is None or self.is_own(pod, built):
            return pod
        if is_ending(pod):
            return None
        raise name_taken(pod, attempt.number)
