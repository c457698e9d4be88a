"""Many Tasks on one simulated API server, and what may go wrong with some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest import mock

from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._task import reconcile as _reconcile
from ansible_collections.taskflow.operator.plugins.module_utils._task.batch import Found, Target, serve_all

from support.tasks.factory import make_step, make_task
from support.tasks.looks import make_reconciler
from support.tasks.simulation import START, World

Object = dict[str, Any]

NOW = START.strftime("%Y-%m-%dT%H:%M:%SZ")


def world_of(name: str, namespace: str = "default", **spec: Any) -> World:
    """Return a World whose Task has a name and a UID of its own; its step succeeds."""
    task = make_task(make_step(), **spec)
    task["metadata"].update(name=name, namespace=namespace, uid=f"uid-of-{namespace}-{name}")
    return World(task, lambda _spec, _pod: ["ok"])


class Worlds:
    """The API server with the Tasks of several Worlds.

    ``faults`` has, by a Task's name, the method that fails for it and what it raises, each as often as it is there.
    ``calls`` has each call that was made, and the names of the Tasks that it was for.
    """

    def __init__(self, worlds: Iterable[World], faults: dict[str, list[tuple[str, Exception]]] | None = None) -> None:
        self.worlds = {(w.task["metadata"]["namespace"], w.task["metadata"]["name"]): w for w in worlds}
        self.faults = {name: list(some) for name, some in (faults or {}).items()}
        self.calls: list[tuple[str, str]] = []

    def get_task(self, namespace: str, name: str) -> Object | None:
        self._call("get_task", name)
        world = self.worlds.get((namespace, name))
        return world.get_task(namespace, name) if world else None

    def pods_of(self, tasks: Sequence[Object]) -> list[Object]:
        names = [task["metadata"]["name"] for task in tasks]
        self._call("pods_of", *names)
        assert len({task["metadata"]["namespace"] for task in tasks}) == 1
        # The server knows labels, not owners.
        return [pod for (_, name), world in sorted(self.worlds.items()) if name in names for pod in world.pods_of()]

    def get_pod(self, namespace: str, name: str) -> Object | None:
        self._call("get_pod", name)
        found = (world.get_pod(namespace, name) for world in self.worlds.values() if name in world.pods)
        return next(found, None)

    def release_pod(self, pod: Object) -> None:
        self._of_pod("release_pod", pod).release_pod(pod)

    def has_native_sidecars(self) -> bool:
        return False

    def create_pod(self, pod: Object, dry_run: bool = False) -> Object:
        return self._of_pod("create_pod", pod).create_pod(pod, dry_run)

    def admitted_pod(self, pod: Object) -> Object:
        return self._of_pod("create_pod", pod).admitted_pod(pod)

    def delete_pod(self, pod: Object) -> None:
        self._of_pod("delete_pod", pod).delete_pod(pod)

    def set_order(self, pod: Object, order: int, cancelled: bool = False) -> Object:
        return self._of_pod("set_order", pod).set_order(pod, order, cancelled)

    def end_pod(self, pod: Object, fault: str = "") -> Object:
        return self._of_pod("end_pod", pod).end_pod(pod, fault)

    def set_status(self, task: Object, status: Object) -> None:
        self._of_task("set_status", task).set_status(task, status)

    def emit(self, task: Object, event: Any, once: str = "") -> None:
        self._of_task("emit", task).emit(task, event, once)

    def state(self, name: str, namespace: str = "default") -> Object:
        """Return all that there is of a Task."""
        world = self.worlds[namespace, name]
        return {"task": world.task, "pods": world.pods_of(), "events": world.events}

    def _of_pod(self, method: str, pod: Object) -> World:
        (owner,) = pod["metadata"]["ownerReferences"]
        self._call(method, owner["name"])
        return self.worlds[pod["metadata"]["namespace"], owner["name"]]

    def _of_task(self, method: str, task: Object) -> World:
        self._call(method, task["metadata"]["name"])
        return self.worlds[task["metadata"]["namespace"], task["metadata"]["name"]]

    def _call(self, method: str, *names: str) -> None:
        self.calls.append((method, ",".join(names)))
        for name in names:
            for fault in self.faults.get(name, []):
                if fault[0] == method:
                    self.faults[name].remove(fault)
                    raise fault[1]


def serve(
    cluster: Worlds,
    *names: str,
    method: Callable[[Any, Found], Object] = lambda reconciler, found: reconciler.reconcile(found),
    images: Any = None,
) -> list[Object | Exception]:
    """Serve the Tasks of these names, each ``name`` or ``namespace/name``, in one go."""
    reconciler = make_reconciler(cluster, agent_image="agent:1", images=images)
    targets = [Target(*(["default", *name.split("/")][-2:])) for name in names]
    with mock.patch.object(_reconcile, "timestamp", lambda: NOW):
        return serve_all(cluster, targets, lambda found, _target: method(reconciler, found), reconciler.others_are_done)


def quota() -> TaskError:
    """Return what the API server says when a quota is used up."""
    return TaskError("QuotaExceeded", "could not create a Pod: exceeded quota")
