"""An API server in this process, with the interface of ApiServer: lists in pages, and watches with their faults."""

import copy
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import ApiResource
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name
from taskflow_controller.kube.selectors import parse_selector

Key = tuple[str, str, str]
"""Plural, namespace and name."""


class FakeStream:
    """A watch: what happens from a version on, as JSON lines, and what a test puts into ``raw`` before that."""

    def __init__(self, cluster: "FakeCluster", path: str, query: dict[str, Any], silence: float) -> None:
        self.path, self.query, self.silence = path, query, silence
        self.raw: deque[bytes | Exception] = deque()
        self.interrupted = self.closed = False
        self._cluster, self._ended = cluster, False
        self._next = int(query["resourceVersion"]) + 1

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._cluster.changed:
                if not self._cluster.changed.wait_for(self._has_more, self.silence):
                    raise urllib3.exceptions.ReadTimeoutError(None, self.path, "Read timed out.")  # type: ignore[arg-type]
                if self.interrupted:
                    raise urllib3.exceptions.ProtocolError("Response ended prematurely")
                piece = self.raw.popleft() if self.raw else self._event()
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                return
            yield piece

    def send(self, *pieces: bytes | Exception) -> None:
        """Have the reader get these bytes, or one of them raised."""
        with self._cluster.changed:
            self.raw.extend(pieces)
            self._cluster.changed.notify_all()

    def end(self) -> None:
        """End it as its timeout does: what has happened is told first."""
        with self._cluster.changed:
            self._ended = True
            self._cluster.changed.notify_all()

    def interrupt(self) -> None:
        with self._cluster.changed:
            self.interrupted = True
            self._cluster.changed.notify_all()

    def close(self) -> None:
        self.closed = True

    def _has_more(self) -> bool:
        self._next = self._cluster.next_version(self.path, self.query, self._next)
        return bool(self.raw) or self.interrupted or self._ended or self._next <= self._cluster.version

    def _event(self) -> bytes | None:
        if self._next > self._cluster.version:
            return None
        event = self._cluster.events[self._next - 1]
        self._next += 1
        return line(*event)


