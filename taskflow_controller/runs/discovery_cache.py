"""Keeps what the runs learn of the kinds that an API server has, for later runs.

kubernetes.core asks for it before anything else, and keeps the answers in TMPDIR. That is a run's own here, and goes
with it.
"""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

# Of kubernetes.core, and of the Kubernetes client. What the API server is, is in the name.
_NAMES = ("k8srcp-*.json", "osrcp-*.json")
_MAX_AGE = 600.0  # seconds, as kubectl had it; a kind that is not in the cache is asked for at once


def lend(shared: Path, own: Path) -> None:
    """Give a run what the ones before learnt: ``shared`` is for all runs, ``own`` the TMPDIR of this one."""
    for path, status in _files(shared):
        with contextlib.suppress(OSError):
            if time.time() - status.st_mtime < _MAX_AGE:
                shutil.copy2(path, own)
            else:
                path.unlink()


def take_back(shared: Path, own: Path) -> None:
    """Keep what a run has learnt that was not known before. Its age is that of what was known."""
    known = {path.name: status for path, status in _files(shared)}
    for path, status in _files(own):
        before = known.get(path.name)
        if before and before.st_mtime_ns == status.st_mtime_ns:
            continue
        with contextlib.suppress(OSError):
            if before:
                os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
            shared.mkdir(mode=0o700, exist_ok=True)
            os.replace(path, shared / path.name)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for name in _NAMES:
        for path in folder.glob(name):
            with contextlib.suppress(OSError):  # another run replaces it
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status
