"""Whether an informer's store shows at least what runs have written: read-your-writes, for all runs together."""

import time

from taskflow_controller.kube.kinds import Object, version_number
from taskflow_controller.kube.store import Store

CATCH_UP_SECONDS = 60.0  # a store that has not seen a write by then never will
DOUBT_SECONDS = 10.0  # in which a store sees a write whose version is not known


class Freshness:
    """Takes note of the writes to what one informer watches. Not thread-safe."""

    def __init__(self) -> None:
        self._version, self._version_until = 0, 0.0
        self._doubt_until = 0.0
        self._deleted: dict[tuple[str, str], tuple[str, int | None, float]] = {}  # uid, version, until

    def wrote(self, version: int) -> None:
        """An object has this version now."""
        self._version = max(self._version, version)
        self._version_until = time.monotonic() + CATCH_UP_SECONDS

    def deleted(self, key: tuple[str, str], answer: Object) -> None:
        """An object was deleted, or will be once its finalizers are done.

        Args:
            key: its namespace and name.
            answer: what the API server said.
        """
        metadata = answer.get("metadata") or {}
        uid = metadata.get("uid") or (answer.get("details") or {}).get("uid")
        if uid:
            last = version_number(metadata.get("resourceVersion"))
            self._deleted[key] = uid, last, time.monotonic() + CATCH_UP_SECONDS
        else:
            self.in_doubt()

    def in_doubt(self) -> None:
        """Something may have been written."""
        self._doubt_until = time.monotonic() + DOUBT_SECONDS

    def shown_by(self, store: Store, version: int) -> bool:
        """Whether a store that has come to ``version`` shows all that was written."""
        now = time.monotonic()
        if now < self._doubt_until or (version < self._version and now < self._version_until):
            return False
        for key, (uid, last, until) in list(self._deleted.items()):
            if now < until and not _shows_deletion(store, key, uid, last):
                return False
            del self._deleted[key]
        return True


def _shows_deletion(store: Store, key: tuple[str, str], uid: str, last: int | None) -> bool:
    """Tell whether an object is gone from a store, or is newer there than the answer to its deletion.

    Args:
        store: where to look.
        key: the object's namespace and name.
        uid: the object's.
        last: the version in the answer, None if it had none.
    """
    stored = store.stored(*key)
    if stored is None or stored.uid != uid:
        return True
    return last is not None and (version_number(stored.version) or 0) > last
