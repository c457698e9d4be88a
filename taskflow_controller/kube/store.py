"""The objects that an informer knows, kept as JSON. As dicts they would take five times the memory."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from taskflow_controller.kube.kinds import Object

Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as JSON, and those of its fields that are read often."""

    encoded: bytes
    uid: str
    version: str
    created: str
    labels: Labels
    deleting: bool

    @classmethod
    def of(cls, obj: Object) -> "Stored":
        """Return the stored form of an object."""
        metadata = obj.get("metadata") or {}
        return cls(
            json.dumps(obj, separators=(",", ":")).encode(),
            metadata.get("uid") or "",
            metadata.get("resourceVersion") or "",
            metadata.get("creationTimestamp") or "",
            metadata.get("labels") or {},
            bool(metadata.get("deletionTimestamp")),
        )

    def decode(self) -> Object:
        """Return the object, which the caller may modify."""
        return cast(Object, json.loads(self.encoded))


class Store:
    """The last known objects of one kind, by namespace and name. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], Stored] = {}
        self._lock = threading.Lock()

    def get(self, namespace: str, name: str) -> Object | None:
        """Return an object, which the caller may modify, or None if there is none."""
        stored = self.stored(namespace, name)
        return stored.decode() if stored else None

    def stored(self, namespace: str, name: str) -> Stored | None:
        """Return an object as it is stored, or None if there is none."""
        with self._lock:
            return self._objects.get((namespace, name))

    def put(self, key: tuple[str, str], stored: Stored) -> Stored | None:
        """Keep an object under its namespace and name, and return what was there before."""
        with self._lock:
            old = self._objects.get(key)
            self._objects[key] = stored
            return old

    def pop(self, key: tuple[str, str]) -> Stored | None:
        """Remove an object and return it."""
        with self._lock:
            return self._objects.pop(key, None)

    def names(self) -> list[tuple[str, str]]:
        """Return the namespace and name of each object."""
        with self._lock:
            return list(self._objects)

    def select(self, namespace: str, matches: Callable[[Labels], bool]) -> list[bytes]:
        """Return the JSON of objects, sorted as the API server sorts them.

        Args:
            namespace: where they are; "" for all namespaces.
            matches: returns whether an object is wanted, given its labels.
        """
        with self._lock:
            found = [
                (key, stored.encoded)
                for key, stored in self._objects.items()
                if namespace in ("", key[0]) and matches(stored.labels)
            ]
        return [encoded for _key, encoded in sorted(found)]

    def outlines(self) -> Iterator[Object]:
        """Yield each object with its name, namespace and creationTimestamp only."""
        with self._lock:
            found = list(self._objects.items())
        for (namespace, name), stored in found:
            metadata = {"name": name, "creationTimestamp": stored.created}
            yield {"metadata": {**metadata, **({"namespace": namespace} if namespace else {})}}

    def __len__(self) -> int:
        with self._lock:
            return len(self._objects)
