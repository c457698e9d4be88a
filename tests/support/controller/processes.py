"""What /proc says of a process and all that came of it: memory, descriptors, threads, corpses, strays."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

RUN_MARK = "AWX_ISOLATED_DATA_DIR"  # every process of a run has it in its environment: the run's directory


@dataclass(frozen=True)
class Usage:
    """Of a process and its descendants, all together. ``memory`` is in MiB and counts what they share once."""

    processes: int
    memory: float
    descriptors: int
    threads: int


def usage(pid: int) -> Usage:
    """Measure a process with all its descendants."""
    pids = family(pid)
    return Usage(
        processes=len(pids),
        memory=sum(_memory(one) for one in pids),
        descriptors=sum(_entries(one, "fd") for one in pids),
        threads=sum(_entries(one, "task") for one in pids),
    )


def family(pid: int) -> list[int]:
    """Return a process and its descendants, corpses too."""
    children: dict[int, list[int]] = {}
    for one, (_, parent) in _all():
        children.setdefault(parent, []).append(one)
    found = [pid]
    for one in found:  # grows while it is walked
        found += children.get(one, [])
    return found


def zombies(pid: int) -> list[int]:
    """Return the corpses among a process's descendants."""
    ours = set(family(pid))
    return [one for one, (state, _) in _all() if one in ours and state == "Z"]


def with_variable(name: str, value: str | Path) -> dict[int, str]:
    """Return the processes that were started with this in their environment, and their command lines."""
    return _started_with(lambda variable: variable == f"{name}={value}".encode())


def of_runs(directory: Path) -> dict[int, str]:
    """Return the processes of runs whose directories are below this one, and their command lines."""
    return _started_with(lambda variable: variable.startswith(f"{RUN_MARK}={directory}/".encode()))


def _started_with(wanted: Callable[[bytes], bool]) -> dict[int, str]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if any(map(wanted, path.read_bytes().split(b"\0"))):
                command = path.with_name("cmdline").read_bytes()
                found[int(path.parent.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def alive(pid: int) -> bool:
    """Whether there is such a process, and not only its corpse."""
    return any(one == pid and state != "Z" for one, (state, _) in _all())


def line(ancestor: int, descendant: int) -> list[int]:
    """Return the processes from one, without it, down to a descendant."""
    parents = {pid: parent for pid, (_, parent) in _all()}
    found = [descendant]
    while (parent := parents[found[0]]) != ancestor:
        found.insert(0, parent)
    return found


def kill(pid: int) -> None:
    """Kill a process that may have ended by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _all() -> Iterator[tuple[int, tuple[str, int]]]:
    """Yield each process's number, with its state and its parent."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                yield int(name), (fields[0], int(fields[1]))


def _memory(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _entries(pid: int, folder: str) -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{pid}/{folder}"))
    return 0
