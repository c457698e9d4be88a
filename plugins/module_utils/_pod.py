# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Build the Pod that runs a Task's steps. Pure: dictionaries in, dictionaries out."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import typing as t

from . import _contract as c
from ._errors import InvalidSpec
from ._image import ImageConfig

Object = dict[str, t.Any]

# One string of an argument vector holds at most 128 KiB (MAX_ARG_STRLEN of Linux); a script travels in pieces.
SCRIPT_CHUNK = 96 * 1024
NAME_MAX = 63
# What generateName appends to a name.
SUFFIX_LENGTH = 5

# The user of the agent's image.
AGENT_UID = 65532
RESTRICTED_SECURITY_CONTEXT: Object = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def label_value(name: str) -> str:
    """Return a resource's name as a label value: cut and hashed when it is longer than a label may be."""
    if len(name) <= NAME_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return name[: NAME_MAX - len(digest) - 1].rstrip("-.") + "-" + digest


def generate_name(task_name: str) -> str:
    """Return the Pod's generateName, short enough for the whole name to fit a label and a host name."""
    room = NAME_MAX - SUFFIX_LENGTH - 1
    return (c.POD_NAME_PREFIX + task_name.replace(".", "-"))[:room].rstrip("-") + "-"


def task_labels(name: str) -> dict[str, str]:
    """Return the labels that every Pod of the Task of this name carries."""
    return {c.TYPE_LABEL: c.TYPE_LABEL_VALUE, c.TASK_LABEL: label_value(name)}


def images_to_look_up(task: Object) -> list[str]:
    """Return the images whose ENTRYPOINT must be known: those of steps with neither command nor script."""
    wanted = (s["image"] for s in task["spec"]["steps"] if not s.get("command") and not s.get("script"))
    return list(dict.fromkeys(wanted))


def build_pod(task: Object, agent_image: str, image_configs: t.Mapping[str, ImageConfig], attempt: int = 1) -> Object:
    """Build the Pod of one attempt of a Task.

    Args:
        task: the Task, as the API server returns it.
        agent_image: the image that holds the agent.
        image_configs: what each image of images_to_look_up() runs by itself.
        attempt: which Pod of this generation of the spec it is, from 1.

    Raises:
        InvalidSpec: a field holds what the operator needs for itself.
    """
    spec, template = task["spec"], task["spec"].get("podTemplate") or {}
    check_spec(spec)
    steps = spec["steps"]
    pod_spec = {key: copy.deepcopy(value) for key, value in template.items() if key != "metadata"}
    pod_spec.update(
        restartPolicy="Never",
        initContainers=[_install_container(steps, agent_image, template.get("securityContext") or {})],
        containers=[_step_container(spec, number, image_configs) for number in range(1, len(steps) + 1)],
        volumes=copy.deepcopy(spec.get("volumes") or []) + _own_volumes(steps),
    )
    if spec.get("serviceAccountName"):
        pod_spec["serviceAccountName"] = spec["serviceAccountName"]
    else:
        pod_spec["automountServiceAccountToken"] = False
    metadata = _pod_metadata(task, template.get("metadata") or {}, attempt)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec}


def command_line(step: Object, image: ImageConfig | None) -> list[str]:
    """Return the argument vector of a step without a script, by the rules of a core/v1 Container.

    A command drops the image's ENTRYPOINT and CMD; args without a command replace CMD. What comes from the image is
    escaped, since the kubelet expands $(NAME) in a container's args but not in an image's own.

    Raises:
        InvalidSpec: nothing says what to run.
    """
    command, args = step.get("command") or [], step.get("args") or []
    if command:
        return [*command, *args]
    if image is None:
        raise ValueError(f"the configuration of image {step['image']} was not looked up")
    entrypoint = [_escape(word) for word in image.entrypoint]
    line = [*entrypoint, *(args or [_escape(word) for word in image.cmd])]
    if not line:
        raise InvalidSpec(
            f"spec.steps[{step['name']}].command",
            f"is empty, and the image {step['image']} has neither ENTRYPOINT nor CMD: say what to run",
        )
    return line


