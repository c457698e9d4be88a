"""The six scenarios: what happens to a Task while the operator's writes are numbered, and how it has to end."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

from support.faults.judgement import problems_of, told_of
from support.faults.schedule import Schedule
from support.faults.witness import gate, step
from support.faults.world import World
from support.kubectl import Object

Act = Callable[[World, str], None]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One scenario.

    Attributes:
        spec: of the Task.
        act: what happens from where the numbering of the writes begins, to the Task of a name.
        ends: each way for it to end: the verdict, and how many Pods there have been.
        writes: how many writes that takes at most without a fault.
        begins: the step that runs when the numbering begins; if empty, ``act`` makes the Task.
    """

    spec: Object
    act: Act
    ends: frozenset[tuple[str, int]]
    writes: int = 0
    begins: str = "a"


def make_task(name: str, spec: Object) -> Object:
    """Return a Task."""
    return {"apiVersion": "api.practice.com/v1alpha1", "kind": "Task", "metadata": {"name": name}, "spec": spec}


def go_on(world: World, name: str) -> None:
    """Let a Task's first step end."""
    world.open_gate(name, "a")


def _begin(world: World, name: str) -> None:
    world.apply(make_task(name, SCENARIOS["create"].spec))


def _lose(world: World, name: str) -> None:
    (pod,) = world.pods(name)
    world.delete_pod(pod["metadata"]["name"])


def _cancel(world: World, name: str) -> None:
    world.patch_task(name, {"spec": {"cancel": True}})


def make_spec(*steps: Object, **spec: Any) -> Object:
    """Return the spec of a Task with these steps."""
    return {"steps": list(steps), **spec}


_FIRST_WAITS = gate("a", first_attempt_only=True)
_FAILS_FIRST = f'{_FIRST_WAITS}; [ "$ATTEMPT" -gt 1 ] || exit 3'


def one(verdict: str, attempts: int) -> frozenset[tuple[str, int]]:
    """Return the only way for a scenario to end."""
    return frozenset({(verdict, attempts)})


# The second fails, and is continued.
THREE_STEPS = make_spec(step("a", gate("a")), step("b", "sleep 2; exit 7", onError="continue"), step("c", "sleep 1"))
FAILING = make_spec(step("a", f"{gate('a')}; exit 3"), step("b"))
SCENARIOS = {
    "create": Scenario(make_spec(step("a", "sleep 1")), _begin, one("Successful", 1), 13, begins=""),
    "advance": Scenario(THREE_STEPS, go_on, one("Successful", 1), 14),
    "fail": Scenario(FAILING, go_on, one("Failure", 1), 8),
    "retry": Scenario(make_spec(step("a", _FAILS_FIRST), step("b"), retries=1), go_on, one("Successful", 2), 16),
    "lose": Scenario(make_spec(step("a", _FIRST_WAITS), step("b")), _lose, one("Successful", 2), 16),
    "cancel": Scenario(make_spec(step("a", gate("a")), step("b")), _cancel, one("Cancelled", 1), 8),
}


@dataclasses.dataclass(frozen=True)
class Played:
    """What came of a case: what is wrong, and what helps to understand it."""

    problems: list[str]
    told: str
    writes: int


def play(world: World, schedule: Schedule, scenario: Scenario | None = None) -> Played:
    """Play a scenario while some of its writes go wrong, and judge all that was seen.

    Args:
        world: where.
        schedule: what goes wrong.
        scenario: one that is not among the six.
    """
    scenario = scenario or SCENARIOS[schedule.scenario]
    name = f"{schedule.scenario}-{uuid.uuid4().hex[:5]}"
    try:
        if scenario.begins:
            world.apply(make_task(name, scenario.spec))
            world.running(name, scenario.begins)
            world.quiet()
        world.proxy.arm(dict(schedule.faults))
        scenario.act(world, name)
        problems = _judged(scenario, world.finished(name))
        world.quiet()
    except TimeoutError as error:
        problems = [str(error)]
    writes, told = len(world.proxy.writes), told_of(world, name)
    world.proxy.arm({})
    world.remove(name)
    return Played([*problems, *problems_of(world, name)], f"{schedule}\n{told}", writes)


def _judged(scenario: Scenario, status: Object) -> list[str]:
    came = (status["status"], status["attempts"])
    return [] if came in scenario.ends else [f"the scenario may end as {sorted(scenario.ends)}, and did as {came}"]
