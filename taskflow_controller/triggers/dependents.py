"""Watches the kinds that playbooks turn out to use, from a playbook's first use of a kind; all watches share them."""

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.api import ApiServer
from taskflow_controller.kube.informers import Change, ResourceInformer, WatchedKind, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind

logger = logging.getLogger(__name__)

# Every controller writes Events about its objects, over and over.
_NEVER = {("", "Event"), ("events.k8s.io", "Event")}


@dataclass(frozen=True)
class DependentKind:
    """A kind that playbooks use, and the scopes of that kind and its owner, which decide whether it is watched."""

    gvk: GroupVersionKind
    namespaced: bool
    owner_namespaced: bool


class DependentKinds:
    """Starts informers for a kind when it is first needed, and passes on what they see. Thread-safe.

    Args:
        api: the API server.
        namespaces: where to watch. If empty: everywhere.
        on_change: called for each watch whose playbooks use the kind that changed.
    """

    def __init__(self, api: ApiServer, namespaces: Sequence[str], on_change: Callable[[Watch, Change], None]) -> None:
        self._api, self._namespaces, self._on_change = api, tuple(namespaces), on_change
        self._watched: dict[GroupVersionKind, WatchedKind] = {}
        self._users: dict[GroupVersionKind, dict[GroupVersionKind, Watch]] = {}
        self._started: list[ResourceInformer] = []
        self._lock = threading.Lock()
        self._stopped = False

    def share(self, kind: WatchedKind) -> None:
        """Use the informers of a kind that is watched already. Their starter passes its changes to ``changed``."""
        self._watched[kind.gvk] = kind

    def watched(self, gvk: GroupVersionKind) -> WatchedKind | None:
        """Return the store and the informers of a kind's whole objects; None if the kind is not watched as a whole."""
        return self._watched.get(gvk)

    def wants(self, watch: Watch, kind: DependentKind) -> bool:
        """Return whether a kind should be watched for a watch, and is not yet."""
        if not is_watched_for(watch, kind, confined=bool(self._namespaces)):
            return False
        return watch.gvk not in self._users.get(kind.gvk, {})

    def ensure(self, watch: Watch, kind: DependentKind) -> None:
        """Watch a kind for a watch from now on, if ``wants`` says so. Does not wait for it."""
        with self._lock:
            if self._stopped or not self.wants(watch, kind):
                return
            self._users.setdefault(kind.gvk, {})[watch.gvk] = watch
            new = [] if kind.gvk in self._watched else self._prepare(kind)
        for informer in new:
            informer.start()
        text = "from now on, changes of %s reconcile their %s, because its playbook uses them"
        logger.info(text, kind.gvk, watch.gvk)

    def changed(self, gvk: GroupVersionKind, change: Change) -> None:
        """Pass a change of a kind on to the watches that use it."""
        for watch in list(self._users.get(gvk, {}).values()):
            self._on_change(watch, change)

    def informers(self) -> list[ResourceInformer]:
        """Return the started informers."""
        return list(self._started)

    def stop(self) -> None:
        """Stop watching, for good. Does not wait for requests that are under way."""
        with self._lock:
            self._stopped = True
        for informer in self._started:
            informer.stop()

    def _prepare(self, kind: DependentKind) -> Sequence[ResourceInformer]:
        """Return the informers of a kind, not started yet."""
        namespaces = self._namespaces if kind.namespaced else ()
        on_change = functools.partial(self.changed, kind.gvk)
        watched = for_namespaces(self._api, kind.gvk, namespaces, on_change=on_change, tells_new=False)
        self._watched[kind.gvk] = watched
        self._started += watched.informers
        return watched.informers


def is_watched_for(watch: Watch, kind: DependentKind, *, confined: bool) -> bool:
    """Return whether a kind that a watch's playbooks use should be watched.

    A cluster-scoped kind should not, unless the watch asks for it, or the owner is cluster-scoped too and the
    controller watches the whole cluster anyway.

    Args:
        watch: the watch whose playbooks use the kind.
        kind: the kind that they use.
        confined: whether the controller watches only some namespaces.
    """
    if not watch.watch_dependent_resources or kind.gvk in watch.blacklist:
        return False
    if (kind.gvk.group, kind.gvk.kind) in _NEVER:
        return False
    if any(dependent.gvk == kind.gvk for dependent in watch.dependents):
        return False  # already watched, as the watches file says
    if kind.namespaced or watch.watch_cluster_scoped_resources:
        return True
    return not kind.owner_namespaced and not confined
