"""Follows the objects of one kind: a list, then a watch, and a new list if the watch loses track.

It keeps no objects. A sink takes what the list and the watch show.
"""

import contextlib
import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import PAGE_SIZE, ApiServer, Stream, list_path, plain_cause
from taskflow_controller.kube.kinds import GroupVersionKind, Object, version_number
from taskflow_controller.kube.watch_events import decode, lines

logger = logging.getLogger(__name__)

WATCH_SECONDS = (180, 300)  # a random time in between, so that not all watches are renewed at once
# How long a watch may be silent before it counts as dead and is resumed. The API server usually sends bookmarks about
# once a minute. If it sends none, a needless renewal costs one request.
SILENCE_SECONDS = 100.0
MIN_WATCH_INTERVAL = 1.0  # a server that ends each watch at once is not asked more often
MAX_PAUSE = 30.0
LIST_PAUSE = 5.0  # a list costs the server more than a watch
MAX_RETRY_AFTER = 300.0  # the longest pause that a server can ask for
GONE = 410
_PASSING = {429, 500, 502, 503}  # the resource version is still good after these
_BUSY = {429, 503}

KeptT = TypeVar("KeptT")


class Sink(Protocol[KeptT]):
    """Takes what a reflector sees, in the reflector's thread. The sink may modify the objects."""

    def keep(self, obj: Object) -> KeptT:
        """Return what the sink needs of a listed object, to be kept until the list is complete."""

    def listed(self, kept: list[KeptT]) -> None:
        """Take a complete list: an object that is not in it does not exist."""

    def upserted(self, obj: Object) -> None:
        """Take an object that is new or has changed."""

    def deleted(self, obj: Object) -> None:
        """Take the last state of an object that is gone."""


