"""Tells whether files have changed since they were read."""

import os
import time
from collections.abc import Iterable

Stamp = tuple[int, int, int]
_UNSURE = (0, 0, 0)


class Stamps:
    """Files and folders as they were when they were noted."""

    def __init__(self) -> None:
        """Start with none; what is noted later must have been read later than this."""
        self._stamps: dict[str, Stamp | None] = {}
        self._started = time.time_ns()

    def note(self, paths: Iterable[str]) -> None:
        """Note these as they are now; one that was changed since the start may have been read before that."""
        for path in paths:
            now = _stamp(path)
            if now is not None and self._started <= now[0] <= time.time_ns():
                now = _UNSURE
            self._stamps.setdefault(path, now)

    def changed(self) -> set[str]:
        """Return those that are not as they were, or may not be."""
        return {path for path, before in self._stamps.items() if _stamp(path) != before}


def _stamp(path: str) -> Stamp | None:
    """Return what changes when the file, or what is in the folder, does; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
