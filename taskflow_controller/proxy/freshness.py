"""Checks that an informer's store shows at least what runs have written: read-your-writes, for all runs together."""

import time

from taskflow_controller.kube.kinds import Object, version_number
from taskflow_controller.kube.store import Store

CATCH_UP_SECONDS = 60.0  # a store that has not seen a write by then never will
DOUBT_SECONDS = 10.0  # within which a store sees a write of unknown version


class Freshness:
    """Records the writes to the objects that one informer watches. Not thread-safe."""

    def __init__(self) -> None:
        self._version, self._version_until = 0, 0.0
        self._doubt_until = 0.0
        self._deleted: dict[tuple[str, str], tuple[str, int | None, float]] = {}  # uid, version, until

    def wrote(self, version: int) -> None:
        """Record that an object has this version now."""
        self._version = max(self._version, version)
        self._version_until = time.monotonic() + CATCH_UP_SECONDS

    def deleted(self, key: tuple[str, str], answer: Object) -> None:
        """Record that an object was deleted, or will be when its finalizers are done.

        Args:
            key: its namespace and name.
            answer: what the API server answered.
        """
        metadata = answer.get("metadata") or {}
        uid = metadata.get("uid") or (answer.get("details") or {}).get("uid")
        if uid:
            last = version_number(metadata.get("resourceVersion"))
            self._deleted[key] = uid, last, time.monotonic() + CATCH_UP_SECONDS
        else:
            self.in_doubt()

    def in_doubt(self) -> None:
        """Record that something may have been written."""
        self._doubt_until = time.monotonic() + DOUBT_SECONDS

    def shown_by(self, store: Store, version: int) -> bool:
        """Return whether a store that has reached this version shows all writes."""
        now = time.monotonic()
        if now < self._doubt_until or (version < self._version and now < self._version_until):
            return False
        for key, (uid, last, until) in list(self._deleted.items()):
            if now < until and not _shows_deletion(store, key, uid, last):
                return False
            del self._deleted[key]
        return True


def _shows_deletion(store: Store, key: tuple[str, str], uid: str, last: int | None) -> bool:
    """Return whether an object is gone from a store, or is newer there than ``last``, the answer to its deletion."""
    stored = store.stored(*key)
    if stored is None or stored.uid != uid:
        return True
    return last is not None and (version_number(stored.version) or 0) > last
