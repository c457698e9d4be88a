"""Finds, once after the start, what is kept for resources that went while no controller ran."""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskflow_controller.kube.informers import ResourceInformer
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.kube.store import Store

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
CAUSE = "has a directory, but is gone"


@dataclass(frozen=True)
class WatchedKind:
    """A kind, its informers, and the store that they fill."""

    gvk: GroupVersionKind
    informers: Sequence[ResourceInformer]
    store: Store

    @property
    def synced(self) -> bool:
        """Whether the store has all resources of the kind that are watched."""
        return all(informer.synced for informer in self.informers)

    def gone(self, kept: Iterable[ResourceKey]) -> list[ResourceKey]:
        """Return those of ``kept`` that would be in the store if they existed, and are not."""
        namespaces = {informer.namespace for informer in self.informers}
        watched = (key for key in kept if None in namespaces or not key.namespace or key.namespace in namespaces)
        return [key for key in watched if self.store.stored(key.namespace, key.name) is None]


class Keeper(Protocol):
    """What keeps something for resources."""

    def kept(self, gvk: GroupVersionKind) -> Iterable[ResourceKey]:
        """Return the resources of a kind for which something is kept, whether they still exist or not."""


class LeftoverSearch:
    """Calls ``found`` for each resource that is gone, kind by kind, as soon as a kind's first list is there."""

    def __init__(
        self,
        kinds: Iterable[WatchedKind],
        keeper: Keeper,
        found: Callable[[ResourceKey, str], None],
    ) -> None:
        self._pending = list(kinds)
        self._keeper, self._found = keeper, found
        self._closing = threading.Event()

    def start(self) -> None:
        """Begin to search, in a daemon thread, which ends when it is done."""
        threading.Thread(target=self._run, name="leftovers", daemon=True).start()

    def stop(self) -> None:
        """Give up on the kinds whose first list has not come; does not wait."""
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
            for key in kind.gone(self._keeper.kept(kind.gvk)):
                self._found(key, CAUSE)
        except OSError as exc:
            logger.warning("can't look for what resources that are gone have left: %s", exc)
