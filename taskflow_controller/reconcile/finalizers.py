"""Finalizers: decides what is due on a resource, and adds and removes its finalizer."""

import enum
from collections.abc import Callable
from typing import Any

from taskflow_controller.config.watches import Finalizer
from taskflow_controller.kube.api import JSON_PATCH, MERGE_PATCH
from taskflow_controller.kube.kinds import Object, ResourceKey
from taskflow_controller.kube.objects import Objects, Patch, Patience

PATIENCE = 60.0  # seconds for which a removal is retried while the API server fails


class Step(enum.Enum):
    """The step that is due on a resource."""

    RUN = "run"
    ADD = "add the finalizer, then run"
    FINALIZE = "run the finalizer, then remove it"
    LEAVE = "nothing: its deletion is not ours to wait for"


def next_step(finalizer: Finalizer | None, obj: Object) -> Step:
    """Return the step that is due on an object whose watch has this finalizer, None for no finalizer."""
    ours = finalizer is not None and finalizer.name in finalizers_of(obj)
    if obj["metadata"].get("deletionTimestamp"):
        return Step.FINALIZE if ours else Step.LEAVE
    return Step.RUN if ours or finalizer is None else Step.ADD


def finalizers_of(obj: Object) -> list[Any]:
    """Return the names of an object's finalizers."""
    return (obj.get("metadata") or {}).get("finalizers") or []


class FinalizerKeeper:
    """Adds and removes finalizers, but leaves those of others alone. Thread-safe.

    Args:
        objects: changes the resources.
        hurry: returns true if the controller is about to end, so that it must not wait.
    """

    def __init__(self, objects: Objects, hurry: Callable[[], bool]) -> None:
        self._objects, self._patience = objects, Patience(PATIENCE, hurry)

    def add(self, key: ResourceKey, obj: Object, name: str) -> Object | None:
        """Add a finalizer, unless the object is being deleted, and return the object; None if the object is gone.

        Args:
            key: the resource.
            obj: how it was last seen.
            name: the finalizer's name.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        return self._objects.change(key.gvk, obj, lambda known: _addition(known, name), Patience(0))

    def remove(self, key: ResourceKey, obj: Object, name: str) -> Object | None:
        """Remove a finalizer and return the object; None if the object is gone.

        Args:
            key: the resource.
            obj: how it was last seen.
            name: the finalizer's name.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        return self._objects.change(key.gvk, obj, lambda known: removal(known, name), self._patience)


def _addition(obj: Object, name: str) -> Patch | None:
    metadata, names = obj["metadata"], finalizers_of(obj)
    if name in names or metadata.get("deletionTimestamp"):
        return None
    # A merge patch replaces the whole list, so it must apply only if the object has not changed since.
    unchanged = {field: metadata.get(field) for field in ("uid", "resourceVersion")}
    return Patch({"metadata": {**unchanged, "finalizers": [*names, name]}}, MERGE_PATCH)


def removal(obj: Object, name: str) -> Patch | None:
    """Return the patch that removes a finalizer from an object, or None if it has no such finalizer."""
    names = finalizers_of(obj)
    if name not in names:
        return None
    path = f"/metadata/finalizers/{names.index(name)}"
    return Patch(
        [
            {"op": "test", "path": "/metadata/uid", "value": obj["metadata"].get("uid")},
            {"op": "test", "path": path, "value": name},
            {"op": "remove", "path": path},
        ],
        JSON_PATCH,
    )
