"""Detects whether files have changed since they were read."""

import os
import time
from collections.abc import Iterable

Stamp = tuple[int, int, int]
_UNSURE = (0, 0, 0)
# A file's time may be older than the moment at which it was written: it is that of the kernel's last tick.
_TICK_NS = 20_000_000


class Stamps:
    """The state of files and folders when they were noted. Only note files that were read after this was made."""

    def __init__(self) -> None:
        self._stamps: dict[str, Stamp | None] = {}
        self._started = time.time_ns() - _TICK_NS

    def note(self, paths: Iterable[str]) -> None:
        """Note the state of files. One that may have changed since this was made counts as changed."""
        for path in paths:
            now = _stamp(path)
            if now is not None and self._started <= now[0] <= time.time_ns():
                now = _UNSURE
            self._stamps.setdefault(path, now)

    def changed(self) -> set[str]:
        """Return the files that have changed, or may have."""
        return {path for path, before in self._stamps.items() if _stamp(path) != before}


def _stamp(path: str) -> Stamp | None:
    """Return values that change when the file or the folder's content does; None if it does not exist."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
