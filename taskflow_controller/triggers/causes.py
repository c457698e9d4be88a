"""What causes a reconcile, as data: from the predicate, through the work queue, to the log and the run history."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class CauseKind(enum.Enum):
    """Where a cause comes from."""

    EVENT = "event"
    PERIOD = "period"
    REQUEUE_AFTER = "requeue_after"
    RETRY = "retry"


@dataclass(frozen=True)
class Cause:
    """One cause of a reconcile, and how the log puts it."""

    kind: CauseKind
    text: str

    @classmethod
    def event(cls, text: str) -> "Cause":
        """Return the cause of an event."""
        return cls(CauseKind.EVENT, text)

    @classmethod
    def retry(cls, number: int, after: str) -> "Cause":
        """Return the cause of a try after a back-off: the how manieth it is, and what it comes after."""
        return cls(CauseKind.RETRY, f"retry {number} after {after}")

    @classmethod
    def requeue_after(cls, seconds: float) -> "Cause":
        """Return the cause of a run that a module asked for."""
        return cls(CauseKind.REQUEUE_AFTER, f"requeue_after {seconds:g} s")

    def __str__(self) -> str:
        return self.text


PERIOD = Cause(CauseKind.PERIOD, "period")
"""The cause of a run that is due without any change."""


@dataclass(frozen=True)
class Causes:
    """All causes of one reconcile.

    Attributes:
        first: the first few different ones.
        more: how many more there were.
    """

    first: tuple[Cause, ...]
    more: int = 0

    @classmethod
    def of(cls, causes: Iterable[Cause], more: int = 0) -> "Causes":
        """Return these causes."""
        return cls(tuple(causes), more)

    @property
    def by_clock(self) -> bool:
        """Whether no event is among them."""
        return not self.more and all(cause.kind is not CauseKind.EVENT for cause in self.first)

    def __str__(self) -> str:
        return "; ".join(map(str, self.first)) + (f"; and {self.more} more" if self.more else "")
