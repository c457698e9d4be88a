"""What is to go wrong in one case: which write, and how. Small enough to be printed, and to be replayed from that."""

from __future__ import annotations

import dataclasses
import enum
import json


class Fault(enum.StrEnum):
    """What becomes of one write of the operator's."""

    DROPPED = "dropped"  # it never arrives, and the controller is killed
    UNANSWERED = "unanswered"  # it is done, and the controller is killed before it hears of it
    DELAYED = "delayed"  # it arrives 40 s later, when nobody waits for it any more
    CONFLICT = "409"
    TOO_MANY = "429"  # with Retry-After
    BROKEN = "500"
    GATEWAY = "504"  # it is done, and the answer says that nobody knows


KILLS = (Fault.DROPPED, Fault.UNANSWERED)
DELAY_SECONDS = 40.0


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A scenario, and what becomes of some of its writes, by their numbers from 1."""

    scenario: str
    faults: tuple[tuple[int, Fault], ...] = ()

    def __str__(self) -> str:
        return json.dumps({"scenario": self.scenario, "faults": [[number, str(one)] for number, one in self.faults]})

    @classmethod
    def read(cls, text: str) -> Schedule:
        """Return the schedule that was printed.

        Raises:
            ValueError: the text is none.
        """
        told = json.loads(text)
        return cls(told["scenario"], tuple((int(number), Fault(fault)) for number, fault in told["faults"]))
