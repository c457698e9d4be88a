"""Distinguishes the controller's own changes of a watched object from those of others."""

from typing import Any

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import Object
from taskflow_controller.reconcile.conditions import OWN_TYPES, conditions_of
from taskflow_controller.reconcile.finalizers import finalizers_of

_BOOKKEEPING = ("resourceVersion", "generation", "managedFields")


def is_own_change(watch: Watch, old: Object | None, new: Object) -> bool:
    """Return whether an update changes only what the controller itself writes: its conditions and its finalizer.

    Without this check a kind that has no generation, or no separate status, would run forever: each run changes the
    object, and each change starts a run.

    Args:
        watch: the object's watch.
        old: the object before, None if it was never seen before.
        new: the object after.
    """
    if old is None or (not watch.manage_status and watch.finalizer is None):
        return False
    return _of_others(watch, old) == _of_others(watch, new)


def _of_others(watch: Watch, obj: Object) -> Object:
    """Return the object without the fields that the controller or the API server's bookkeeping writes."""
    kept = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _BOOKKEEPING}
    if watch.finalizer:
        metadata["finalizers"] = [name for name in finalizers_of(obj) if name != watch.finalizer.name]
    kept["metadata"] = metadata
    kept["status"] = _status_of_others(obj) if watch.manage_status else obj.get("status")
    return kept


def _status_of_others(obj: Object) -> Any:
    status = obj.get("status")
    if not isinstance(status, dict):
        return status
    rest = {key: value for key, value in status.items() if key != "conditions"}
    conditions = [item for item in conditions_of(obj) if not (isinstance(item, dict) and item.get("type") in OWN_TYPES)]
    return (rest, conditions) if rest or conditions else None
