"""Keeps the last known state of the watched kinds, on the client library's SharedInformer.

SharedInformer lists, watches, and lists anew when it lost track. What it lacks is
added here through its documented entry, the list function:

- raw dicts, found by discovery, so that any kind can be watched, and before its CRD is installed;
- pages for the first list; a server-side timeout and a read timeout for watches;
- a pause before a failing request is repeated (it repeats a failing watch at once);
- the object before an event beside the one after it (it overwrites its cache before it calls handlers, and
  after it calls them for the deletions that a new list shows), so this module keeps a store of its own, and cuts the
  objects in the SharedInformer's down to their identity.

No ``from __future__ import annotations`` here: the Watch reads the list function's return annotation.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from kubernetes.client.exceptions import ApiException
from kubernetes.informer import ADDED, BOOKMARK, DELETED, ERROR, MODIFIED, SharedInformer

from taskflow_controller.kube.api import ApiResource, ApiServer, list_path, plain_cause
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name, version_number
from taskflow_controller.kube.store import Slim, Store, Stored, identity

logger = logging.getLogger(__name__)

PAGE_SIZE = 500
WATCH_SECONDS = (180, 300)  # a random time in between, so that not all watches are renewed at once
# How long a watch may be silent before it is taken for dead, and resumed. The API server sends bookmarks about once a
# minute, though it need not; where it sends none, a needless renewal costs one request.
SILENCE_SECONDS = 100.0
MIN_WATCH_INTERVAL = 1.0
MAX_PAUSE = 30.0
LIST_PAUSE = 5.0  # the SharedInformer's own
STUCK_SECONDS = 60.0  # longer than an API server takes to start anew
GONE = 410
_PASSING = {429, 500, 502, 503}  # the resource version is still good after these


@dataclass(frozen=True)
class Change:
    """What an event changed: a new object has no ``old``, a deleted one only ``old``, its last state.

    The objects are the handler's own.
    """

    gvk: GroupVersionKind
    old: Object | None
    new: Object | None


class ResourceInformer:
    """Watches one kind, in one namespace or (None) in all, and calls ``on_change`` for each change.

    ``store`` may be shared by the informers of several namespaces; all but one of them are ``spare``: they do nothing
    while the kind has no namespaces. ``trim`` may cut an object down in place before it is stored. ``on_change`` is
    called in the informer's thread, in order; without ``tells_new`` not for objects that are seen for the first time.
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
        self._spare, self._tells_new = spare, tells_new
        self.gvk, self.namespace, self.store = gvk, namespace, store
        self._api, self._on_change, self._trim = api, on_change, trim
        self._selector = label_selector
        self._resource: ApiResource | None = None
        self._closing = threading.Event()
        self._watching = False
        self._version: int | None = None
        self._trouble: str | None = None
        self._failing_since = 0.0
        self._failures = 0
        self._last_watch = 0.0
        self._informer = SharedInformer(self._list_or_watch)
        for event_type in (ADDED, MODIFIED):
            self._informer.add_event_handler(event_type, self._upserted)
        self._informer.add_event_handler(DELETED, self._deleted)
        self._informer.add_event_handler(BOOKMARK, self._advance)
        self._informer.add_event_handler(ERROR, self._stream_ended)

    def __str__(self) -> str:
        return f"{self.gvk} in {self.namespace or 'all namespaces'}"

    @property
    def synced(self) -> bool:
        """Whether the first list has come, and every handler has been called for it."""
        return self._watching

    @property
    def version(self) -> int | None:
        """The resource version up to which the store shows everything; None if it can't be told.

        It is while all is well only, and where the API server's versions are numbers, as it has them from etcd.
        """
        return self._version if self._watching and self._trouble is None else None

    @property
    def trouble(self) -> str | None:
        """Why the last request failed; None while all is well."""
        return self._trouble

    @property
    def failing_for(self) -> float:
        """For how many seconds all requests have failed; 0 while all is well."""
        return time.monotonic() - self._failing_since if self._trouble is not None else 0.0

    @property
    def alive(self) -> bool:
        """Whether the informer's thread runs. It has no public way to tell, hence the private attribute."""
        thread = self._informer._thread
        return thread is not None and thread.is_alive()

    def start(self) -> None:
        """Begin to watch, in a daemon thread."""
        self._informer.start()

    def stop(self) -> None:
        """Ask the thread to end; don't wait for it, as ``SharedInformer.stop`` does."""
        self._closing.set()
        threading.Thread(target=self._informer.stop, name=f"stop {self}", daemon=True).start()

    def _list_or_watch(
        self,
        *,
        watch: bool = False,
        resource_version: str | None = None,
        _preload_content: bool = True,
    ) -> object:
        """The SharedInformer's list function; its annotation ``object`` makes the Watch keep raw dicts."""
        try:
            if not watch:
                response: object = self._list()
            else:
                self._watching = True  # only after every handler was called for the first list
                response = self._open_watch(resource_version)
        except Exception as exc:
            self._failed(exc)
            pause = min(2.0 ** min(self._failures - 1, 10), MAX_PAUSE)
            self._closing.wait(pause if watch else max(pause - LIST_PAUSE, 0.0))
            if watch:
                self._list_anew_if_needed(exc)
            raise
        self._succeeded()
        return response

    def _list(self) -> SimpleNamespace:
        """List in pages; the result looks like a model's list, as the SharedInformer expects."""
        self._resource = self._api.resource(self.gvk)
        path = list_path(self.gvk, self._resource, self.namespace)
        items: list[Slim] = []
        version = ""
        for page in self._pages(path) if self._needed(self._resource) else ():
            version = version or page["metadata"]["resourceVersion"]
            items.extend(self._slim(item) for item in page.get("items") or [])
        return SimpleNamespace(items=items, metadata=SimpleNamespace(resource_version=version))

    def _slim(self, item: Object) -> Slim:
        # The items of a list of a built-in kind don't carry these two.
        named = {"apiVersion": self.gvk.api_version, "kind": self.gvk.kind, **item}
        if self._trim:
            self._trim(named)
        return Slim(named)

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        query = {"limit": PAGE_SIZE, **({"labelSelector": self._selector} if self._selector else {})}
        while True:
            page = self._api.get(path, query)
            yield page
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def _needed(self, resource: ApiResource) -> bool:
        return resource.namespaced or not self._spare

    def _idle(self) -> object:
        """Wait instead of watching; return an empty stream."""
        self._closing.wait(WATCH_SECONDS[1])
        if self._needed(self._api.resource(self.gvk)):
            raise ApiException(status=GONE, reason=f"{self.gvk} has namespaces now")
        return SimpleNamespace(stream=lambda **_: iter(()), status=200, close=lambda: None, release_conn=lambda: None)

    def _open_watch(self, resource_version: str | None) -> object:
        since = time.monotonic() - self._last_watch
        # A pause, lest a server that closes at once be hammered:
        self._closing.wait(max(MIN_WATCH_INTERVAL - since, 0.0))
        self._last_watch = time.monotonic()
        resource = self._resource or self._api.resource(self.gvk)
        if not self._needed(resource):
            return self._idle()
        self._version = version_number(resource_version)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version or "",
            "timeoutSeconds": random.randint(*WATCH_SECONDS),
            **({"labelSelector": self._selector} if self._selector else {}),
        }
        return self._api.stream(list_path(self.gvk, resource, self.namespace), query, SILENCE_SECONDS)

    def _list_anew_if_needed(self, exc: Exception) -> None:
        """Unless the failure is a passing one, make the informer list anew: 410 is what it does that for.

        A kind whose CRD was removed gives 404, a server restored from a backup 504 for a version to come.
        """
        if isinstance(exc, ApiException) and exc.status not in {GONE, *_PASSING}:
            self._resource = None
            raise ApiException(status=GONE, reason=plain_cause(exc)) from exc

    def _failed(self, exc: Exception) -> None:
        self._failures += 1
        cause = plain_cause(exc)
        if self._trouble is None:
            self._failing_since = time.monotonic()
        if cause != self._trouble and not self._closing.is_set():
            logger.warning("cannot watch %s, will keep trying: %s", self, cause)
        self._trouble = cause

    def _succeeded(self) -> None:
        if self._trouble is not None:
            logger.info("can watch %s again", self)
        self._trouble, self._failures = None, 0

    def _stream_ended(self, problem: Any) -> None:
        cause = plain_cause(problem) if isinstance(problem, BaseException) else problem
        logger.debug("watch of %s ended, will be resumed: %s", self, cause)

    def _upserted(self, obj: Object) -> None:
        stored, new = self._take(obj)
        key = namespace_and_name(obj)
        old = self.store.put(key, stored)
        self._advance(obj)
        if old is None:
            if self._tells_new:
                self._emit(None, new or stored.decode())
            return
        if old.version == stored.version:
            return  # a new list shows what is known, or the informer of another namespace was first
        before: Object | None = old.decode()
        if old.uid != stored.uid:
            self._emit(before, None)  # deleted and created anew while the watch was interrupted
            if not self._tells_new:
                return
            before = None
        self._emit(before, new or stored.decode())

    def _take(self, obj: Object) -> tuple[Stored, Object | None]:
        """Return the stored form of an object, and the object if it is at hand; leave only its identity in ``obj``.

        ``obj`` is what the SharedInformer keeps.
        """
        if isinstance(obj, Slim) and obj.stored:
            stored, obj.stored = obj.stored, None
            return stored, None
        if self._trim:
            self._trim(obj)
        stored, new = Stored.of(obj), dict(obj)
        kept = identity(obj)
        obj.clear()
        obj.update(kept)
        return stored, new

    def _deleted(self, obj: Object) -> None:
        """Take an object that is gone; what a watch tells is its last state, a list only that it is missing."""
        old = self.store.pop(namespace_and_name(obj))
        self._advance(obj)
        if old is None:
            return
        last = old.decode()
        if "kind" in obj:
            if self._trim:
                self._trim(obj)
            last = obj
        self._emit(last, None)

    def _advance(self, obj: Object) -> None:
        """Note how far a watch has come; a list has come nowhere until all of it was taken."""
        if self._watching and not isinstance(obj, Slim):
            self._version = version_number(obj["metadata"]["resourceVersion"])

    def _emit(self, old: Object | None, new: Object | None) -> None:
        """Call the handler; SharedInformer would swallow its error without naming the object."""
        try:
            self._on_change(Change(self.gvk, old, new))
        except Exception:
            namespace, name = namespace_and_name(new or old or {})
            logger.exception("bug: an event of %s %s/%s was not handled", self.gvk.kind, namespace, name)


def for_namespaces(
    api: ApiServer,
    gvk: GroupVersionKind,
    namespaces: tuple[str, ...],
    *,
    on_change: Callable[[Change], None],
    label_selector: str = "",
    trim: Callable[[Object], None] | None = None,
    tells_new: bool = True,
) -> tuple[Store, list[ResourceInformer]]:
    """Return informers of a kind for each namespace (none given: for all), and the store they share."""
    store = Store()
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
    return store, informers


def stuck_watches(informers: Iterable[ResourceInformer]) -> str | None:
    """Return which kinds could not be watched for long, and why; None if there is none."""
    stuck = [informer for informer in informers if informer.failing_for > STUCK_SECONDS]
    causes = (f"{informer} for {informer.failing_for:.0f} s: {informer.trouble}" for informer in stuck)
    return f"cannot watch {'; '.join(causes)}" if stuck else None
