"""Keeps the last known state of the watched kinds, on the client library's SharedInformer.

SharedInformer lists, watches, and lists anew when it lost track. What it lacks is
added here through its documented entry, the list function:

- raw dicts, found by discovery, so that any kind can be watched, and before its CRD is installed;
- pages for the first list; a server-side timeout and a read timeout for watches;
- a pause before a failing request is repeated (it repeats a failing watch at once);
- the object before an event beside the one after it (it overwrites its cache before it calls handlers, and
  after it calls them for the deletions that a new list shows), so this module keeps a store of its own.

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
from kubernetes.informer import ADDED, DELETED, ERROR, MODIFIED, SharedInformer

from taskflow_controller.api import ApiResource, ApiServer, list_path, plain_cause
from taskflow_controller.kinds import GroupVersionKind, Object, namespace_and_name

logger = logging.getLogger(__name__)

PAGE_SIZE = 500
WATCH_SECONDS = (180, 300)  # a random time in between, so that not all watches are renewed at once
# How long a watch may be silent before it is taken for dead, and resumed. The API server sends bookmarks about once a
# minute, though it need not; where it sends none, a needless renewal costs one request.
SILENCE_SECONDS = 100.0
MIN_WATCH_INTERVAL = 1.0
MAX_PAUSE = 30.0
STUCK_SECONDS = 60.0  # longer than an API server takes to start anew
GONE = 410
_PASSING = {429, 500, 502, 503}  # the resource version is still good after these


@dataclass(frozen=True)
class Change:
    """What an event changed: a new object has no ``old``, a deleted one only ``old``, its last state."""

    gvk: GroupVersionKind
    old: Object | None
    new: Object | None


class Store:
    """The last known objects of one kind, by namespace and name. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], Object] = {}
        self._lock = threading.Lock()

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object, None if there is none. Do not change it."""
        with self._lock:
            return self._objects.get((namespace, name))

    def put(self, obj: Object) -> Object | None:
        """Keep ``obj`` and return what was there before."""
        with self._lock:
            key = namespace_and_name(obj)
            old = self._objects.get(key)
            self._objects[key] = obj
            return old

    def pop(self, obj: Object) -> Object | None:
        """Remove the object of this name and return it."""
        with self._lock:
            return self._objects.pop(namespace_and_name(obj), None)

    def all(self) -> list[Object]:
        """Return every object. Do not change them."""
        with self._lock:
            return list(self._objects.values())

    def __len__(self) -> int:
        with self._lock:
            return len(self._objects)


class ResourceInformer:
    """Watches one kind, in one namespace or (None) in all, and calls ``on_change`` for each change.

    ``store`` may be shared by the informers of several namespaces; all but one of them are ``spare``: they do nothing
    while the kind has no namespaces. ``trim`` may cut an object down in place before it is stored. ``on_change`` is
    called in the informer's thread, in order.
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
    ) -> None:
        self._spare = spare
        self.gvk, self.namespace, self.store = gvk, namespace, store
        self._api, self._on_change, self._trim = api, on_change, trim
        self._selector = label_selector
        self._resource: ApiResource | None = None
        self._closing = threading.Event()
        self._watching = False
        self._trouble: str | None = None
        self._failing_since = 0.0
        self._failures = 0
        self._last_watch = 0.0
        self._informer = SharedInformer(self._list_or_watch)
        for event_type in (ADDED, MODIFIED):
            self._informer.add_event_handler(event_type, self._upserted)
        self._informer.add_event_handler(DELETED, self._deleted)
        self._informer.add_event_handler(ERROR, self._stream_ended)

    def __str__(self) -> str:
        return f"{self.gvk} in {self.namespace or 'all namespaces'}"

    @property
    def synced(self) -> bool:
        """Whether the first list has come, and every handler has been called for it."""
        return self._watching

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
            if watch:
                self._closing.wait(min(2.0 ** min(self._failures - 1, 10), MAX_PAUSE))
                self._list_anew_if_needed(exc)
            raise
        self._succeeded()
        return response

    def _list(self) -> SimpleNamespace:
        """List in pages; the result looks like a model's list, as the SharedInformer expects."""
        self._resource = self._api.resource(self.gvk)
        path = list_path(self.gvk, self._resource, self.namespace)
        items: list[Object] = []
        version = ""
        for page in self._pages(path) if self._needed(self._resource) else ():
            version = version or page["metadata"]["resourceVersion"]
            items.extend(page.get("items") or [])
        for item in items:
            # The items of a list of a built-in kind don't carry these two.
            item.setdefault("apiVersion", self.gvk.api_version)
            item.setdefault("kind", self.gvk.kind)
            if self._trim:
                self._trim(item)
        return SimpleNamespace(items=items, metadata=SimpleNamespace(resource_version=version))

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
        if self._trim:
            self._trim(obj)
        old = self.store.put(obj)
        if old is None:
            self._emit(None, obj)
            return
        before, after = old["metadata"], obj["metadata"]
        if before.get("resourceVersion") == after.get("resourceVersion"):
            return  # a new list shows what is known, or the informer of another namespace was first
        if before.get("uid") != after.get("uid"):
            self._emit(old, None)  # deleted and created anew while the watch was interrupted
            old = None
        self._emit(old, obj)

    def _deleted(self, obj: Object) -> None:
        if self._trim:
            self._trim(obj)
        if self.store.pop(obj) is not None:
            self._emit(obj, None)

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
        )
        for number, namespace in enumerate(namespaces or (None,))
    ]
    return store, informers


def stuck_watches(informers: Iterable[ResourceInformer]) -> str | None:
    """Return which kinds could not be watched for long, and why; None if there is none."""
    stuck = [informer for informer in informers if informer.failing_for > STUCK_SECONDS]
    causes = (f"{informer} for {informer.failing_for:.0f} s: {informer.trouble}" for informer in stuck)
    return f"cannot watch {'; '.join(causes)}" if stuck else None
