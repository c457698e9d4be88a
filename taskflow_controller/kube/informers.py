"""Keeps the last known state of the watched kinds, and reports each change with the object before and after it."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from taskflow_controller.kube.api import ApiServer
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name
from taskflow_controller.kube.reflector import Reflector
from taskflow_controller.kube.store import Store, Stored

logger = logging.getLogger(__name__)

STUCK_SECONDS = 60.0  # longer than an API server takes to start

_Kept = tuple[tuple[str, str], Stored]


@dataclass(frozen=True)
class Change:
    """A change of an object. A new object has no ``old``; a deleted one has only ``old``, its last state.

    The handler may modify the objects.
    """

    gvk: GroupVersionKind
    old: Object | None
    new: Object | None


class _Recorder:
    """A reflector's sink: updates a store and calls ``on_change``. ``ResourceInformer`` describes the rest."""

    def __init__(
        self,
        gvk: GroupVersionKind,
        store: Store,
        on_change: Callable[[Change], None],
        *,
        namespace: str | None,
        spare: bool,
        trim: Callable[[Object], None] | None,
        tells_new: bool,
    ) -> None:
        self._gvk, self._store, self._on_change = gvk, store, on_change
        self._namespace, self._spare = namespace, spare
        self._trim = trim or (lambda obj: None)
        self._tells_new = tells_new

    def keep(self, obj: Object) -> _Kept:
        # The items in a list of a built-in kind lack these two.
        named = {"apiVersion": self._gvk.api_version, "kind": self._gvk.kind, **obj}
        self._trim(named)
        return namespace_and_name(named), Stored.of(named)

    def listed(self, kept: list[_Kept]) -> None:
        listed = dict(kept)
        for key in self._store.names():
            if key not in listed and self._is_ours(key):
                self._remove(key, None)
        for key, stored in listed.items():
            self._put(key, stored, None)

    def upserted(self, obj: Object) -> None:
        self._trim(obj)
        self._put(namespace_and_name(obj), Stored.of(obj), obj)

    def deleted(self, obj: Object) -> None:
        self._trim(obj)
        self._remove(namespace_and_name(obj), obj)

    def _is_ours(self, key: tuple[str, str]) -> bool:
        """Return whether no other informer of the store sees an object."""
        namespace = key[0]
        return self._namespace in (None, namespace) or (not namespace and not self._spare)

    def _put(self, key: tuple[str, str], stored: Stored, new: Object | None) -> None:
        """Store an object; ``new`` is the same object in decoded form, if available."""
        old = self._store.put(key, stored)
        if old and old.version == stored.version and old.uid == stored.uid:
            return  # a new list repeats what is already known
        before = old.decode() if old else None
        if old and old.uid != stored.uid:
            self._emit(before, None)  # deleted and created again while no watch was open
            before = None
        if before or self._tells_new:
            self._emit(before, new or stored.decode())

    def _remove(self, key: tuple[str, str], last: Object | None) -> None:
        """Forget an object; ``last`` is its last state, if known."""
        old = self._store.pop(key)
        if old:
            self._emit(last or old.decode(), None)

    def _emit(self, old: Object | None, new: Object | None) -> None:
        try:
            self._on_change(Change(self._gvk, old, new))
        except Exception:
            namespace, name = namespace_and_name(new or old or {})
            logger.exception("bug: an event of %s %s/%s was not handled", self._gvk.kind, namespace, name)


class ResourceInformer(Reflector[_Kept]):
    """Watches one kind, keeps its objects in a store, and reports each change.

    Args:
        api: the API server.
        gvk: the kind. The API server need not serve it yet.
        on_change: called for each change, in order, in the informer's thread.
        store: filled by this informer. The informers of several namespaces may share it.
        namespace: None for all namespaces.
        spare: do nothing while the kind is cluster-scoped. Of the informers that share a store, all but one are spare.
        label_selector: in the form of the API server's query; "" for all objects.
        trim: removes from an object, in place, what need not be stored.
        tells_new: whether ``on_change`` is called for objects that are seen for the first time.
    """

    def __init__(
        self,
        api: ApiServer,
        gvk: GroupVersionKind,
        *,
        on_change: Callable[[Change], None],
        store: Store,
        namespace: str | None = None,
        spare: bool = False,
        label_selector: str = "",
        trim: Callable[[Object], None] | None = None,
        tells_new: bool = True,
    ) -> None:
        self.store = store
        recorder = _Recorder(gvk, store, on_change, namespace=namespace, spare=spare, trim=trim, tells_new=tells_new)
        super().__init__(api, gvk, recorder, namespace=namespace, spare=spare, label_selector=label_selector)


@dataclass(frozen=True)
class WatchedKind:
    """A kind, the store of its objects, and the informers that fill it: one for all namespaces, or one for each."""

    gvk: GroupVersionKind
    store: Store
    informers: Sequence[ResourceInformer]

    @property
    def synced(self) -> bool:
        """True if the store has all watched objects of the kind."""
        return all(informer.synced for informer in self.informers)

    def informer_for(self, namespace: str, *, namespaced: bool) -> ResourceInformer | None:
        """Return the informer that sees the objects of a namespace, or None if there is none.

        Args:
            namespace: the namespace; "" for all namespaces together.
            namespaced: whether the kind is namespaced. If not, the first informer sees all of its objects.
        """
        if not namespaced:
            return self.informers[0]
        return next((each for each in self.informers if each.namespace in (None, namespace)), None)


def for_namespaces(
    api: ApiServer,
    gvk: GroupVersionKind,
    namespaces: Sequence[str],
    *,
    on_change: Callable[[Change], None],
    store: Store | None = None,
    label_selector: str = "",
    trim: Callable[[Object], None] | None = None,
    tells_new: bool = True,
) -> WatchedKind:
    """Make informers of a kind that share a store. They are not started.

    Args:
        api: the API server.
        gvk: the kind.
        namespaces: each gets an informer. If empty, one informer sees all namespaces.
        on_change: called for each change, in order, in the thread of the informer that saw it.
        store: a new one if None.
        label_selector: in the form of the API server's query; "" for all objects.
        trim: removes from an object, in place, what need not be stored.
        tells_new: whether ``on_change`` is called for objects that are seen for the first time.
    """
    store = Store() if store is None else store
    informers = [
        ResourceInformer(
            api,
            gvk,
            on_change=on_change,
            store=store,
            namespace=namespace,
            spare=number > 0,
            label_selector=label_selector,
            trim=trim,
            tells_new=tells_new,
        )
        for number, namespace in enumerate(namespaces or (None,))
    ]
    return WatchedKind(gvk, store, informers)


def stuck_watches(informers: Iterable[ResourceInformer]) -> str | None:
    """Return which kinds could not be watched for over ``STUCK_SECONDS``, and why; None if there is none."""
    stuck = [informer for informer in informers if informer.failing_for > STUCK_SECONDS]
    causes = (f"{informer} for {informer.failing_for:.0f} s: {informer.trouble}" for informer in stuck)
    return f"cannot watch {'; '.join(causes)}" if stuck else None
