"""Notices what runs a resource again and again."""

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
    """The runs of a resource at one generation, since a moment."""

    generation: object
    since: float
    runs: int = 0
    causes: Counter[Causes] = field(default_factory=Counter)


class RunHistory:
    """Notices a resource that events run over and over, though its spec does not change. Thread-safe.

    Runs that come of the clock (a period, a retry, what a module asked for) do not count: their cause is plain.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[ResourceKey, _Window] = {}  # each key has one worker at a time

    def note(self, key: ResourceKey, generation: object, causes: Causes) -> str | None:
        """Take a run; return a warning, once in ``WINDOW`` seconds, if there were ``MANY_RUNS`` in them."""
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
        """Drop what is kept for a resource that is gone."""
        self._windows.pop(key, None)
