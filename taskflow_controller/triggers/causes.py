"""The causes of a reconcile as data: from the predicate, through the work queue, to the log and the run history."""

import enum
from dataclasses import dataclass


class CauseKind(enum.Enum):
    """The origin of a cause."""

    EVENT = "event"
    PERIOD = "period"
    REQUEUE_AFTER = "requeue_after"
    RETRY = "retry"


@dataclass(frozen=True)
class Cause:
    """One cause of a reconcile, and its text in the log."""

    kind: CauseKind
    text: str

    @classmethod
    def event(cls, text: str) -> "Cause":
        """Return the cause that an event is."""
        return cls(CauseKind.EVENT, text)

    @classmethod
    def retry(cls, number: int, after: str) -> "Cause":
        """Return the cause of an attempt after a back-off.

        Args:
            number: which retry in a row it is, from 1.
            after: what it follows, such as a failure.
        """
        return cls(CauseKind.RETRY, f"retry {number} after {after}")

    @classmethod
    def requeue_after(cls, seconds: float) -> "Cause":
        """Return the cause of a run that a module asked for."""
        return cls(CauseKind.REQUEUE_AFTER, f"requeue_after {seconds:g} s")

    def __str__(self) -> str:
        return self.text


PERIOD = Cause(CauseKind.PERIOD, "period")
"""The cause of a run that is due although nothing has changed."""


@dataclass(frozen=True)
class Causes:
    """All causes of one reconcile.

    Attributes:
        first: the first few different ones.
        more: how many more there were.
    """

    first: tuple[Cause, ...]
    more: int = 0

    @property
    def by_clock(self) -> bool:
        """True if no event is among them."""
        return not self.more and all(cause.kind is not CauseKind.EVENT for cause in self.first)

    def __str__(self) -> str:
        return "; ".join(map(str, self.first)) + (f"; and {self.more} more" if self.more else "")
