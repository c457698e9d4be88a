# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What a Task's spec comes to: checked, the stepTemplate merged in, the references filled in. Pure."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import posixpath
import typing as t

from .. import _contract as c
from .._contract import Object
from .._durations import seconds_of
from .._errors import InvalidSpec, TaskError
from .._image.name import parse_image
from .._kube.shapes import Task, TaskSpec
from . import agent
from .identity import spec_hash
from .merge import merge_step
from .variables import Scope, Step, fill_container, fill_plain, param_values, read_results, written_results


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A spec in which nothing is left to look up but the images.

    Attributes:
        steps, sidecars: containers, with the fields that a Task adds (script, timeout, ...).
        volumes, template, service_account: as in the spec.
        writes: for each step the names of the results that it writes.
        reads: for each step the numbers (from 1) of the steps whose results the agent fills in.
        mark: what marks those in the steps' words.
    """

    steps: list[Object]
    sidecars: list[Object]
    volumes: list[Object]
    template: Object
    service_account: str
    writes: list[frozenset[str]]
    reads: list[tuple[int, ...]]
    mark: str

    @property
    def account(self) -> str:
        """The Pod's ServiceAccount."""
        return self.service_account or "default"

    @property
    def pull_secrets(self) -> list[str]:
        """The names of the pull secrets that the Pod names."""
        return [str(reference.get("name", "")) for reference in self.template.get("imagePullSecrets") or []]


def resolve(task: Task) -> Resolved:
    """Return what a Task's spec comes to.

    Raises:
        InvalidSpec: it names the first field that is wrong.
    """
    spec = task["spec"]
    merged = [merge_step(spec.get("stepTemplate") or {}, step) for step in spec["steps"]]
    check_spec(spec, merged)
    outside = Scope(param_values(spec))
    # Only to have what is wrong in it named as its own.
    fill_plain(spec.get("stepTemplate") or {}, "spec.stepTemplate", outside._replace(own=Step("", "", frozenset())))
    mark = _mark(task)
    written = [
        Step(step["name"], agent.results_dir(number), written_results(step))
        for number, step in enumerate(merged, start=1)
    ]
    steps = [
        fill_container(
            step,
            f"spec.steps[{index}]",
            Scope(outside.params, written[index], {s.name: s for s in written[:index]}, mark),
        )
        for index, step in enumerate(merged)
    ]
    sidecars = [
        fill_container(sidecar, f"spec.sidecars[{index}]", outside)
        for index, sidecar in enumerate(spec.get("sidecars") or [])
    ]
    volumes = fill_plain(copy.deepcopy(spec.get("volumes") or []), "spec.volumes", outside)
    _check_places(steps, sidecars, volumes)
    _check_images(spec, steps, sidecars)
    template = fill_plain(copy.deepcopy(spec.get("podTemplate") or {}), "spec.podTemplate", outside)
    _check_metadata(template.get("metadata") or {})
    _check_variables(steps, mark)
    numbers = {step.name: number for number, step in enumerate(written, start=1)}
    return Resolved(
        steps=steps,
        sidecars=sidecars,
        volumes=volumes,
        template=template,
        service_account=fill_plain(spec.get("serviceAccountName") or "", "spec.serviceAccountName", outside),
        writes=[step.results for step in written],
        reads=[tuple(sorted(numbers[name] for name in read_results(step, mark))) for step in steps],
        mark=mark,
    )


def check_spec(spec: TaskSpec, steps: list[Object]) -> None:
    """Refuse what the CRD's schema can't: names that are taken, missing images, and the like.

    Args:
        spec: the Task's spec.
        steps: its steps with the stepTemplate merged in.

    Raises:
        InvalidSpec: it names the first field that is wrong.
    """
    seen: set[str] = set()
    for index, step in enumerate(steps):
        path = f"spec.steps[{index}]"
        if not step.get("image"):
            raise InvalidSpec(f"{path}.image", "is missing, and spec.stepTemplate has none")
        if step.get("timeout"):
            seconds_of(step["timeout"], f"{path}.timeout")
        _check_container(path, step, seen)
    for index, sidecar in enumerate(spec.get("sidecars") or []):
        _check_container(f"spec.sidecars[{index}]", sidecar, seen)
    if spec.get("timeout"):
        seconds_of(spec["timeout"], "spec.timeout")


def _check_places(steps: list[Object], sidecars: list[Object], volumes: list[Object]) -> None:
    """Refuse what is in the way of the operator or the kubelet, whatever parameter it comes from."""
    for index, volume in enumerate(volumes):
        name = str(volume.get("name", ""))
        if name == c.PODINFO_VOLUME or name.startswith(c.RESERVED_VOLUME_PREFIX):
            raise InvalidSpec(f"spec.volumes[{index}].name", f"{name!r} is reserved for the operator")
    for key, containers in (("steps", steps), ("sidecars", sidecars)):
        for index, container in enumerate(containers):
            _check_places_of(f"spec.{key}[{index}]", container)


def _check_places_of(path: str, container: Object) -> None:
    _check_text(path, container)
    for index, mount in enumerate(container.get("volumeMounts") or []):
        _check_mount(f"{path}.volumeMounts[{index}]", mount)
    if container.get("terminationMessagePath"):
        _check_message_path(f"{path}.terminationMessagePath", container)


