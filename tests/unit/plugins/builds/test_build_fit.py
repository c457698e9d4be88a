"""A Build's status is cut until the API server takes it; without room for one, nothing is built."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._task.fit import (
    DETAILS,
    LEVELS,
    NOTE,
    RESULTS,
    STEPS,
    cut,
    level_of,
)
from support.tasks.build_world import BuildWorld

LARGE = ["x" * 100_000] * 11
SPEC = {"source": {"git": {"url": "https://h/r", "revision": "main"}}, "image": "good:1", "command": ["make"]}


class SmallWorld(BuildWorld):
    """A cluster that takes statuses from a level of cutting on."""

    level, refused = 0, 0

    def set_status(self, build: Any, status: Any) -> Any:
        if level_of(status) < self.level:
            self.refused += 1
            raise TaskError("TooLarge", "etcdserver: request is too large", permanent=True)
        return super().set_status(build, status)


def settled(level: int = 0, end: str = "fails", **spec: Any) -> SmallWorld:
    world = SmallWorld({**SPEC, **spec}, lambda _spec: ["ok", end])
    world.level = level
    world.settle()
    return world


@pytest.mark.parametrize("end", ["ok", "fails"])
@pytest.mark.parametrize("level", range(1, len(LEVELS)))
def test_as_much_of_the_status_is_recorded_as_there_is_room_for(end, level):
    whole = settled(end=end).status
    world = settled(level, end)
    assert level_of(world.status) == level
    assert (world.status["phase"], "steps" in world.status) == (whole["phase"], level < STEPS)
    assert world.status["conditions"][0]["message"].endswith(NOTE + LEVELS[level])
    assert len(world.jobs) == 1


def test_the_next_look_writes_nothing_and_asks_no_more_often():
    world = settled(DETAILS)
    before, refused = world.status, world.refused
    assert world.round()["changed"] is False
    assert (world.status, world.refused) == (before, refused)


def test_earlier_builds_go_with_the_details():
    world = settled()
    world.change(command=["make", "all"])
    world.settle()
    assert len(world.status["history"]) == 1
    assert "history" in cut(world.status, RESULTS) and "history" not in cut(world.status, DETAILS)


def test_a_large_build_without_room_for_a_status_gets_no_job():
    world = settled(len(LEVELS), args=LARGE)
    assert (world.jobs, world.status) == ({}, {})
    assert set(world.events) == {"TooLarge"}


def test_a_changed_one_without_room_is_not_built_over_and_over():
    world = settled(args=LARGE)
    world.level = len(LEVELS)
    world.change(command=["make", "all"])
    world.settle()
    assert world.events.count("Created") == 1 and world.events[-1] == "TooLarge"


@pytest.mark.parametrize("writes", range(4))
def test_a_large_build_is_built_once_whenever_the_operator_is_killed(writes):
    world = SmallWorld({**SPEC, "args": LARGE}, lambda _spec: ["ok", "ok"])
    world.round(writes=writes)
    while actions := world.actions():
        actions[0]()
    world.settle()
    assert (len(world.jobs), world.status["phase"]) == (1, "Successful")
    assert world.events.count("Deleted") == 0


def test_the_message_of_a_build_that_is_out_of_time_has_no_note_in_the_middle():
    world = SmallWorld({**SPEC, "activeDeadlineSeconds": 60}, lambda _spec: ["ok", "ok"])
    world.level = 1
    world.round()
    (job,) = world.jobs.values()
    world.run_out_of_time(job)
    world.settle()
    words = world.status["conditions"][0]["message"]
    assert words.count(NOTE) == 1 and "spec.activeDeadlineSeconds allows 60 s" in words


def test_a_large_build_with_room_for_a_status_is_built():
    world = settled(end="ok", args=LARGE)
    assert (len(world.jobs), world.status["phase"]) == (1, "Successful")
