"""A work queue with the semantics of client-go's: only one worker works on a key at a time.

- A key that already waits is not added twice; its reasons are collected.
- A key added while a worker works on it waits until that work is done, and is then handed out once more.
- Failures are retried after an exponential back-off per key.
- Each group of keys has its own limit; the number of workers is the limit over all groups.
- A worker may get several keys of a group at once, up to the group's batch: those that wait at that moment. Nothing
  waits for a batch to fill. A key that failed is handed out alone until it succeeds, so that it can't make others
  fail. The key that has waited longest is always among those handed out next.
"""

import heapq
import itertools
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

K = TypeVar("K", bound=Hashable)
ReasonT = TypeVar("ReasonT", bound=Hashable)

BASE_DELAY = 0.005
MAX_DELAY = 1000.0
MAX_REASONS = 5
_MAX_WAIT = 3600.0  # threading limits how long a wait may be
_MAX_STALE = 100
_MAX_EXPONENT = 30  # 0.005 s * 2^30 is far above MAX_DELAY; this only keeps the power small


@dataclass
class Reasons(Generic[ReasonT]):
    """The reasons why a key is in the queue: the first few different ones, and how many more there were."""

    first: list[ReasonT] = field(default_factory=list)
    more: int = 0
    since: float = 0.0  # when the first one came
    place: int = 0  # in the order of all that wait

    def add(self, reason: ReasonT) -> None:
        """Add a reason, unless it is there already."""
        if reason in self.first:
            return
        if len(self.first) < MAX_REASONS:
            self.first.append(reason)
        else:
            self.more += 1


@dataclass(frozen=True)
class WorkItem(Generic[K, ReasonT]):
    """A key for a worker, with the first few different reasons for it, and how many more there were."""

    key: K
    reasons: tuple[ReasonT, ...]
    more: int = 0


@dataclass(frozen=True)
class GroupState:
    """The state of a group of keys.

    Attributes:
        waiting: how many keys wait for a worker.
        running: for each key in work, how many seconds ago a worker took it.
        workers: how many workers have keys of the group.
    """

    waiting: int = 0
    running: tuple[float, ...] = ()
    workers: int = 0


class QueueObserver(Protocol):
    """Learns what happens to a group's keys. Called under the queue's lock: be quick, and don't call the queue."""

    def added(self, group: Hashable) -> None:
        """A key came that was not waiting already."""

    def taken(self, group: Hashable, waited: float) -> None:
        """A worker took a key ``waited`` seconds after it came."""

    def done(self, group: Hashable, worked: float) -> None:
        """The work on a key ended after ``worked`` seconds."""

    def retried(self, group: Hashable) -> None:
        """A key will be tried again after a back-off."""


