"""The operator sees late, or never, what happens: its watches are held, lose events and expire, or it is away."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable

import pytest
from support.faults.scenarios import FAILING, SCENARIOS, THREE_STEPS, Act, Played, Scenario, go_on, make_task, one
from support.faults.witness import END
from support.faults.world import World

Holds = Callable[..., Played]
# Longer than the steps take.
BLIND_SECONDS = 12.0


def blinded(act: Act, way: str, *plurals: str) -> Act:
    """Return an act that happens while the events of these kinds are ``held`` or ``dropped``."""

    def blind(world: World, name: str) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(world.heal)
            for plural in plurals:
                stack.enter_context(getattr(world.proxy.streams, way)(plural))
            act(world, name)
            time.sleep(BLIND_SECONDS)

    return blind


@pytest.mark.parametrize("way", ["held", "dropped"])
@pytest.mark.parametrize("plural", ["tasks", "pods"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_events_that_come_late_or_never(holds: Holds, name: str, plural: str, way: str) -> None:
    scenario = SCENARIOS[name]
    holds(f"{name}-{way}-{plural}", dataclasses.replace(scenario, act=blinded(scenario.act, way, plural)))


@pytest.mark.parametrize("name", SCENARIOS)
def test_watches_that_expire_again_and_again(holds: Holds, name: str) -> None:
    scenario = SCENARIOS[name]

    def act(world: World, task: str) -> None:
        scenario.act(world, task)
        for _ in range(12):
            for plural in ("tasks", "pods"):
                world.proxy.streams.expire(plural)
            time.sleep(0.5)
        world.heal()

    holds(f"{name}-expired", dataclasses.replace(scenario, act=act))


@pytest.mark.parametrize("way", ["held", "dropped"])
def test_a_task_that_is_made_again_under_its_name_unseen(holds: Holds, way: str) -> None:
    def again(world: World, name: str) -> None:
        world.delete_task(name)
        world.until("the Task to be gone", lambda: world.task(name) is None)
        world.apply(make_task(name, THREE_STEPS))
        go_on(world, name)

    act = blinded(again, way, "tasks", "pods")
    holds(f"again-{way}", Scenario(THREE_STEPS, act, one("Successful", 1)))


def unseen(grace: int | None) -> Act:
    """Return an act that lets the steps end while the operator is away, and then removes the Pod."""

    def act(world: World, name: str) -> None:
        world.stay_away()
        go_on(world, name)
        pod = world.terminal(name)["metadata"]["name"]
        world.delete_pod(pod, grace)
        time.sleep(3)
        world.come_back()

    return act


@pytest.mark.parametrize("grace", [pytest.param(None, marks=pytest.mark.sample), pytest.param(0, id="at-once")])
def test_a_success_that_nobody_saw_is_one(holds: Holds, grace: int | None) -> None:
    holds("unseen-success", Scenario(THREE_STEPS, unseen(grace), one("Successful", 1)))


def test_a_failure_that_nobody_saw_is_one(holds: Holds) -> None:
    holds("unseen-failure", Scenario(FAILING, unseen(None), one("Failure", 1)))


@pytest.mark.sample
def test_steps_that_end_while_the_operator_is_away(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        world.stay_away()
        go_on(world, name)
        world.said(name, "c", END)
        world.come_back()

    holds("away", Scenario(THREE_STEPS, act, one("Successful", 1)))


def test_a_namespace_that_is_deleted_waits_for_nothing(worlds, holds: Holds) -> None:
    """Nothing of a Task's is in its way, whatever its Pod waits for."""
    world = worlds.get()
    world.apply(make_task("going", THREE_STEPS))
    world.running("going", "a")
    world.api.request("DELETE", f"api/v1/namespaces/{world.namespace}")
    world.until("the Task and its Pods to be gone", lambda: not world.task("going") and not world.pods("going"), 90)
    assert not worlds.end()