class FakeCluster:
    """Objects of any kind, by the path of their lists. Each change gets the next resource version.

    ``requests`` notes (verb, path, query), where the verb is find, get, list, patch or watch. ``before`` is called with
    them first, and may raise. ``page_size`` is the most that a page has.
    """

    def __init__(self, page_size: int = 500) -> None:
        self.page_size, self.namespaced = page_size, True
        self.objects: dict[Key, Object] = {}
        self.events: list[tuple[str, Object]] = []
        self.streams: list[FakeStream] = []
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.before: Callable[[str, str, dict[str, Any]], None] = lambda verb, path, query: None
        self.compacted = 0
        self.changed = threading.Condition()
        self._plurals: list[str] = []
        self._snapshots: dict[tuple[str, int], list[Object]] = {}

    @property
    def version(self) -> int:
        return len(self.events)

    def put(self, obj: Object) -> Object:
        """Create or change an object; return it as it is stored."""
        return self._change("ADDED" if self._key(obj) not in self.objects else "MODIFIED", obj)

    def delete(self, obj: Object) -> Object:
        """Delete an object; its last state is ``obj`` as it is given.

        One with finalizers is only marked, and stays until they are gone.
        """
        if obj["metadata"].get("finalizers"):
            return self._change("MODIFIED", {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": "now"}})
        return self._change("DELETED", obj)

    def leave(self, obj: Object) -> Object:
        """Have the watches told that an object is gone, as when a selector does not show it any more; it stays."""
        there = self.objects[self._key(obj)]
        last = self._change("DELETED", obj)
        self.objects[self._key(obj)] = there
        return last

    def bookmark(self, kind: str) -> int:
        """Have the watches of a kind come to a new version, and return that."""
        self._change("BOOKMARK", {"kind": kind, "metadata": {}})
        return self.version

    def paths(self, verb: str) -> list[str]:
        """The paths of the requests of a kind: find, get, list, patch or watch."""
        return [path for done, path, _query in self.requests if done == verb]

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        self._request("find", gvk.kind, {})
        return ApiResource(plural_of(gvk.kind), self.namespaced)

    def get(self, path: str, query: dict[str, Any] | None = None, accept: str = "") -> Object:
        if query is None:
            return self._get(path)
        self._request("list", path, query)
        is_whole = "PartialObjectMetadataList" not in accept
        with self.changed:
            if "continue" in query:
                version, start = map(int, query["continue"].split(":"))
            else:
                version, start = self.version, 0
                seen = [obj for key, obj in self.objects.items() if sees(path, key)]
                self._snapshots[path, version] = [obj for obj in seen if selects(query, obj)]
            if version < self.compacted and start:
                raise gone()
            items = [item if is_whole else {"metadata": item["metadata"]} for item in self._snapshots[path, version]]
            end = start + min(self.page_size, query["limit"])
            more = {"continue": f"{version}:{end}"} if end < len(items) else {}
            return copy.deepcopy({"metadata": {"resourceVersion": str(version), **more}, "items": items[start:end]})

    def _get(self, path: str) -> Object:
        self._request("get", path, {})
        with self.changed:
            return copy.deepcopy(self._at(path))

    def patch(self, path: str, body: list[Object], content_type: str) -> Object:
        """Apply a JSON patch that tests and removes. An object that is deleted goes with its last finalizer."""
        self._request("patch", path, {})
        assert content_type == "application/json-patch+json"
        with self.changed:
            obj = copy.deepcopy(self._at(path))
            for step in body:
                *parents, last = step["path"].strip("/").split("/")
                place: Any = obj
                for key in parents:
                    place = place[key]
                place_key = int(last) if isinstance(place, list) else last
                if step["op"] == "remove":
                    del place[place_key]
                elif place[place_key] != step["value"]:
                    raise refusal(422, "Invalid")
            metadata = obj["metadata"]
            is_gone = metadata.get("deletionTimestamp") and not metadata.get("finalizers")
            return self._change("DELETED" if is_gone else "MODIFIED", obj)

    def _at(self, path: str) -> Object:
        *above, plural, name = path.split("/")
        key = (plural, above[-1] if "namespaces" in above else "", name)
        if key not in self.objects:
            raise refusal(404, "NotFound")
        return self.objects[key]

    def stream(self, path: str, query: dict[str, Any], read_timeout: float) -> FakeStream:
        self._request("watch", path, query)
        stream = FakeStream(self, path, dict(query), read_timeout)
        if int(query["resourceVersion"]) < self.compacted:
            status = {"code": 410, "reason": "Expired", "message": "too old resource version"}
            stream.send(line("ERROR", status))
        self.streams.append(stream)
        return stream

    def next_version(self, path: str, query: dict[str, Any], version: int) -> int:
        """Return the first version from this one on whose change a watch of a path sees.

        One whose selector no longer selects an object is not told so: ``leave()`` does that.
        """
        while version <= self.version and not self._is_seen(path, query, self.events[version - 1][1]):
            version += 1
        return version

    def _is_seen(self, path: str, query: dict[str, Any], obj: Object) -> bool:
        return sees(path, self._key(obj)) and selects(query, obj)

    def close(self) -> None:
        """End all watches."""
        for stream in self.streams:
            stream.end()

    def _request(self, verb: str, path: str, query: dict[str, Any]) -> None:
        self.requests.append((verb, path, dict(query)))
        self.before(verb, path, query)

    def _key(self, obj: Object) -> Key:
        return (plural_of(obj["kind"]), *namespace_and_name(obj))

    def _change(self, event_type: str, obj: Object) -> Object:
        with self.changed:
            metadata = {**obj["metadata"], "resourceVersion": str(self.version + 1)}
            stored = copy.deepcopy({**obj, "metadata": metadata})
            if event_type == "DELETED":
                del self.objects[self._key(obj)]
            elif event_type != "BOOKMARK":
                self.objects[self._key(obj)] = stored
            self.events.append((event_type, stored))
            self.changed.notify_all()
        return copy.deepcopy(stored)


def plural_of(kind: str) -> str:
    return f"{kind.lower()}s"


def sees(path: str, key: Key) -> bool:
    """Whether a list at a path shows an object. A bookmark has no name, and is for all."""
    plural, namespace, name = key
    parts = path.split("/")
    inside = parts[-2] if "namespaces" in parts else namespace
    return plural == parts[-1] and (inside == namespace or not name)


def selects(query: dict[str, Any], obj: Object) -> bool:
    """Whether a query's selector selects an object. A bookmark is for all."""
    matches = parse_selector(query.get("labelSelector", ""))
    assert matches is not None
    return "name" not in obj["metadata"] or matches(obj["metadata"].get("labels") or {})


def line(event_type: str, obj: Object) -> bytes:
    """Return an event of a watch as the API server writes it."""
    return json.dumps({"type": event_type, "object": obj}, ensure_ascii=False).encode() + b"\n"


def gone() -> ApiException:
    return refusal(410, "Gone")


def refusal(status: int, reason: str = "refused", **headers: str) -> ApiException:
    """Return the error of a request; the headers' names have _ for -."""
    exc = ApiException(status=status, reason=reason)
    exc.headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return exc
