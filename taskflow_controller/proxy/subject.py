"""The subject of a run's request: the run, its resource, and the objects that the request is about."""

import asyncio
from dataclasses import dataclass, field

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import Object, namespace_and_name
from taskflow_controller.proxy.discovery import Kind
from taskflow_controller.proxy.requests import ResourcePath
from taskflow_controller.triggers.dependents import DependentKind


@dataclass(eq=False)
class Session:
    """A run's right to use the proxy.

    Attributes:
        watch: the watch that the run is for.
        owner: the run's resource, None in a run for several.
        tasks: those that serve the run's connections.
    """

    watch: Watch
    owner: Object | None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True)
class Subject:
    """The objects that a request is about, and the run and the resource that it is made for.

    Attributes:
        session: the run's.
        owner: the run's resource.
        path: the meaning of the request's path.
        kind: the kind of the objects.
    """

    session: Session
    owner: Object
    path: ResourcePath
    kind: Kind

    @property
    def dependent_kind(self) -> DependentKind:
        """The kind of the objects, as a dependent of the run's resource."""
        return DependentKind(self.kind.gvk, self.kind.namespaced, bool(namespace_and_name(self.owner)[0]))

    def is_owner(self, obj: Object) -> bool:
        """Return whether an object of this kind is the run's resource itself."""
        metadata = obj.get("metadata") or {}
        name = self.path.namespace, self.path.name or metadata.get("name")
        return self.kind.gvk == self.session.watch.gvk and name == namespace_and_name(self.owner)
