"""Keeps what the runs learn of the kinds that an API server has, for later runs.

kubernetes.core asks for it before anything else, three requests in each task, and keeps the answers in TMPDIR. That is
a run's own here, and goes with it.
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
        if time.time() - status.st_mtime < _MAX_AGE:
            with contextlib.suppress(OSError):
                shutil.copy2(path, own)
        else:
            path.unlink(missing_ok=True)


def take_back(shared: Path, own: Path) -> None:
    """Keep what a run has learnt that was not known before."""
    for path, status in _files(own):
        known = shared / path.name
        with contextlib.suppress(OSError):
            if known.exists() and known.stat().st_mtime_ns == status.st_mtime_ns:
                continue
            shared.mkdir(mode=0o700, exist_ok=True)
            os.replace(path, known)


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for name in _NAMES:
        for path in folder.glob(name):
            with contextlib.suppress(OSError):  # another run replaces it
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield path, status
