# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Build the Pod that runs a Task's steps. Pure: dictionaries in, dictionaries out."""

from __future__ import annotations

import copy
import math
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import seconds_of
from .._errors import InvalidSpec, TaskError
from .._image.name import ImageConfig, parse_image
from .._kube.kind import POD, TASK
from .._kube.owner import owner_reference
from .._kube.shapes import Metadata, Pod, PodSpec, Task, TaskSpec
from . import agent
from .identity import FIRST_ATTEMPT, Attempt, pod_name, spec_hash, task_labels
from .merge import merge_step
from .resources import keep_largest_requests
from .spec import Resolved
from .variables import refuse_inline

# What a Task's containers have that a core/v1 Container has not.
OWN_FIELDS = ("script", "timeout", "onError", "retries")

# The user of the agent's image.
AGENT_UID = 65532
RESTRICTED_SECURITY_CONTEXT: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def images_to_look_up(resolved: Resolved, native_sidecars: bool = False) -> list[str]:
    """Return the images whose ENTRYPOINT must be known: those the agent starts without a command or a script."""
    containers = resolved.steps + ([] if native_sidecars else resolved.sidecars)
    wanted = (x["image"] for x in containers if not x.get("command") and not x.get("script"))
    return list(dict.fromkeys(wanted))


def build_pod(
    task: Task,
    resolved: Resolved,
    agent_image: str,
    image_configs: t.Mapping[str, ImageConfig],
    *,
    attempt: Attempt = FIRST_ATTEMPT,
    native_sidecars: bool = False,
    tracked: bool = False,
) -> Pod:
    """Build the Pod of one attempt of a Task.

    Args:
        task: the Task, as the API server returns it.
        resolved: what its spec comes to.
        agent_image: the image that holds the agent.
        image_configs: what each image of images_to_look_up() runs by itself.
        attempt: which Pod of the run it is.
        native_sidecars: whether the cluster has them (init containers with restartPolicy Always).
        tracked: whether the Pod has the finalizer that keeps it until its end is recorded.

    Raises:
        InvalidSpec: a field is wrong, or holds what the operator needs for itself.
        TaskError: BadAgentImage: the agent's image has no valid name.
    """
    try:
        parse_image(agent_image)
    except TaskError as error:
        raise TaskError("BadAgentImage", f"the operator's {c.AGENT_IMAGE_ENV}: {error.message}") from error
    builder = _Builder(task["spec"], resolved, image_configs, native_sidecars)
    template = resolved.template
    pod_spec = {key: copy.deepcopy(value) for key, value in template.items() if key != "metadata"}
    pod_spec.update(
        restartPolicy="Never",
        initContainers=[builder.install_container(agent_image), *builder.native_sidecars()],
        containers=builder.steps() + builder.ordinary_sidecars(),
        volumes=resolved.volumes + builder.volumes(),
    )
    if task["spec"].get("timeout"):
        # Should the operator be away when the time is up.
        limit = seconds_of(task["spec"]["timeout"], "spec.timeout")
        pod_spec["activeDeadlineSeconds"] = math.ceil(limit) + c.TIMEOUT_GRACE
    if resolved.service_account:
        pod_spec["serviceAccountName"] = resolved.service_account
    else:
        pod_spec["automountServiceAccountToken"] = False
    metadata = _pod_metadata(task, template.get("metadata") or {}, attempt)
    if tracked:
        metadata["finalizers"] = [c.TRACKING_FINALIZER]
    return {"apiVersion": POD.api_version, "kind": POD.name, "metadata": metadata, "spec": t.cast(PodSpec, pod_spec)}


def command_line(container: Object, path: str, raw_args: list[str], image: ImageConfig | None) -> list[str]:
    """Return the argument vector of a container without a script, by the rules of a core/v1 Container.

    A command drops the image's ENTRYPOINT and CMD; args without a command replace CMD. What comes from the image is
    escaped, since the kubelet expands $(NAME) in a container's args but not in an image's own.

    Args:
        container: its references are filled in.
        path: its place in the spec.
        raw_args: its args as they were written.
        image: what its image runs; may be None where there is a command.

    Raises:
        InvalidSpec: nothing says what to run, or a value would become part of a program of the ENTRYPOINT.
    """
    command, args = container.get("command") or [], container.get("args") or []
    if command:
        return [*command, *args]
    if image is None:
        raise ValueError(f"the configuration of image {container['image']} was not looked up")
    refuse_inline([*image.entrypoint, *raw_args], f"{path} (after the image's ENTRYPOINT)")
    entrypoint = [agent.escaped(word) for word in image.entrypoint]
    line = [*entrypoint, *(args or [agent.escaped(word) for word in image.cmd])]
    if not line:
        raise InvalidSpec(
            f"{path}.command",
            f"is empty, and the image {container['image']} has neither ENTRYPOINT nor CMD: say what to run",
        )
    return line


