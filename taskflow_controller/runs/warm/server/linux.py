"""The few calls to the kernel for which Python has no function."""

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become, in place of process 1, the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def children() -> set[int]:
    """Return the process ids of this process's children, including adopted and dead ones."""
    own, found = os.getpid(), set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = file.read_bytes()
        except OSError:  # gone in the meantime
            continue
        if int(stat[stat.rindex(b")") + 2 :].split()[1]) == own:
            found.add(int(file.parent.name))
    return found


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