def encode_script(script: str) -> str:
    """Return a script as the agent reads it: gzip, then base64."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def check_spec(spec: Object) -> None:
    """Refuse what the CRD's schema can't: names and paths that the operator needs for itself.

    Raises:
        InvalidSpec: it names the first field that is wrong.
    """
    seen: set[str] = set()
    for index, step in enumerate(spec["steps"]):
        path = f"spec.steps[{index}]"
        if step["name"] in seen:
            raise InvalidSpec(f"{path}.name", f"{step['name']!r} is the name of another step")
        seen.add(step["name"])
        if step["name"] == c.INSTALL_CONTAINER:
            raise InvalidSpec(f"{path}.name", f"{c.INSTALL_CONTAINER!r} is reserved for the operator")
        if step.get("script") and step.get("command"):
            raise InvalidSpec(f"{path}.command", "a step has either a script or a command")
        for key in ("command", "args"):
            _check_words(f"{path}.{key}", step.get(key) or [])
        for mount_index, mount in enumerate(step.get("volumeMounts") or []):
            _check_mount(f"{path}.volumeMounts[{mount_index}]", mount)
    for index, volume in enumerate(spec.get("volumes") or []):
        name = str(volume.get("name", ""))
        if name == c.PODINFO_VOLUME or name.startswith(c.RESERVED_VOLUME_PREFIX):
            raise InvalidSpec(f"spec.volumes[{index}].name", f"{name!r} is reserved for the operator")


def _check_words(path: str, words: list[t.Any]) -> None:
    for index, word in enumerate(words):
        if not isinstance(word, str):
            raise InvalidSpec(f"{path}[{index}]", f"must be a string, not {json.dumps(word)}")


def _check_mount(path: str, mount: Object) -> None:
    where = str(mount.get("mountPath", "")).rstrip("/") + "/"
    for reserved in c.RESERVED_PATHS:
        if where.startswith(reserved + "/") or (reserved + "/").startswith(where):
            raise InvalidSpec(f"{path}.mountPath", f"{mount.get('mountPath')!r} would hide {reserved} of the operator")


def _escape(word: str) -> str:
    return word.replace("$", "$$")


def _pod_metadata(task: Object, template: Object, attempt: int) -> Object:
    metadata = task["metadata"]
    return {
        "generateName": generate_name(metadata["name"]),
        "namespace": metadata["namespace"],
        "labels": {**(template.get("labels") or {}), **task_labels(metadata["name"])},
        "annotations": {
            **(template.get("annotations") or {}),
            c.ORDER_ANNOTATION: str(c.ORDER_INITIAL),
            c.GENERATION_ANNOTATION: str(metadata["generation"]),
            c.ATTEMPT_ANNOTATION: str(attempt),
        },
        "ownerReferences": [
            {
                "apiVersion": c.API_VERSION,
                "kind": c.KIND,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def _install_container(steps: list[Object], agent_image: str, pod_security: Object) -> Object:
    security = copy.deepcopy(RESTRICTED_SECURITY_CONTEXT)
    if pod_security.get("runAsUser") == 0:
        # The image's own user, which a Pod that runs as root would override.
        security["runAsUser"] = AGENT_UID
    args = ["install", c.AGENT_DIR]
    mounts = [{"name": c.AGENT_VOLUME, "mountPath": c.AGENT_DIR}]
    if any(step.get("script") for step in steps):
        args += ["--scripts-dir", c.SCRIPTS_DIR]
        mounts.append({"name": c.SCRIPTS_VOLUME, "mountPath": c.SCRIPTS_DIR})
    for number, step in enumerate(steps, start=1):
        text = encode_script(step["script"]) if step.get("script") else ""
        for start in range(0, len(text), SCRIPT_CHUNK):
            args += ["--script", f"{number}={text[start : start + SCRIPT_CHUNK]}"]
    return {
        "name": c.INSTALL_CONTAINER,
        "image": agent_image,
        "args": args,
        "volumeMounts": mounts,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": security,
    }


def _step_container(spec: Object, number: int, image_configs: t.Mapping[str, ImageConfig]) -> Object:
    """Return the container of step ``number`` (from 1): the author's own, started by the agent."""
    step = spec["steps"][number - 1]
    container = {key: copy.deepcopy(value) for key, value in step.items() if key != "script"}
    container["command"] = [f"{c.AGENT_DIR}/{c.AGENT_NAME}"]
    container["args"] = _agent_flags(spec, number)
    if step.get("script"):
        container["args"] += ["--encodefile", f"{c.SCRIPTS_DIR}/{number}", "--script-dir", _run_dir(number), "--"]
        container["args"] += step.get("args") or []
    else:
        container["args"] += ["--command", *command_line(step, image_configs.get(step["image"]))]
    container["volumeMounts"] = (container.get("volumeMounts") or []) + _own_mounts(spec["steps"], number)
    return container