class _Builder:
    """The containers and volumes of one Pod."""

    def __init__(
        self, spec: TaskSpec, resolved: Resolved, images: t.Mapping[str, ImageConfig], native_sidecars: bool
    ) -> None:
        self._spec, self._resolved, self._images, self._native = spec, resolved, images, native_sidecars
        self._steps, self._sidecars = resolved.steps, resolved.sidecars
        self._grace: int | None = resolved.template.get("terminationGracePeriodSeconds")
        self._scripts = {
            number: container["script"]
            for number, container in enumerate(self._steps + self._sidecars, start=1)
            if container.get("script")
        }

    def install_container(self, agent_image: str) -> Object:
        """Return the init container that installs the agent."""
        security = copy.deepcopy(RESTRICTED_SECURITY_CONTEXT)
        if (self._resolved.template.get("securityContext") or {}).get("runAsUser") == 0:
            # The image's own user, which a Pod that runs as root would override.
            security["runAsUser"] = AGENT_UID
        mounts = [{"name": c.AGENT_VOLUME, "mountPath": c.AGENT_DIR}]
        if self._scripts:
            mounts.append({"name": c.SCRIPTS_VOLUME, "mountPath": c.SCRIPTS_DIR})
        return {
            "name": c.INSTALL_CONTAINER,
            "image": agent_image,
            "args": agent.install_arguments(self._scripts),
            "volumeMounts": mounts,
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
            "securityContext": security,
        }

    def steps(self) -> list[Object]:
        """Return the steps' containers: the author's own, started by the agent."""
        containers = [self._step(number) for number in range(1, len(self._steps) + 1)]
        return keep_largest_requests(containers) if self._spec.get("resourcePolicy") == c.RESOURCES_MAX else containers

    def ordinary_sidecars(self) -> list[Object]:
        """Return the sidecars that are containers beside the steps, which the agent stops when those have ended."""
        return [] if self._native else [self._sidecar(index) for index in range(len(self._sidecars))]

    def native_sidecars(self) -> list[Object]:
        """Return the sidecars that are init containers which go on, and which the kubelet stops."""
        if not self._native:
            return []
        return [{**self._native_sidecar(index), "restartPolicy": "Always"} for index in range(len(self._sidecars))]

    def volumes(self) -> list[Object]:
        """Return the operator's own volumes."""
        order_file = {
            "path": c.ORDER_FILE_NAME,
            "fieldRef": {"fieldPath": f"metadata.annotations['{c.ORDER_ANNOTATION}']"},
        }
        volumes: list[Object] = [
            {"name": c.AGENT_VOLUME, "emptyDir": {}},
            {"name": c.PODINFO_VOLUME, "downwardAPI": {"items": [order_file]}},
        ]
        with_agent = [*range(1, len(self._steps) + 1), *self._sidecars_with_agent()]
        volumes += [{"name": agent.run_volume(number), "emptyDir": {}} for number in with_agent]
        if self._scripts:
            volumes.append({"name": c.SCRIPTS_VOLUME, "emptyDir": {}})
        return volumes

    def _sidecars_with_agent(self) -> dict[int, str]:
        """Return numbers and names of the sidecars that the agent starts."""
        numbered = enumerate(self._sidecars, start=len(self._steps) + 1)
        return {number: sidecar["name"] for number, sidecar in numbered if not self._runs_by_itself(sidecar)}

    def _runs_by_itself(self, sidecar: Object) -> bool:
        """Tell whether the kubelet starts what the image runs: nobody else needs to know what that is."""
        return self._native and not sidecar.get("script") and not sidecar.get("command")

    def _container_count(self) -> int:
        return len(self._steps) + len(self._sidecars) + 1

    def _step(self, number: int) -> Object:
        step, resolved = self._steps[number - 1], self._resolved
        reads = resolved.reads[number - 1]
        flags = [*agent.order_flags(), *agent.turn_flags(number, self._turn(number))]
        flags += [*agent.mark_flags(number), *agent.once_flags(number)]
        others, sidecars = range(2, len(self._steps) + 1), self._sidecars_with_agent()
        if number == 1:
            flags += agent.await_flags(others, sidecars)
        flags += agent.report_flags(step, self._container_count())
        flags += agent.failure_flags(step, self._grace)
        flags += agent.result_flags(number, resolved.writes[number - 1])
        flags += agent.fill_flags(step, {self._steps[n - 1]["name"]: n for n in reads}, resolved.mark)
        seen = {*others, *sidecars} if number == 1 else {number - 1, *reads}
        words = self._words(number, f"spec.steps[{number - 1}]", self._raw_step(number))
        return self._started_by_agent(step, number, [*flags, *words], seen)

    def _turn(self, number: int) -> int | None:
        """Return the order that a step waits for; None where its neighbours tell it when it is its turn."""
        if self._spec.get("handoff") == c.HANDOFF_ANNOTATION:
            return number
        # Only the API server knows when a sidecar is ready.
        is_probed = any(sidecar.get("readinessProbe") for sidecar in self._sidecars)
        return 1 if number == 1 and is_probed else None

    def _raw_step(self, number: int) -> Object:
        return merge_step(self._spec.get("stepTemplate") or {}, self._spec["steps"][number - 1])

    def _sidecar(self, index: int) -> Object:
        sidecar, number = self._sidecars[index], len(self._steps) + index + 1
        flags = ["sidecar", *agent.mark_flags(number), *agent.order_flags()]
        flags += agent.until_flags(len(self._steps))
        flags += agent.report_flags(sidecar, self._container_count())
        flags += agent.grace_flags(self._grace)
        flags += self._words(number, f"spec.sidecars[{index}]", self._spec["sidecars"][index])
        return self._started_by_agent(sidecar, number, flags, set(range(1, len(self._steps) + 1)))

    def _native_sidecar(self, index: int) -> Object:
        sidecar, number = self._sidecars[index], len(self._steps) + index + 1
        if self._runs_by_itself(sidecar):
            return _core_fields(sidecar)
        stays = agent.stays(sidecar)
        flags = ["sidecar", *agent.mark_flags(number), *(agent.stay_flags() if stays else [])]
        flags += agent.report_flags(sidecar, self._container_count())
        flags += agent.grace_flags(self._grace)
        flags += self._words(number, f"spec.sidecars[{index}]", self._spec["sidecars"][index])
        return self._started_by_agent(sidecar, number, flags, {1} if stays else set())

    def _words(self, number: int, path: str, raw: t.Mapping[str, t.Any]) -> list[str]:
        """Return what a container runs, as the agent's last arguments."""
        container = (self._steps + self._sidecars)[number - 1]
        if container.get("script"):
            words = container.get("args") or []
            line = [*agent.script_flags(number), *words]
        else:
            words = command_line(container, path, raw.get("args") or [], self._images.get(container["image"]))
            line = ["--command", *words]
        for word in words:
            if len(word.encode()) >= c.ARGUMENT_BYTES:
                raise InvalidSpec(
                    path,
                    f"the argument {word[:20]!r}... has {len(word.encode())} bytes, and Linux takes no more than "
                    f"{c.ARGUMENT_BYTES - 1}: use a script, or a file of a volume",
                )
        return line

    def _started_by_agent(self, container: Object, number: int, arguments: list[str], seen: set[int]) -> Object:
        """Return the container with the agent for its command, and the operator's mounts.

        Only its own run directory is writable, and it sees those in ``seen``: no step forges another's end.
        """
        started = _core_fields(container)
        started["command"], started["args"] = [agent.AGENT], arguments
        mounts: list[Object] = [
            {"name": c.AGENT_VOLUME, "mountPath": c.AGENT_DIR, "readOnly": True},
            {"name": c.PODINFO_VOLUME, "mountPath": c.PODINFO_DIR, "readOnly": True},
            {"name": agent.run_volume(number), "mountPath": agent.run_dir(number)},
        ]
        for other in sorted(seen):
            mounts.append({"name": agent.run_volume(other), "mountPath": agent.run_dir(other), "readOnly": True})
        if number in self._scripts:
            mounts.append({"name": c.SCRIPTS_VOLUME, "mountPath": c.SCRIPTS_DIR, "readOnly": True})
        started["volumeMounts"] = (started.get("volumeMounts") or []) + mounts
        return started


def _core_fields(container: Object) -> Object:
    return {key: copy.deepcopy(value) for key, value in container.items() if key not in OWN_FIELDS}


def _pod_metadata(task: Task, template: Object, attempt: Attempt) -> Metadata:
    metadata = task["metadata"]
    return {
        "name": pod_name(task, attempt.number),
        "namespace": metadata["namespace"],
        "labels": {**(template.get("labels") or {}), **task_labels(metadata["name"])},
        "annotations": {
            **(template.get("annotations") or {}),
            c.ORDER_ANNOTATION: str(c.ORDER_INITIAL),
            c.GENERATION_ANNOTATION: str(metadata["generation"]),
            c.SPEC_HASH_ANNOTATION: spec_hash(task),
            c.ATTEMPT_ANNOTATION: str(attempt.number),
            c.RETRY_ANNOTATION: str(attempt.retry),
        },
        "ownerReferences": [owner_reference(TASK, task)],
    }
