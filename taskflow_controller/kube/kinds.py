"""Names of Kubernetes kinds and of single resources."""

from dataclasses import dataclass
from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]
"""A Kubernetes object as its JSON."""


@dataclass(frozen=True, order=True)
class GroupVersionKind:
    """A kind in one version of its API group. The core group is ""."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.kind} ({self.api_version})"


@dataclass(frozen=True, order=True)
class ResourceKey:
    """One resource of a watched kind. The namespace of a cluster-scoped resource is ""."""

    gvk: GroupVersionKind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.gvk.kind} {self.namespace}{'/' if self.namespace else ''}{self.name}"


def namespace_and_name(obj: Object) -> tuple[str, str]:
    """Return an object's (namespace, name); the namespace is "" if it has none."""
    metadata = obj.get("metadata") or {}
    return metadata.get("namespace") or "", metadata.get("name") or ""


def version_number(resource_version: str | None) -> int | None:
    """Return a resource version as a number, which it is if it comes from etcd; None if it is not a number."""
    if resource_version and resource_version.isascii() and resource_version.isdigit():
        return int(resource_version)
    return None
