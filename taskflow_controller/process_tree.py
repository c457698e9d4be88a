"""Kills all processes of a run.

Ansible-core puts each worker in a session of its own, so that the kill of a process group, which is what
ansible-runner does, leaves a running module's processes behind. All of a run's processes have its artifact
directory in their environment, and that finds them (Linux: /proc).
"""

import contextlib
import os
import signal
from pathlib import Path

_PASSES = 5  # a process may fork while the others are looked for


def kill_by_environment(name: str, value: str) -> int:
    """Kill every process that was started with ``name=value`` in its environment; return how many there were."""
    wanted = os.fsencode(f"{name}={value}")
    killed: set[int] = set()
    for _ in range(_PASSES):
        found = {pid for pid in _pids_with(wanted) if pid != os.getpid()}
        if not found - killed:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
    return len(killed)


def _pids_with(variable: bytes) -> set[int]:
    pids = set()
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # gone meanwhile, or another user's
            if variable in file.read_bytes().split(b"\0"):
                pids.add(int(file.parent.name))
    return pids
