"""Tasks and Pods as the API server writes them, for the tests of the pure logic."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import spec_hash
from ansible_collections.taskflow.operator.plugins.module_utils._pod.pod import build_pod
from ansible_collections.taskflow.operator.plugins.module_utils._pod.spec import resolve

Object = dict[str, Any]

CREATED = "2024-01-06T22:19:24Z"
NOW = "2024-01-06T22:20:00Z"
LATER = "2024-01-06T22:30:00Z"


def make_task(
    *steps: Object | str, generation: int = 1, annotations: dict[str, str] | None = None, **spec: Any
) -> Object:
    """Return a Task; a step given as a name echoes it."""
    full = [{"name": s, "image": "busybox:1.28", "command": ["echo", s]} if isinstance(s, str) else s for s in steps]
    metadata: Object = {"name": "demo", "namespace": "default", "uid": "task-uid", "generation": generation}
    return {
        "apiVersion": "api.practice.com/v1alpha1",
        "kind": "Task",
        "metadata": {**metadata, **({"annotations": annotations} if annotations else {})},
        "spec": {"steps": full, **spec},
    }


def make_step(name: str = "a", **fields: Any) -> Object:
    """Return a step that has its own image and command, unless the fields say otherwise."""
    runs = {} if {"script", "command"} & fields.keys() else {"command": ["c"]}
    return {"name": name, "image": "i", **runs, **fields}


def changed(task: Object, **spec: Any) -> Object:
    """Return the Task as it is after somebody changed its spec: the generation is the next one."""
    metadata = {**task["metadata"], "generation": task["metadata"]["generation"] + 1}
    return {**task, "metadata": metadata, "spec": {**task["spec"], **spec}}


def make_pod(
    order: int = 0,
    phase: str = "Running",
    name: str = "task-pod-demo-1",
    generation: int = 1,
    *,
    attempt: int = 1,
    retry: int = 0,
    of: Object | None = None,
) -> Object:
    """Return a Pod without container statuses; ``of`` is the Task whose present spec it has."""
    annotations = {
        "taskorder": str(order),
        "api.practice.com/generation": str(of["metadata"]["generation"] if of else generation),
        "api.practice.com/attempt": str(attempt),
        "api.practice.com/retry": str(retry),
    }
    if of:
        annotations["api.practice.com/spec-hash"] = spec_hash(of)
    return {
        "metadata": {"name": name, "uid": f"uid-of-{name}", "creationTimestamp": CREATED, "annotations": annotations},
        "status": {"phase": phase},
    }


def ending(thing: Object, due: str = NOW) -> Object:
    """Have the Pod or Task deleted, and return it."""
    thing["metadata"]["deletionTimestamp"] = due
    return thing


def set_states(pod: Object, **states: Object) -> Object:
    """Give the Pod its container statuses, sorted by name as the kubelet does, and return it."""
    pod["status"]["containerStatuses"] = [{"name": n, "state": s} for n, s in sorted(states.items())]
    return pod


# Steps whose order is not that of their names.
NAMES = ["zeta", "alpha", "mid", "last"]


def pod_of(order: int, *states: Object, phase: str = "Running") -> Object:
    """Return a Pod whose steps, by NAMES, have these states."""
    return set_states(make_pod(order, phase), **dict(zip(NAMES, states, strict=False)))


RUNNING: Object = {"running": {"startedAt": "2024-01-06T22:19:26Z"}}


def waiting(reason: str = "ContainerCreating", message: str | None = None) -> Object:
    """Return the state of a container that has not started."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def ended(exit_code: int = 0, state: str | None = None, reported: bool = True, **fields: Any) -> Object:
    """Return the state of a container that has ended, with the agent's report unless it left none."""
    kubelet: Object = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error"}
    if not reported:
        return {"terminated": {**kubelet, **fields}}
    times = {"startedAt": "2024-01-06T22:19:30.125Z", "finishedAt": "2024-01-06T22:19:55.250Z"}
    report = {
        "state": state or ("Succeeded" if exit_code == 0 else "Failed"),
        "exitCode": exit_code,
        # A step that was skipped was never started.
        **({} if state == "Skipped" else times),
        **fields,
    }
    return {"terminated": {**kubelet, "message": json.dumps(report)}}


def continued(exit_code: int = 3, **fields: Any) -> Object:
    """Return the state of a step that failed and lets the Task go on: its container itself ends with 0."""
    return ended(0, "Failed", continued=1, **{"exitCode": exit_code, **fields})


def build(task: Object, images: Object | None = None, **options: Any) -> Object:
    """Return the Pod of a Task."""
    return build_pod(task, resolve(task), "agent:1", images or {}, **options)


def container_of(pod: Object, name: str) -> Object:
    """Return one of the Pod's containers, init containers included."""
    every = pod["spec"]["initContainers"] + pod["spec"]["containers"]
    return next(c for c in every if c["name"] == name)


def flags_of(pod: Object, name: str) -> list[str]:
    """Return the agent's flags in a container: what stands before the words to run."""
    args = container_of(pod, name)["args"]
    ends = [args.index(end) for end in ("--command", "--encodefile") if end in args]
    return args[: min(ends)]


def values_of(pod: Object, name: str, flag: str) -> list[str]:
    """Return the values of one of the agent's flags in a container."""
    flags = flags_of(pod, name)
    return [flags[i + 1] for i, word in enumerate(flags) if word == flag]


def words_of(pod: Object, name: str) -> list[str]:
    """Return what the agent runs in a container, before the kubelet expands it."""
    args = container_of(pod, name)["args"]
    return args[args.index("--command" if "--command" in args else "--") + 1 :]


def condition(status: Object) -> Object:
    """Return the condition Succeeded."""
    return next(c for c in status["conditions"] if c["type"] == "Succeeded")


def verdict(status: Object) -> tuple[str, str]:
    """Return a status's word and reason."""
    return status["status"], condition(status)["reason"]