def _check_text(path: str, value: t.Any) -> None:
    """Refuse a NUL character. It ends a text for the kernel: no container can be started with it, no script be read.

    Raises:
        InvalidSpec: it names the field below ``path``.
    """
    if isinstance(value, str) and "\0" in value:
        raise InvalidSpec(path, "holds a NUL character, which no argument, variable, path or script can have")
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        _check_text(f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}", item)


def _check_variables(steps: list[Object], mark: str) -> None:
    """Refuse the name of a variable with a result that $(NAME) can't name, by which the agent gets its value."""
    for index, step in enumerate(steps):
        for number, variable in enumerate(step.get("env") or []):
            if ")" in str(variable.get("name", "")) and read_results(variable.get("value"), mark):
                path = f"spec.steps[{index}].env[{number}].name"
                raise InvalidSpec(path, f"{variable['name']!r} holds a ')', and its value a result: take another name")


def _check_images(spec: TaskSpec, steps: list[Object], sidecars: list[Object]) -> None:
    """Refuse an image that no kubelet can read the name of: it would keep its container waiting for ever."""
    of_steps = zip(spec["steps"], steps, strict=True)
    named = [
        *((f"spec.steps[{n}]" if own.get("image") else "spec.stepTemplate", x) for n, (own, x) in enumerate(of_steps)),
        *((f"spec.sidecars[{n}]", x) for n, x in enumerate(sidecars) if "image" in x),
    ]
    for path, container in named:
        try:
            parse_image(container["image"])
        except TaskError as error:
            raise InvalidSpec(f"{path}.image", error.message) from error


def _check_metadata(metadata: Object) -> None:
    """Refuse labels and annotations that are the operator's: it would take the Pod for what they say."""
    for kind in ("labels", "annotations"):
        for key in metadata.get(kind) or {}:
            if key in c.RESERVED_NAMES or key.startswith(c.RESERVED_DOMAINS):
                raise InvalidSpec(
                    f"spec.podTemplate.metadata.{kind}[{json.dumps(key)}]", "is reserved for the operator"
                )
    annotations = metadata.get("annotations") or {}
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in annotations.items())
    limit = c.ANNOTATIONS_BYTES - c.OWN_ANNOTATIONS_BYTES
    if size > limit:
        words = f"have {size} bytes, and the Pod has room for {limit} beside the operator's own"
        raise InvalidSpec("spec.podTemplate.metadata.annotations", words)


def _check_container(path: str, container: t.Mapping[str, t.Any], seen: set[str]) -> None:
    if container["name"] in seen:
        raise InvalidSpec(f"{path}.name", f"{container['name']!r} is the name of another step or sidecar")
    seen.add(container["name"])
    if container["name"] == c.INSTALL_CONTAINER:
        raise InvalidSpec(f"{path}.name", f"{c.INSTALL_CONTAINER!r} is reserved for the operator")
    if container.get("script") and container.get("command"):
        raise InvalidSpec(f"{path}.command", "there is either a script or a command")
    for key in ("command", "args"):
        _check_words(f"{path}.{key}", container.get(key) or [])


def _check_words(path: str, words: list[t.Any]) -> None:
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise InvalidSpec(f"{path}[{index}]", f"must be a string, not {json.dumps(word)}")


def _check_mount(path: str, mount: Object) -> None:
    where = _place(mount.get("mountPath", ""))
    for reserved in c.RESERVED_PATHS:
        if where.startswith(reserved + "/") or (reserved + "/").startswith(where):
            raise InvalidSpec(f"{path}.mountPath", f"{mount.get('mountPath')!r} would hide {reserved} of the operator")


def _check_message_path(path: str, container: Object) -> None:
    """Refuse a file for the termination message that the kubelet could not mount there, or that would hide others'."""
    text = str(container["terminationMessagePath"])
    where, parts = _place(text), text.split("/")
    if not text.startswith("/") or ".." in parts or parts[-1] in ("", "."):
        raise InvalidSpec(path, f"{text!r} must be the absolute path of a file, without '..'")
    if text == c.DEFAULT_MESSAGE_PATH:
        return
    for reserved in (*c.RESERVED_PATHS, *c.KERNEL_PATHS):
        if where.startswith(reserved + "/") or (reserved + "/").startswith(where):
            raise InvalidSpec(path, f"{text!r} is no place for a file: {reserved} is the operator's, or the kernel's")
    for mount in container.get("volumeMounts") or []:
        if _place(mount.get("mountPath", "")).startswith(where):
            raise InvalidSpec(path, f"{text!r} would hide the volume that is mounted at {mount['mountPath']}")


def _place(path: t.Any) -> str:
    """Return a path as the container runtime sees it, absolute and without detours, with a / at its end."""
    return posixpath.normpath("/" + str(path).lstrip("/")).rstrip("/") + "/"


def _mark(task: Task) -> str:
    """Return what no value can hold that was written before the Task was: a digest of the Task's UID."""
    return "taskflow-" + hashlib.sha256(f"{task['metadata']['uid']}/{spec_hash(task)}".encode()).hexdigest()[:16]
