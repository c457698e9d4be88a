"""Notices resources that run again and again, and why."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from taskflow_controller.kube.kinds import ResourceKey
from taskflow_controller.triggers.causes import Causes

MANY_RUNS = 100
WINDOW = 600.0
_SHOWN, _KEPT_CAUSES = 3, 20


@dataclass
class _Window:
    """The runs of a resource at one generation, since a point in time."""

    generation: object
    since: float
    runs: int = 0
    causes: Counter[Causes] = field(default_factory=Counter)


class RunHistory:
    """Notices a resource that events run again and again, although its spec does not change. Thread-safe.

    Runs that the clock has started (a period, a retry, a module's request) do not count, because their cause is clear.

    Args:
        clock: returns seconds, and never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[ResourceKey, _Window] = {}  # each key has one worker at a time

    def note(self, key: ResourceKey, generation: object, causes: Causes) -> str | None:
        """Count a run, and return a warning if it is the ``MANY_RUNS``-th within ``WINDOW`` seconds.

        Args:
            key: the resource.
            generation: the resource's generation; a new one starts a new count.
            causes: those of the run.
        """
        if causes.by_clock:
            return None
        window, now = self._windows.get(key), self._clock()
        if window is None or window.generation != generation or now - window.since > WINDOW:
            window = self._windows[key] = _Window(generation, now)
        window.runs += 1
        if causes in window.causes or len(window.causes) < _KEPT_CAUSES:
            window.causes[causes] += 1
        if window.runs != MANY_RUNS:
            return None
        most = "; ".join(f"{cause} ({count}x)" for cause, count in window.causes.most_common(_SHOWN))
        return (
            f"{MANY_RUNS} runs in {now - window.since:.0f} s without a change of its spec, mostly because of: {most}."
            " Does a run change what starts the next one?"
        )

    def forget(self, key: ResourceKey) -> None:
        """Drop the count of a resource that is gone."""
        self._windows.pop(key, None)
