"""Schedules that nobody thought of: several writes of a scenario go wrong. One that finds something is made smaller."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from support.faults.scenarios import SCENARIOS, Played
from support.faults.schedule import Fault, Schedule

Holds = Callable[..., Played]
SEED = int(os.environ["TASKFLOW_FAULTS_SEED"])
REPLAY = os.environ.get("TASKFLOW_FAULTS_SCHEDULE", "")
# A case takes a quarter of a minute, or a whole one where something is delayed. The parts run side by side.
PARTS, EXAMPLES = 5, 6
COMMON = {"deadline": None, "derandomize": False, "database": None, "suppress_health_check": list(HealthCheck)}

numbers_and_faults = st.tuples(st.integers(1, 12), st.sampled_from(Fault))
schedules = st.builds(
    Schedule,
    st.sampled_from(sorted(SCENARIOS)),
    st.lists(numbers_and_faults, min_size=1, max_size=3, unique_by=lambda fault: fault[0]).map(tuple),
)


@pytest.mark.skipif(not REPLAY, reason="TASKFLOW_FAULTS_SCHEDULE names no schedule")
def test_the_schedule_that_is_given(holds: Holds) -> None:
    holds(Schedule.read(REPLAY))


@pytest.mark.skipif(bool(REPLAY), reason="only the schedule that is given")
@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_breaks_a_promise(holds: Holds, part: int) -> None:
    @seed(SEED + part)
    @settings(max_examples=EXAMPLES, **COMMON)
    @given(schedules)
    def any_schedule(schedule: Schedule) -> None:
        holds(schedule)

    any_schedule()


@pytest.mark.sample
@pytest.mark.skipif(bool(REPLAY), reason="only the schedule that is given")
def test_one_schedule_breaks_no_promise(holds: Holds) -> None:
    """The first that hypothesis makes is always the same, so this one is drawn. It has no delay, to be short."""
    draw = random.Random(SEED)
    quick = [fault for fault in Fault if fault is not Fault.DELAYED]
    faults = tuple((number, draw.choice(quick)) for number in sorted(draw.sample(range(1, 9), 2)))
    holds(Schedule(draw.choice(sorted(SCENARIOS)), faults))
