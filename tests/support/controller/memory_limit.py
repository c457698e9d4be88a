"""A limit of memory for a process and all that it starts."""

from __future__ import annotations

import contextlib
import resource
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def little_memory(limit: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that puts a process, by its number, under a limit of so many bytes.

    The limit is as a container has it, by a memory cgroup: all processes share it, and when it is reached the kernel
    kills one. Where no cgroup can be made (no root, a file system that is read-only), each process has as much address
    space instead, and is refused more: what eats memory fails either way, though it is not killed.
    """
    try:
        group = _make_cgroup(limit)
    except OSError:
        yield lambda pid: resource.prlimit(pid, resource.RLIMIT_AS, (4 * limit, 4 * limit))
        return

    def confine(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))

    try:
        yield confine
    finally:
        _remove(group)


def _make_cgroup(limit: int) -> Path:
    """Make a cgroup inside that of this process. Raises OSError if that can't be done."""
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    own = {controllers: path.lstrip("/") for _, controllers, path in lines}
    if "memory" in own:
        parent, limit_file = CGROUPS / "memory" / own["memory"], "memory.limit_in_bytes"
    else:
        parent, limit_file = CGROUPS / own[""], "memory.max"
    group = parent / f"trial-{uuid.uuid4().hex[:8]}"
    group.mkdir()
    try:
        (group / limit_file).write_text(str(limit))
    except OSError:  # version 2 hands the memory controller down only where it is told to
        group.rmdir()
        raise
    return group


def _remove(group: Path) -> None:
    """Remove a cgroup once its last process is gone."""
    deadline = time.monotonic() + 20
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
