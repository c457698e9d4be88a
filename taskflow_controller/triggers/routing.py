"""Maps a change to the watched resources that need a run, each with the cause."""

import functools
import itertools
import logging
from collections.abc import Callable, Iterator

from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube.informers import Change
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey, namespace_and_name
from taskflow_controller.kube.store import Store
from taskflow_controller.triggers.causes import Cause
from taskflow_controller.triggers.ownership import owner_names
from taskflow_controller.triggers.predicates import dependent_reason, primary_reason

logger = logging.getLogger(__name__)

Routes = Iterator[tuple[ResourceKey, Cause]]
"""The resources that need a run, each with the cause. One may come twice."""


class Router:
    """Finds the resources of one watch that a change concerns.

    Args:
        watch: the watch whose resources to find.
        owners: the known resources of the watch.
        is_own_change: takes the watch and the object before and after; returns whether the controller itself made the
            change.
    """

    def __init__(
        self, watch: Watch, owners: Store, is_own_change: Callable[[Watch, Object | None, Object], bool]
    ) -> None:
        self._watch, self._owners, self._is_own_change = watch, owners, is_own_change

    def primary(self, change: Change) -> Routes:
        """Yield the resource that changed, if it needs a run. A deleted one does, so that it is cleaned up."""
        gvk, reason = self._watch.gvk, _judged(self._primary_reason, change)
        if reason:
            yield ResourceKey(gvk, *namespace_and_name(change.new or change.old or {})), Cause.event(reason)

    def dependent(self, dependent: DependentWatch, change: Change) -> Routes:
        """Yield the owner of a dependent that the watches file names, if it needs a run; also one that it has lost."""
        reason = _judged(functools.partial(dependent_reason, fields=dependent.fields), change)
        if reason:
            owners = (
                owner_keys(obj, self._watch.gvk, self._owners, controlling=True)
                for obj in filter(None, (change.new, change.old))
            )
            for key in dict.fromkeys(itertools.chain.from_iterable(owners)):
                yield key, Cause.event(reason)

    def used_kind(self, change: Change) -> Routes:
        """Yield the owners of an object that a playbook created, including owners that this change removed."""
        reason = _judged(functools.partial(dependent_reason, fields=None), change)
        if reason:
            for obj in filter(None, (change.old, change.new)):
                for key in owner_keys(obj, self._watch.gvk, self._owners):
                    yield key, Cause.event(reason)

    def _primary_reason(self, old: Object | None, new: Object | None) -> str | None:
        if new is None:
            return f"{self._watch.gvk.kind} deleted{', or no longer selected' if self._watch.selector else ''}"
        reason = primary_reason(old, new, watch_annotations=self._watch.watch_annotations_changes)
        return None if reason and self._is_own_change(self._watch, old, new) else reason


def owner_keys(
    dependent: Object, gvk: GroupVersionKind, owners: Store, *, controlling: bool = False
) -> Iterator[ResourceKey]:
    """Yield the keys of a dependent's known owners of a kind.

    An unknown owner needs no run: it is gone, or will get a run when it is first seen.

    Args:
        dependent: the object that names its owners.
        gvk: their kind, in any of its versions.
        owners: the known objects of that kind.
        controlling: whether only the reference to the controlling owner counts.
    """
    for named in owner_names(dependent, gvk, controlling=controlling):
        owner = owners.stored(named.namespace, named.name)
        if owner is not None and named.uid in ("", owner.uid):
            yield ResourceKey(gvk, named.namespace, named.name)


def _judged(predicate: Callable[..., str | None], change: Change) -> str | None:
    """Return the predicate's reason. If the predicate fails, that is a reason too: a needless run does no harm."""
    try:
        return predicate(change.old, change.new)
    except Exception:
        logger.exception("bug: an event of %s was not understood", change.gvk)
        return f"{change.gvk.kind} event that was not understood"
