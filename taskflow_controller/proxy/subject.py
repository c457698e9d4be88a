"""What a request of a run is about."""

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
        watch: what the run is for.
        owner: the run's resource, None in a run for several.
        tasks: serve the run's connections.
    """

    watch: Watch
    owner: Object | None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass(frozen=True)
class Subject:
    """What a request is about, and for which run and resource it comes."""

    session: Session
    owner: Object
    path: ResourcePath
    kind: Kind

    @property
    def dependent_kind(self) -> DependentKind:
        """The kind as a dependent's of the run's resource."""
        return DependentKind(self.kind.gvk, self.kind.namespaced, bool(namespace_and_name(self.owner)[0]))

    def is_owner(self, obj: Object) -> bool:
        """Whether an object of this kind is the run's resource itself."""
        metadata = obj.get("metadata") or {}
        name = self.path.namespace, self.path.name or metadata.get("name")
        return self.kind.gvk == self.session.watch.gvk and name == namespace_and_name(self.owner)