class Reflector(Generic[KeptT]):
    """Lists and watches one kind in a daemon thread, until it is stopped. Its properties may be read in any thread.

    Args:
        api: the API server.
        gvk: the kind. The API server need not serve it yet.
        sink: takes the objects.
        namespace: None for all namespaces. A cluster-scoped kind is followed as a whole.
        spare: do nothing while the kind is cluster-scoped, because another reflector follows it then.
        label_selector: in the form of the API server's query; "" for all objects.
    """

    def __init__(
        self,
        api: ApiServer,
        gvk: GroupVersionKind,
        sink: Sink[KeptT],
        *,
        namespace: str | None = None,
        spare: bool = False,
        label_selector: str = "",
    ) -> None:
        self.gvk, self.namespace = gvk, namespace
        self._api, self._sink, self._spare = api, sink, spare
        self._selecting = {"labelSelector": label_selector} if label_selector else {}
        self._path: str | None = None  # None while there is nothing to do
        self._resume: str | None = None  # the resource version to watch from; None if a list must come first
        self._shown: int | None = None
        self._synced = False
        self._trouble: str | None = None
        self._failing_since = 0.0
        self._failures = 0
        self._last_watch = float("-inf")
        self._closing = threading.Event()
        self._lock = threading.Lock()  # of _stream
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch {self}", daemon=True)

    def __str__(self) -> str:
        return f"{self.gvk} in {self.namespace or 'all namespaces'}"

    @property
    def synced(self) -> bool:
        """True if the sink has taken the first list."""
        return self._synced

    @property
    def version(self) -> int | None:
        """The resource version up to which the sink has seen everything; None if unknown.

        It is known only while requests succeed, and if the API server's versions are numbers, as etcd's are.
        """
        return self._shown if self._trouble is None else None

    @property
    def trouble(self) -> str | None:
        """Why the last request failed; None if it succeeded."""
        return self._trouble

    @property
    def failing_for(self) -> float:
        """How many seconds all requests have failed; 0 if the last one succeeded."""
        return time.monotonic() - self._failing_since if self._trouble is not None else 0.0

    @property
    def alive(self) -> bool:
        """True if the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to list and watch. Call it only once."""
        self._thread.start()

    def stop(self) -> None:
        """Make the thread end soon, even while it waits or watches. Does not wait for it, nor interrupt a list."""
        self._closing.set()
        with self._lock:
            if self._stream:
                self._stream.interrupt()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                if self._resume is None:
                    self._list()
                elif self._path is None:
                    self._idle()
                else:
                    self._watch(self._path, self._resume)
            except Exception as exc:  # a bug in the sink, too, must not end the thread
                self._failed(exc)
                self._closing.wait(pause_after(exc, self._failures, listing=self._resume is None))
                if not _can_resume(exc):
                    self._lose_track()

    def _list(self) -> None:
        self._path = self._find()
        version, kept = self._read_list(self._path) if self._path else ("", [])
        if self._closing.is_set():
            return
        self._succeeded()
        self._sink.listed(kept)
        self._resume = version or "0"
        self._shown = version_number(self._resume) if self._path else None
        self._synced = True

    def _find(self) -> str | None:
        """Return the path of the objects to follow, or None if this reflector has none."""
        resource = self._api.resource(self.gvk)
        if self._spare and not resource.namespaced:
            return None
        return list_path(self.gvk, resource, self.namespace)

    def _read_list(self, path: str) -> tuple[str, list[KeptT]]:
        """Return the version of a list, and what the sink keeps of it."""
        try:
            return self._read_pages(path)
        except ApiException as exc:
            if exc.status != GONE:
                raise
        return self._read_pages(path)  # the token of a page had expired

    def _read_pages(self, path: str) -> tuple[str, list[KeptT]]:
        query: dict[str, Any] = {"limit": PAGE_SIZE, **self._selecting}
        version, kept = "", []
        while not self._closing.is_set():
            page = self._api.get(path, query)
            version = version or page["metadata"]["resourceVersion"]
            kept += [self._sink.keep(item) for item in page.get("items") or []]
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                break
        return version, kept

    def _idle(self) -> None:
        """Wait instead of watching, then check whether the kind is namespaced now."""
        if not self._closing.wait(WATCH_SECONDS[1]):
            found = self._find()
            self._succeeded()
            if found:
                self._lose_track()

    def _watch(self, path: str, version: str) -> None:
        if self._closing.wait(max(self._last_watch + MIN_WATCH_INTERVAL - time.monotonic(), 0.0)):
            return
        self._last_watch = time.monotonic()
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": random.randint(*WATCH_SECONDS),
            **self._selecting,
        }
        with self._opened(self._api.stream(path, query, SILENCE_SECONDS)) as stream:
            self._succeeded()
            for event_type, obj in self._events(stream):
                if self._closing.is_set():
                    return
                self._take(event_type, obj)

    @contextlib.contextmanager
    def _opened(self, stream: Stream) -> Iterator[Stream]:
        """Let ``stop`` interrupt a stream until it closes. A stream opened after ``stop`` ends by its next event."""
        with self._lock:
            self._stream = stream
            if self._closing.is_set():
                stream.interrupt()
        try:
            yield stream
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _events(self, stream: Stream) -> Iterator[tuple[str, Object]]:
        """Yield the type and the object of each event until the stream ends for any reason."""
        try:
            for line in lines(stream):
                yield decode(line)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, ApiException) as exc:
            if not self._closing.is_set():
                logger.debug("watch of %s ended, will be resumed: %s", self, plain_cause(exc))
            if isinstance(exc, ValueError):
                # It would come again with each watch from here, and hide all that follow.
                logger.warning("watch of %s: an event was not understood, so all is listed again: %s", self, exc)
                self._lose_track()
                self._closing.wait(MIN_WATCH_INTERVAL)
            elif isinstance(exc, ApiException) and not _can_resume(exc):
                self._lose_track()

    def _take(self, event_type: str, obj: Object) -> None:
        version = obj["metadata"]["resourceVersion"]
        if event_type == "DELETED":
            self._sink.deleted(obj)
        elif event_type != "BOOKMARK":
            self._sink.upserted(obj)
        if version:
            self._resume, self._shown = version, version_number(version)

    def _lose_track(self) -> None:
        self._resume = self._shown = None

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


def pause_after(exc: Exception, failures: int, *, listing: bool) -> float:
    """Return how many seconds to wait before a request that failed is repeated.

    Args:
        exc: why it failed.
        failures: how many requests have failed in a row, this one among them.
        listing: whether it was part of a list.
    """
    pause = min(2.0 ** min(failures - 1, 10), MAX_PAUSE)
    return max(pause, LIST_PAUSE if listing else 0.0, _retry_after(exc))


def _retry_after(exc: Exception) -> float:
    """Return how many seconds a busy server asks to wait, 0 if it does not say."""
    if not isinstance(exc, ApiException) or exc.status not in _BUSY:
        return 0.0
    seconds = version_number((exc.headers or {}).get("Retry-After"))
    return min(float(seconds or 0), MAX_RETRY_AFTER)


def _can_resume(exc: Exception) -> bool:
    """Return whether a watch may continue from its last resource version after a failure.

    A compacted version gives 410. A kind whose CRD was removed gives 404. A server restored from a backup gives 504 for
    a version that it has not reached yet.
    """
    if isinstance(exc, ApiException):
        return exc.status in _PASSING
    return isinstance(exc, urllib3.exceptions.HTTPError)
