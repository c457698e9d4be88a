"""Which events are worth a run. Pure functions: an event's old and new object in, the reason or None out."""

from collections.abc import Sequence
from typing import Any

from taskflow_controller.kinds import Object

_MISSING = object()
_IGNORED_METADATA = ("resourceVersion", "managedFields")


def primary_reason(old: Object | None, new: Object, *, watch_annotations: bool) -> str | None:
    """Return why a watched resource needs a run, None if it does not.

    In: the object as last seen (None at first sight) and as it is now. A status update alone is no reason;
    neither is a change of labels.
    """
    kind = new.get("kind", "")
    if old is None:
        return f"{kind} seen for the first time"
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    if after.get("deletionTimestamp") and not before.get("deletionTimestamp"):
        return f"{kind} is being deleted"
    if after.get("generation") is None:
        return f"{kind} changed" if before.get("resourceVersion") != after.get("resourceVersion") else None
    if before.get("generation") != after["generation"]:
        return f"{kind} generation {before.get('generation')} -> {after['generation']}"
    if watch_annotations and (before.get("annotations") or {}) != (after.get("annotations") or {}):
        return f"{kind} annotations changed"
    return None


def dependent_reason(old: Object | None, new: Object | None, *, fields: Sequence[str] | None) -> str | None:
    """Return why a dependent's event needs a run of its owner, None if it does not.

    In: the object before (None: it is new) and after (None: it was deleted). A deletion always is one. An update
    is, if one of the dotted paths ``fields`` changed; with no ``fields``, if anything but the status and the API's
    own bookkeeping changed. A creation is none without ``fields``; with them it is, for after a broken watch the
    first sight of an object may well be its last state.
    """
    if new is None:
        return f"{_label(old or {})} deleted"
    if old is None:
        return None if fields is None else f"{_label(new)} seen for the first time"
    if fields is None:
        return f"{_label(new)} changed" if _without_status(old) != _without_status(new) else None
    changed = [field for field in fields if value_at(old, field) != value_at(new, field)]
    return f"{_label(new)} {', '.join(changed)} changed" if changed else None


def value_at(obj: Object, path: str) -> Any:
    """Return the value at a dotted path; the same marker for every path that isn't there."""
    value: Any = obj
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value


def keep_only(obj: Object, fields: Sequence[str] | None) -> None:
    """Cut a dependent, in place, down to what the predicates and the owner's look-up need (memory)."""
    metadata = obj.get("metadata") or {}
    metadata.pop("managedFields", None)
    if fields is None:
        obj.pop("status", None)
        return
    names = ("name", "namespace", "uid", "resourceVersion", "ownerReferences")
    kept: Object = {key: obj[key] for key in ("apiVersion", "kind") if key in obj}
    kept["metadata"] = {key: metadata[key] for key in names if key in metadata}
    for field in fields:
        value = value_at(obj, field)
        if value is not _MISSING:
            _set(kept, field, value)
    obj.clear()
    obj.update(kept)


def _set(obj: Object, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for key in parents:
        obj = obj.setdefault(key, {})
    obj[last] = value


def _without_status(obj: Object) -> Object:
    trimmed = {key: value for key, value in obj.items() if key != "status"}
    metadata = obj.get("metadata") or {}
    trimmed["metadata"] = {key: value for key, value in metadata.items() if key not in _IGNORED_METADATA}
    return trimmed


def _label(obj: Object) -> str:
    return f"{obj.get('kind', 'object')} {(obj.get('metadata') or {}).get('name', '')}"
