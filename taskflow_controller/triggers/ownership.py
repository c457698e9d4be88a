"""The owners of an object: ownerReferences or, where these are not allowed, the Operator SDK's annotations. Pure.

An ownerReference can't lead to another namespace, nor from a cluster-scoped object to a namespaced one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name

NAME_ANNOTATION = "operator-sdk/primary-resource"
TYPE_ANNOTATION = "operator-sdk/primary-resource-type"


@dataclass(frozen=True)
class OwnerName:
    """An owner as an object names it.

    Attributes:
        namespace: "" for a cluster-scoped owner.
        name: the owner's name.
        uid: "" if annotations name the owner.
    """

    namespace: str
    name: str
    uid: str = ""


def owner_names(dependent: Object, gvk: GroupVersionKind, *, controlling: bool = False) -> Iterator[OwnerName]:
    """Yield the owners of a kind that a dependent names.

    A reference does not say whether its owner is in the dependent's namespace or cluster-scoped, so both are yielded.

    Args:
        dependent: the object that names its owners.
        gvk: the owners' kind, in any of its versions.
        controlling: whether a reference counts only if it names the controlling owner.
    """
    metadata = dependent.get("metadata") or {}
    namespace = metadata.get("namespace") or ""
    for reference in _references(metadata):
        if _is_of(reference, gvk) and (reference.get("controller") or not controlling):
            for place in dict.fromkeys((namespace, "")):
                yield OwnerName(place, str(reference.get("name")), str(reference.get("uid")))
    annotations = metadata.get("annotations") or {}
    if annotations.get(TYPE_ANNOTATION) == _type(gvk):
        place, _slash, name = str(annotations.get(NAME_ANNOTATION) or "").rpartition("/")
        if name:
            yield OwnerName(place, name)


def with_owner(obj: Object, owner: Object, *, namespace: str, namespaced: bool) -> Object:
    """Return a copy of an object that names its owner, or the object itself if it already does.

    Args:
        obj: the object, which need not exist yet.
        owner: the owner to name.
        namespace: the namespace that the object is in or will be in.
        namespaced: whether the object's kind is namespaced.
    """
    if names_owner(obj, owner):
        return obj
    metadata = dict(obj.get("metadata") or {})
    owner_namespace, name = namespace_and_name(owner)
    if not owner_namespace or (namespaced and namespace == owner_namespace):
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name}
        references = [*_references(metadata), {**reference, "uid": owner["metadata"]["uid"]}]
        metadata["ownerReferences"] = references
    else:
        marks = {NAME_ANNOTATION: f"{owner_namespace}/{name}", TYPE_ANNOTATION: _type(_gvk(owner))}
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **marks}
    return {**obj, "metadata": metadata}


def names_owner(obj: Object, owner: Object) -> bool:
    """Return whether an object names this very owner."""
    uid = owner["metadata"]["uid"]
    where = namespace_and_name(owner)
    return any(
        name.uid == uid if name.uid else (name.namespace, name.name) == where for name in owner_names(obj, _gvk(owner))
    )


def names_any_owner(obj: Object) -> bool:
    """Return whether an object names an owner, of whatever kind."""
    metadata = obj.get("metadata") or {}
    return bool(_references(metadata)) or TYPE_ANNOTATION in (metadata.get("annotations") or {})


def _references(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    return [reference for reference in metadata.get("ownerReferences") or [] if isinstance(reference, dict)]


def _is_of(reference: dict[str, Any], gvk: GroupVersionKind) -> bool:
    group = str(reference.get("apiVersion")).rpartition("/")[0]
    return (group, reference.get("kind")) == (gvk.group, gvk.kind)


def _gvk(obj: Object) -> GroupVersionKind:
    group, _slash, version = obj["apiVersion"].rpartition("/")
    return GroupVersionKind(group, version, obj["kind"])


def _type(gvk: GroupVersionKind) -> str:
    return f"{gvk.kind}.{gvk.group}" if gvk.group else gvk.kind
