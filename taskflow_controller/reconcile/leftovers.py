"""Finds, once after the start, what is kept for resources that were deleted while no controller ran."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from taskflow_controller.kube.informers import WatchedKind
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.triggers.causes import Cause

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
CAUSE = Cause.event("has a directory, but is gone")


class KeptRecord(Protocol):
    """Knows for which resources something is kept."""

    def kept(self, gvk: GroupVersionKind) -> Iterable[ResourceKey]:
        """Return the resources of a kind for which something is kept, whether they still exist or not."""


class LeftoverSearch:
    """Finds the resources that are gone, kind by kind, as soon as a kind's first list is there.

    Args:
        kinds: the watched kinds.
        record: knows for which resources something is kept.
        found: called with each resource that is gone, and the cause of its reconcile.
    """

    def __init__(
        self,
        kinds: Iterable[WatchedKind],
        record: KeptRecord,
        found: Callable[[ResourceKey, Cause], None],
    ) -> None:
        self._pending = list(kinds)
        self._record, self._found = record, found
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to search in a daemon thread, which ends when the search is done."""
        threading.Thread(target=self._run, name="leftovers", daemon=True).start()

    def stop(self) -> None:
        """Give up on the kinds whose first list has not come. Does not wait."""
        self._closing.set()

    def _run(self) -> None:
        while self._pending:
            for kind in [kind for kind in self._pending if kind.synced]:
                self._pending.remove(kind)
                self._search(kind)
            if self._pending and self._closing.wait(POLL_SECONDS):
                return

    def _search(self, kind: WatchedKind) -> None:
        try:
            for key in gone(kind, self._record.kept(kind.gvk)):
                self._found(key, CAUSE)
        except OSError as exc:
            logger.warning("can't look for the directories of deleted resources: %s", exc)


def gone(kind: WatchedKind, kept: Iterable[ResourceKey]) -> list[ResourceKey]:
    """Return the resources that are gone.

    Args:
        kind: a watched kind whose store is complete.
        kept: resources of that kind.

    Returns:
        Those of ``kept`` that would be in the store if they existed, but are not.
    """
    namespaces = {informer.namespace for informer in kind.informers}
    watched = (key for key in kept if None in namespaces or not key.namespace or key.namespace in namespaces)
    return [key for key in watched if kind.store.stored(key.namespace, key.name) is None]
