"""What processes and all their descendants use: memory and processor time, at a moment and over time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil


@dataclass(frozen=True)
class Usage:
    """Of one moment. Memory in bytes, ``cpu`` in seconds since the processes began, ended children included."""

    rss: int = 0
    cpu: float = 0.0
    processes: int = 0


def tree(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; none once it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def usage(pids: Iterable[int]) -> Usage:
    """Add up what the trees of processes use."""
    rss, cpu, count = 0, 0.0, 0
    for process in _members(pids):
        try:
            with process.oneshot():
                times = process.cpu_times()
                rss += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        cpu += times.user + times.system + times.children_user + times.children_system
        count += 1
    return Usage(rss, cpu, count)


def shared_memory_once(pids: Iterable[int]) -> int:
    """Return the trees' memory in bytes where a page that several share is divided among them (PSS)."""
    total = 0
    for process in _members(pids):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total


class Sampler:
    """Notes what groups of processes use, every so many seconds, until stopped.

    ``groups`` gives each group's name and its processes; ``more`` further numbers of the moment, by name.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[int]],
        more: Callable[[], Mapping[str, float]] = dict,
        interval: float = 0.5,
    ) -> None:
        self.samples: list[dict[str, Any]] = []
        self._groups, self._more, self._interval = groups, more, interval
        self._began = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        self._note()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._note()

    def peak_rss(self, group: str) -> int:
        """Return the most memory, in bytes, that a group was seen to use."""
        return max(sample[group]["rss"] for sample in self.samples)

    def cpu_seconds(self, group: str) -> float:
        """Return how much processor time a group used from the first sample to the last."""
        return float(self.samples[-1][group]["cpu"] - self.samples[0][group]["cpu"])

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            self._note()

    def _note(self) -> None:
        moment = {"seconds": round(time.monotonic() - self._began, 2)}
        used = {name: asdict(usage(pids)) for name, pids in self._groups.items()}
        self.samples.append({**moment, **used, **self._more()})


def _members(pids: Iterable[int]) -> list[psutil.Process]:
    """Return every process of the trees once, though one tree may be part of another."""
    return list({process.pid: process for pid in pids for process in tree(pid)}.values())
