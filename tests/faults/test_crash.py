"""Every write of the operator's is lost, delayed or refused once, in each scenario."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.faults.scenarios import SCENARIOS, Played
from support.faults.schedule import Fault, Schedule

Holds = Callable[..., Played]

# Those that tell most: the Pod, the order, the verdict.
SAMPLE = {
    ("create", 1, Fault.DROPPED),
    ("create", 1, Fault.UNANSWERED),
    ("create", 3, Fault.CONFLICT),
    ("advance", 2, Fault.DELAYED),
    ("advance", 4, Fault.UNANSWERED),
    ("fail", 1, Fault.UNANSWERED),
    ("fail", 2, Fault.TOO_MANY),
    ("retry", 2, Fault.UNANSWERED),
    ("retry", 1, Fault.GATEWAY),
    ("lose", 1, Fault.UNANSWERED),
    ("lose", 2, Fault.BROKEN),
    ("cancel", 1, Fault.DROPPED),
}
CASES = [
    pytest.param(
        Schedule(name, ((number, fault),)),
        id=f"{name}-{number}-{fault}",
        marks=[pytest.mark.sample] if (name, number, fault) in SAMPLE else [],
    )
    for name, scenario in SCENARIOS.items()
    for number in range(1, scenario.writes + 1)
    for fault in Fault
]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_write_has_a_number(holds: Holds, name: str) -> None:
    """Without a fault no scenario takes more writes than there are cases for it."""
    played = holds(Schedule(name))
    print(played.told)
    assert played.writes <= SCENARIOS[name].writes, f"{name}: raise its writes\n{played.told}"


@pytest.mark.parametrize("schedule", CASES)
def test_no_write_that_goes_wrong_breaks_a_promise(holds: Holds, schedule: Schedule) -> None:
    holds(schedule)
