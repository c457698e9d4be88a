"""Tasks and Pods as the API server writes them, for the tests of the pure logic."""

from __future__ import annotations

import json
from typing import Any

Object = dict[str, Any]


def make_task(*steps: Object | str, generation: int = 1, **spec: Any) -> Object:
    """Return a Task; a step given as a name echoes it."""
    full = [{"name": s, "image": "busybox:1.28", "command": ["echo", s]} if isinstance(s, str) else s for s in steps]
    return {
        "apiVersion": "api.practice.com/v1alpha1",
        "kind": "Task",
        "metadata": {"name": "demo", "namespace": "default", "uid": "task-uid", "generation": generation},
        "spec": {"steps": full, **spec},
    }


def make_pod(order: int = 0, phase: str = "Running", name: str = "task-pod-demo-1", generation: int = 1) -> Object:
    """Return a Pod without container statuses."""
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "2024-01-06T22:19:24Z",
            "annotations": {
                "taskorder": str(order),
                "api.practice.com/generation": str(generation),
                "api.practice.com/attempt": "1",
            },
        },
        "status": {"phase": phase},
    }


def set_states(pod: Object, **states: Object) -> Object:
    """Give the Pod its container statuses, sorted by name as the kubelet does, and return it."""
    pod["status"]["containerStatuses"] = [{"name": n, "state": s} for n, s in sorted(states.items())]
    return pod


RUNNING: Object = {"running": {"startedAt": "2024-01-06T22:19:26Z"}}


def waiting(reason: str = "ContainerCreating", message: str | None = None) -> Object:
    """Return the state of a container that has not started."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def ended(exit_code: int = 0, state: str | None = None, reported: bool = True, **fields: Any) -> Object:
    """Return the state of a container that has ended, with the agent's report unless it left none."""
    kubelet: Object = {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error"}
    if not reported:
        return {"terminated": {**kubelet, **fields}}
    report = {
        "state": state or ("Succeeded" if exit_code == 0 else "Failed"),
        "exitCode": exit_code,
        "startedAt": "2024-01-06T22:19:30.125Z",
        "finishedAt": "2024-01-06T22:19:55.250Z",
        **fields,
    }
    return {"terminated": {**kubelet, "message": json.dumps(report)}}
