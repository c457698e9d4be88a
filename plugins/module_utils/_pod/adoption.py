# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Tell whether a Pod is one that the operator made. Pure.

Labels, owner and annotations prove nothing: whoever may make Pods can write them. What proves it is the UID that the
Task's status has; for a Pod that was made a moment before that was written, it is the Pod's name and content.
"""

from __future__ import annotations

import typing as t

from .. import _contract as c
from .._contract import Object
from .._kube.owner import is_owned_by, owners_of
from .._kube.shapes import Pod, Task, TaskStatus
from .identity import pod_name, task_labels
from .life import attempt_of, number_of

# What the operator writes on a Pod when it makes it, and what it may add later.
MARKS = (
    c.SPEC_HASH_ANNOTATION,
    c.ATTEMPT_ANNOTATION,
    c.RETRY_ANNOTATION,
    c.SIDECAR_ANNOTATION,
    c.CANCELLED_ANNOTATION,
)


def is_recorded(status: TaskStatus, pod: Pod) -> bool:
    """Tell whether a Task's status speaks of this very Pod. One of an earlier version has no UID: the name decides."""
    uid = status.get("podUID")
    if uid:
        return pod["metadata"].get("uid") == uid
    return pod["metadata"]["name"] == status.get("podName")


def is_named_for(task: Task, pod: Pod) -> bool:
    """Tell whether a Pod has the name that the operator gives to the run and the attempt that the Pod says it is of."""
    spec = (pod["metadata"].get("annotations") or {}).get(c.SPEC_HASH_ANNOTATION, "")
    return pod["metadata"]["name"] == pod_name(task, attempt_of(pod).number, spec)


def is_astray(task: Task, pod: Pod) -> bool:
    """Tell whether somebody has taken the Task's labels or its ownership off a Pod: then no list shows it."""
    labels = pod["metadata"].get("labels") or {}
    wanted = task_labels(task["metadata"]["name"])
    return not wanted.items() <= labels.items() or not is_owned_by(pod, task["metadata"]["uid"])


def is_as_built(pod: Pod, built: Pod) -> bool:
    """Tell whether a Pod is what the operator would make, and nothing has been recorded on it since.

    Others may have added to it: containers, volumes, environment. It has to run the same agent, from the same image,
    with the same arguments, and nobody else may have a hand in the agent's directories. Its order does not matter, nor
    whether it was made for an earlier generation of the same spec.

    Args:
        pod: the Pod, as the API server has it.
        built: the Pod of the same name, as build_pod() makes it.
    """
    (owner,) = owners_of(built)
    return is_owned_by(pod, owner["uid"]) and _has_marks(pod, built) and _has_containers(pod, built)


def with_images(built: Pod, other: Pod) -> Pod:
    """Return a Pod that was built, with the images that another Pod has in containers of the same names."""
    return t.cast(Pod, {**built, "spec": {**built["spec"], **_with_images(built, other)}})


def _with_images(built: Pod, other: Pod) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for field in ("initContainers", "containers"):
        images = {container["name"]: container["image"] for container in _containers(other, field)}
        found[field] = [{**own, "image": images.get(own["name"], own["image"])} for own in _containers(built, field)]
    return found


def _containers(pod: Pod, field: str) -> list[Object]:
    containers: list[Object] = t.cast(Object, pod["spec"]).get(field) or []
    return containers


def _has_marks(pod: Pod, built: Pod) -> bool:
    there, wanted = (thing["metadata"].get("annotations") or {} for thing in (pod, built))
    is_newer = number_of(pod, c.GENERATION_ANNOTATION, 0) > number_of(built, c.GENERATION_ANNOTATION, 0)
    return not is_newer and all(there.get(mark) == wanted.get(mark) for mark in MARKS)


def _has_containers(pod: Pod, built: Pod) -> bool:
    there, wanted = pod["spec"], built["spec"]
    for field in ("initContainers", "containers"):
        found = {container["name"]: container for container in _containers(pod, field)}
        if not all(_is_same(found.get(own["name"]), own) for own in _containers(built, field)):
            return False
    volumes = {volume["name"]: volume.keys() for volume in t.cast(Object, there).get("volumes") or []}
    own_volumes = (volume for volume in t.cast(Object, wanted)["volumes"] if _is_own_volume(volume["name"]))
    return all(volumes.get(volume["name"]) == volume.keys() for volume in own_volumes)


def _is_own_volume(name: str) -> bool:
    return name == c.PODINFO_VOLUME or bool(name.startswith(c.RESERVED_VOLUME_PREFIX))


def _is_same(there: Object | None, own: Object) -> bool:
    """Tell whether a container runs what the operator has it run. A digest may have been added to its image."""
    if there is None or any((there.get(key) or []) != (own.get(key) or []) for key in ("command", "args")):
        return False
    image = there.get("image", "")
    is_same_image = image == own["image"] or image.startswith(own["image"] + "@sha256:")
    return is_same_image and _own_mounts(there) == _own_mounts(own)


def _own_mounts(container: Object) -> set[tuple[str, str, str, bool]]:
    """Return what is mounted where the agent has its files."""
    return {
        (mount["mountPath"], mount["name"], mount.get("subPath") or "", bool(mount.get("readOnly")))
        for mount in container.get("volumeMounts") or []
        if any(f"{mount['mountPath']}/".startswith(f"{path}/") for path in c.RESERVED_PATHS)
    }
