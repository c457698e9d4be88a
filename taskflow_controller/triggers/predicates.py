"""Decides which events need a run. Pure functions: an event's old and new object in, the reason or None out."""

from collections.abc import Sequence

from taskflow_controller.kube.field_paths import FieldPath, only, path_text, value_at
from taskflow_controller.kube.kinds import Object

# Fields that change with every write to an object, whatever was written.
_BOOKKEEPING = frozenset({"resourceVersion", "managedFields", "selfLink"})
# Fields about the object's deletion, not about its content.
_LIFECYCLE = {"finalizers", "ownerReferences"}
_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "ownerReferences")
FINALIZERS = ("metadata", "finalizers")
_OWNER_ANNOTATIONS = ("operator-sdk/primary-resource", "operator-sdk/primary-resource-type")
_NEEDED = (
    ("apiVersion",),
    ("kind",),
    *(("metadata", key) for key in _IDENTITY),
    *(("metadata", "annotations", key) for key in _OWNER_ANNOTATIONS),
)


def primary_reason(old: Object | None, new: Object, *, watch_annotations: bool) -> str | None:
    """Return why a watched resource needs a run, or None if it does not.

    Its generation shows whether its spec changed. A change of only its status, labels, finalizers or owners is not a
    reason. A kind without generations needs a run for any change except of finalizers and owners.

    Args:
        old: the object as last seen, None if it was never seen before.
        new: the object as it is now.
        watch_annotations: whether changed annotations are a reason.
    """
    kind = new.get("kind", "")
    if old is None:
        return f"{kind} seen for the first time"
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    if after.get("deletionTimestamp") and not before.get("deletionTimestamp"):
        return f"{kind} is being deleted"
    if not after.get("generation"):
        return f"{kind} changed" if _without_lifecycle(old) != _without_lifecycle(new) else None
    if before.get("generation") != after["generation"]:
        return f"{kind} generation {before.get('generation')} -> {after['generation']}"
    if watch_annotations and (before.get("annotations") or {}) != (after.get("annotations") or {}):
        return f"{kind} annotations changed"
    return None


def dependent_reason(old: Object | None, new: Object | None, *, fields: Sequence[FieldPath] | None) -> str | None:
    """Return why a dependent's event needs a run of its owner, or None if it does not.

    A deletion always does. A creation does if there are ``fields``, because after a broken watch an object may be seen
    for the first time in its final state.

    Args:
        old: the object before, None if it is new.
        new: the object after, None if it was deleted.
        fields: an update needs a run if one of these changed. None: if anything changed except the status and the
            API's own bookkeeping.
    """
    if new is None:
        return f"{_label(old or {})} deleted"
    if old is None:
        return None if fields is None else f"{_label(new)} seen for the first time"
    if fields is None:
        return f"{_label(new)} changed" if _without(old, {"status"}) != _without(new, {"status"}) else None
    changed = [path_text(field) for field in fields if value_at(old, field) != value_at(new, field)]
    return f"{_label(new)} {', '.join(changed)} changed" if changed else None


def keep_only(obj: Object, fields: Sequence[FieldPath] | None) -> None:
    """Remove from a dependent, in place, what neither the predicates nor the owner's look-up need, to save memory.

    Args:
        obj: the dependent.
        fields: the fields that the watches file names, None if it names none.
    """
    if fields is None:
        (obj.get("metadata") or {}).pop("managedFields", None)
        obj.pop("status", None)
        return
    kept = only(obj, [*_NEEDED, *fields])
    obj.clear()
    obj.update(kept)


def _without_lifecycle(obj: Object) -> Object:
    return _without(obj, set(), _BOOKKEEPING | _LIFECYCLE)


def _without(obj: Object, keys: set[str], metadata_keys: frozenset[str] = _BOOKKEEPING) -> Object:
    metadata = obj.get("metadata") or {}
    trimmed = {key: value for key, value in obj.items() if key not in keys}
    trimmed["metadata"] = {key: value for key, value in metadata.items() if key not in metadata_keys and value}
    return trimmed


def _label(obj: Object) -> str:
    return f"{obj.get('kind', 'object')} {(obj.get('metadata') or {}).get('name', '')}"
