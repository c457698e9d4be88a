"""What is measured, and how a value stands against its target. Nothing here is asserted: the machine may be busy."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any


class NotMeasuredError(Exception):
    """Something that a measurement needs is not there. The text says what to do about it."""


@dataclass(frozen=True)
class Target:
    """A limit that is still good, from below or from above."""

    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        return f"at {'least' if self.at_least else 'most'} {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One number that a part of the bench finds out. Without a target it is there for information."""

    name: str
    unit: str
    target: Target | None = None


@dataclass(frozen=True)
class Measurement:
    """A figure's value; None, and the reason, where there is none. ``command`` measures it again."""

    figure: Figure
    value: float | None
    command: str
    reason: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None where there is no target, or no value."""
        if self.value is None or self.figure.target is None:
            return None
        return self.figure.target.met(self.value)

    def as_json(self) -> dict[str, Any]:
        """Return it as an entry of bench.json."""
        target = self.figure.target
        entry = {
            "name": self.figure.name,
            "value": None if self.value is None else round(self.value, 3),
            "unit": self.figure.unit,
            "target": str(target) if target else None,
            "ok": self.ok,
            "command": self.command,
        }
        return {**entry, "reason": self.reason} if self.reason else entry


@dataclass(frozen=True)
class Part:
    """Figures that are measured together, and can be measured alone.

    ``measure`` yields (name of a figure, value); what it has yielded counts, even if it fails later.
    """

    name: str
    figures: tuple[Figure, ...]
    measure: Callable[[Any], Iterable[tuple[str, float]]]

    @property
    def command(self) -> str:
        """What measures this part, and nothing else."""
        return f"make bench ONLY={self.name}"


def run_part(part: Part, context: Any) -> Iterator[Measurement]:
    """Measure a part; a figure that got no value says why."""
    values: dict[str, float] = {}
    reason = ""
    try:
        for name, value in part.measure(context):
            values[name] = value
    except Exception as exc:
        known = isinstance(exc, NotMeasuredError)
        reason = str(exc) if known else f"{type(exc).__name__}: {exc}"
    known_names = {figure.name for figure in part.figures}
    if unknown := values.keys() - known_names:
        raise AssertionError(f"part {part.name} has no figure {sorted(unknown)}")
    for figure in part.figures:
        value = values.get(figure.name)
        missing = "" if value is not None else reason or "the part ended without it"
        yield Measurement(figure, value, part.command, missing)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of the values do not exceed (the nearest rank)."""
    if not values:
        raise NotMeasuredError("there is no value")
    return sorted(values)[max(math.ceil(percent / 100 * len(values)) - 1, 0)]


def milliseconds(work: Callable[[], Any]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def in_turn(kinds: Sequence[str], rounds: int, once: Callable[[str], float]) -> dict[str, list[float]]:
    """Measure the kinds one after the other in each round, so that a busy minute hits all of them.

    One that stands there more than once is measured as often.
    """
    values: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            values[kind].append(once(kind))
    return values