def _agent_flags(spec: Object, number: int) -> list[str]:
    step = spec["steps"][number - 1]
    flags = ["--wait", f"{c.PODINFO_DIR}/{c.ORDER_FILE_NAME}", "--quit", str(c.ORDER_QUIT)]
    if spec.get("handoff") == c.HANDOFF_ANNOTATION:
        flags += ["--waitcontent", str(number)]
    flags += ["--ready", f"{_run_dir(number)}/ready", "--done", f"{_run_dir(number)}/done"]
    if number == 1:
        for other in range(2, len(spec["steps"]) + 1):
            flags += ["--await", f"{_run_dir(other)}/ready"]
    else:
        flags += ["--after", f"{_run_dir(number - 1)}/done"]
    flags += ["--termination-limit", str(_message_limit(len(spec["steps"]) + 1))]
    path = step.get("terminationMessagePath")
    return flags + (["--termination-log", path] if path else [])


def _message_limit(containers: int) -> int:
    """Return how many bytes of its termination message each of a Pod's containers keeps."""
    return min(c.CONTAINER_MESSAGE_BYTES, c.POD_MESSAGE_BYTES // containers)


def _run_dir(number: int) -> str:
    return f"{c.RUN_DIR}/{number}"


def _run_volume(number: int) -> str:
    return f"{c.RUN_VOLUME_PREFIX}{number}"


def _own_mounts(steps: list[Object], number: int) -> list[Object]:
    """Return the operator's mounts of a step. Only its own run directory is writable: no step forges another's end."""
    seen = range(2, len(steps) + 1) if number == 1 else [number - 1]
    mounts: list[Object] = [
        {"name": c.AGENT_VOLUME, "mountPath": c.AGENT_DIR, "readOnly": True},
        {"name": c.PODINFO_VOLUME, "mountPath": c.PODINFO_DIR, "readOnly": True},
        {"name": _run_volume(number), "mountPath": _run_dir(number)},
    ]
    mounts += [{"name": _run_volume(n), "mountPath": _run_dir(n), "readOnly": True} for n in seen]
    if steps[number - 1].get("script"):
        mounts.append({"name": c.SCRIPTS_VOLUME, "mountPath": c.SCRIPTS_DIR, "readOnly": True})
    return mounts


def _own_volumes(steps: list[Object]) -> list[Object]:
    order_file = {
        "path": c.ORDER_FILE_NAME,
        "fieldRef": {"fieldPath": f"metadata.annotations['{c.ORDER_ANNOTATION}']"},
    }
    volumes: list[Object] = [
        {"name": c.AGENT_VOLUME, "emptyDir": {}},
        {"name": c.PODINFO_VOLUME, "downwardAPI": {"items": [order_file]}},
    ]
    volumes += [{"name": _run_volume(number), "emptyDir": {}} for number in range(1, len(steps) + 1)]
    if any(step.get("script") for step in steps):
        volumes.append({"name": c.SCRIPTS_VOLUME, "emptyDir": {}})
    return volumes
