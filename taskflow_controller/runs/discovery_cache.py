"""Keeps what runs learn about the API server's kinds, for later runs.

kubernetes.core asks for the kinds before anything else, and keeps the answers in TMPDIR. Here each run has its own
TMPDIR, which is removed with it.
"""

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

# The files of kubernetes.core and of the Kubernetes client. Their names identify the API server.
_NAMES = ("k8srcp-*.json", "osrcp-*.json")
_MAX_AGE = 600.0  # seconds, as kubectl had it; a kind that is not in the cache is looked up at once


def lend(shared: Path, own: Path) -> None:
    """Give a run what earlier runs have learnt.

    Args:
        shared: the folder for all runs.
        own: the TMPDIR of this run.
    """
    for path, status in _files(shared):
        with contextlib.suppress(OSError):
            if time.time() - status.st_mtime < _MAX_AGE:
                shutil.copy2(path, own)
            else:
                path.unlink()


def take_back(shared: Path, own: Path) -> None:
    """Keep what a run has learnt in addition. It counts as being as old as what was known before.

    Args:
        shared: the folder for all runs.
        own: the TMPDIR of this run.
    """
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