class WorkQueue(Generic[K, ReasonT]):
    """Hands out keys to workers. Thread-safe. Times are in seconds.

    Args:
        group_of: returns the group of a key.
        limits: how many workers may have keys of a group at once. A group that is not in it has no limit.
        clock: a time that never goes back.
        observer: learns what happens to the keys.
        batches: how many keys of a group one worker may have at once. One, if the group is not in it.
    """

    def __init__(
        self,
        group_of: Callable[[K], Hashable] = lambda key: None,
        limits: Mapping[Hashable, int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: QueueObserver | None = None,
        batches: Mapping[Hashable, int] | None = None,
    ) -> None:
        self._group_of = group_of
        self._limits, self._batches = dict(limits or {}), dict(batches or {})
        self._clock, self._observer = clock, observer
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, OrderedDict[K, Reasons[ReasonT]]] = {}  # by group; none is empty
        self._again: dict[K, Reasons[ReasonT]] = {}  # added while being worked on
        self._working: dict[K, tuple[Hashable, float]] = {}  # its group, and when a worker took it
        self._workers: Counter[Hashable] = Counter()  # how many have keys of a group
        self._delayed: dict[K, tuple[float, int, ReasonT]] = {}
        self._due: list[tuple[float, int, K]] = []  # a heap; an entry counts if it is still in _delayed
        self._sequence = itertools.count()
        self._failures: dict[K, int] = {}
        self._shut_down = False

    def add(self, key: K, reason: ReasonT) -> None:
        """Let a worker have a key as soon as one is free. Does nothing after ``shut_down``.

        Args:
            key: what to work on.
            reason: why, as the log will show it.
        """
        with self._changed:
            if not self._shut_down:
                self._add(key, reason)
                self._changed.notify_all()

    def add_after(self, key: K, delay: float, reason: ReasonT) -> None:
        """Add a key later. Of several such delays for a key, the one that ends first counts.

        Args:
            key: what to work on.
            delay: in how many seconds. 0 or less: now.
            reason: why, as the log will show it.
        """
        if delay <= 0:
            self.add(key, reason)
            return
        with self._changed:
            due = self._clock() + delay
            known = self._delayed.get(key)
            if self._shut_down or (known is not None and known[0] <= due):
                return
            number = next(self._sequence)
            self._delayed[key] = (due, number, reason)
            self._schedule((due, number, key))
            self._changed.notify_all()

    def add_rate_limited(self, key: K, reason: ReasonT) -> float:
        """Add a key after a delay that doubles with each call since ``forget``, and return the delay in seconds.

        Args:
            key: what to work on.
            reason: why, as the log will show it.
        """
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            if self._observer:
                self._observer.retried(self._group_of(key))
        delay = min(BASE_DELAY * 2.0 ** min(failures, _MAX_EXPONENT), MAX_DELAY)
        self.add_after(key, delay, reason)
        return delay

    def failures(self, key: K) -> int:
        """Return how often ``add_rate_limited`` was called for a key since the last ``forget``."""
        with self._changed:
            return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Let the next back-off of a key begin with the shortest delay."""
        with self._changed:
            self._failures.pop(key, None)

    def cancel_delayed(self, key: K) -> None:
        """Drop what ``add_after`` has scheduled for a key: the run that starts now decides when the next one is due."""
        with self._changed:
            self._delayed.pop(key, None)

    def get(self) -> list[WorkItem[K, ReasonT]] | None:
        """Wait for keys and take one or more of them, all of one group. Return None once the queue is shut down.

        Call ``done`` with all of them when finished.
        """
        with self._changed:
            while not self._shut_down:
                self._promote_due()
                places = self._first_places()
                if places:
                    return self._take(min(places, key=places.__getitem__))
                self._changed.wait(self._until_due())
            return None

    def done(self, *keys: K) -> None:
        """End the work on the keys of one ``get``. Those that were added again since then wait for a worker."""
        with self._changed:
            self._workers[self._group_of(keys[0])] -= 1
            for key in keys:
                group, started = self._working.pop(key)
                if self._observer:
                    self._observer.done(group, self._clock() - started)
                reasons = self._again.pop(key, None)
                if reasons is not None and not self._shut_down:
                    self._waiting_of(group)[key] = reasons
            self._changed.notify_all()

    def shut_down(self) -> None:
        """Hand out nothing more and take nothing more."""
        with self._changed:
            self._shut_down = True
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """After ``shut_down``, wait up to ``timeout`` seconds for all work to end. Return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._working, timeout)

    def __len__(self) -> int:
        """Return how many keys wait for a worker now."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def working(self) -> int:
        """Return how many keys workers have now."""
        with self._changed:
            return len(self._working)

    def restart_waits(self) -> None:
        """Let the waits of all keys begin now, because there were no workers to take them before."""
        with self._changed:
            for keys in self._waiting.values():
                for reasons in keys.values():
                    reasons.since = self._clock()

    def state(self) -> dict[Hashable, GroupState]:
        """Return the state of each group that has keys."""
        with self._changed:
            now = self._clock()
            running: dict[Hashable, list[float]] = {}
            for group, started in self._working.values():
                running.setdefault(group, []).append(now - started)
            return {
                group: GroupState(
                    len(self._waiting.get(group, ())), tuple(running.get(group, ())), self._workers[group]
                )
                for group in {*self._waiting, *running}
            }

    def _add(self, key: K, reason: ReasonT) -> None:
        group = self._group_of(key)
        place: dict[K, Reasons[ReasonT]] = self._again if key in self._working else self._waiting_of(group)
        if key not in place:
            place[key] = Reasons(since=self._clock(), place=next(self._sequence))
            if self._observer:
                self._observer.added(group)
        place[key].add(reason)

    def _waiting_of(self, group: Hashable) -> OrderedDict[K, Reasons[ReasonT]]:
        return self._waiting.setdefault(group, OrderedDict())

    def _take(self, group: Hashable) -> list[WorkItem[K, ReasonT]]:
        """Take the key of a group that has waited longest, and those that may go to the same worker."""
        waiting, now = self._waiting[group], self._clock()
        first = next(iter(waiting))
        keys = [first]
        if self._batches.get(group, 1) > 1 and first not in self._failures:
            others = (key for key in waiting if key not in self._failures)
            keys = list(itertools.islice(others, self._batches[group]))
        items = []
        for key in keys:
            reasons = waiting.pop(key)
            self._working[key] = (group, now)
            items.append(WorkItem(key, tuple(reasons.first), reasons.more))
            if self._observer:
                self._observer.taken(group, now - reasons.since)
        if not waiting:
            del self._waiting[group]
        self._workers[group] += 1
        return items

    def _promote_due(self) -> None:
        now = self._clock()
        while self._due and self._due[0][0] <= now:
            _due, number, key = heapq.heappop(self._due)
            delayed = self._delayed.get(key)
            if delayed is not None and delayed[1] == number:
                del self._delayed[key]
                self._add(key, delayed[2])

    def _schedule(self, entry: tuple[float, int, K]) -> None:
        heapq.heappush(self._due, entry)
        if len(self._due) > 2 * len(self._delayed) + _MAX_STALE:  # delays that were cancelled, hours before they end
            self._due = [(due, number, key) for key, (due, number, _entry) in self._delayed.items()]
            heapq.heapify(self._due)

    def _until_due(self) -> float | None:
        return min(max(self._due[0][0] - self._clock(), 0.0), _MAX_WAIT) if self._due else None

    def _first_places(self) -> dict[Hashable, int]:
        """Return, for each group below its limit, the place of the key that has waited longest."""
        return {
            group: next(iter(waiting.values())).place
            for group, waiting in self._waiting.items()
            if group not in self._limits or self._workers[group] < self._limits[group]
        }
