"""Kills all processes of a run.

Ansible-core puts each worker in its own session. So ansible-runner, which kills a process group, leaves a running
module's processes behind; and a module may have started a daemon. All processes of a run have its artifact directory
in their environment, and are found by it (in Linux's /proc).
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path

_PASSES = 5  # a process may fork during the search
_DEATH_SECONDS = 3.0  # a killed process ends at once, unless the kernel works for it (disk, network file system)


def kill_by_environment(name: str, value: str, *, below: bool = False, reap: bool = False) -> int:
    """Kill every process that was started with a variable in its environment, and return how many there were.

    They are dead when this returns, unless the kernel takes too long.

    Args:
        name: the variable.
        value: its value.
        below: whether the value is a directory, and paths below it are meant.
        reap: whether to reap those that have become this process's children, because process 1 of a container adopts
            every orphan. Not for children that other code waits for.
    """
    variable = os.fsencode(f"\0{name}={value}" + ("/" if below else "\0"))
    count = 0
    for _pass in range(_PASSES):
        found = {pid for pid in _pids_with(variable) if pid != os.getpid()}
        if not found:
            break
        count += len(found)
        kill_and_wait(found)
        if reap:
            _reap(found)
    return count


def kill_and_wait(pids: Iterable[int]) -> None:
    """Kill the processes and wait until they are dead, for up to ``_DEATH_SECONDS``."""
    poll = select.poll()
    with contextlib.ExitStack() as stack:
        waiting = set()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                descriptor = os.pidfd_open(pid)
                stack.callback(os.close, descriptor)
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                poll.register(descriptor, select.POLLIN)
                waiting.add(descriptor)
        deadline = time.monotonic() + _DEATH_SECONDS
        while waiting and (left := deadline - time.monotonic()) > 0:
            for descriptor, _event in poll.poll(left * 1000):
                poll.unregister(descriptor)
                waiting.discard(descriptor)


def _reap(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _pids_with(variable: bytes) -> set[int]:
    """Return the processes that have this text in their environment, which has a null byte around each variable."""
    pids = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone in the meantime, or another user's
            if variable in b"\0" + file.read_bytes() + b"\0":
                pids.add(int(file.parent.name))
    return pids
