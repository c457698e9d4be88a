"""Whole nodes fail. These cases disturb all others, so they run alone.

The clock of one node can't be set apart here: the nodes of a kind cluster are containers, and share their host's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.facts import needs_own_cluster
from support.faults.cri import kill_shim, node_of, sandbox_of
from support.faults.scenarios import THREE_STEPS, Played, Scenario, go_on, make_spec, one
from support.faults.witness import END, gate, step
from support.faults.world import World
from support.nodes import (
    containerd_stopped,
    kubelet_stopped,
    leaving_after,
    node_drained,
    node_paused,
    node_removed,
    node_stopped,
    wait_not_ready,
)

pytestmark = needs_own_cluster
Holds = Callable[..., Played]

# Only the first Pod's first step waits.
MOVES = make_spec(step("a", gate("a", first_attempt_only=True)), step("b"), podTemplate=leaving_after(0))
KUBELET_SECONDS = 90.0
# How long an agent may take to leave its report when its command has ended.
LAST_WORDS_SECONDS = 2.0


def test_the_kubelet_is_away_for_a_minute_and_a_half(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        with kubelet_stopped(node_of(world.pod(name))):
            began = time.monotonic()
            go_on(world, name)
            world.said(name, "c", END)
            time.sleep(max(0.0, began + KUBELET_SECONDS - time.monotonic()))
        world.heal()

    holds("kubelet", Scenario(THREE_STEPS, act, one("Successful", 1)))


def test_the_kubelet_and_the_operator_are_away(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        node = node_of(world.pod(name))
        world.stay_away()
        with kubelet_stopped(node):
            go_on(world, name)
            world.said(name, "c", END)
        world.come_back()

    holds("kubelet-operator", Scenario(THREE_STEPS, act, one("Successful", 1)))


def test_containerd_is_started_anew(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        with containerd_stopped(node_of(world.pod(name))):
            pass
        go_on(world, name)
        world.heal()

    holds("containerd", Scenario(THREE_STEPS, act, one("Successful", 1)))


def test_steps_end_while_containerd_is_away(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        with containerd_stopped(node_of(world.pod(name))):
            go_on(world, name)
            world.said(name, "c", END)
        world.heal()

    holds("containerd-away", Scenario(THREE_STEPS, act, one("Successful", 1)))


def test_the_runtime_loses_the_exit_codes_of_steps_that_have_ended(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        pod = world.pod(name)
        sandbox = sandbox_of(pod)
        with containerd_stopped(node_of(pod)):
            go_on(world, name)
            world.said(name, "c", END)
            time.sleep(LAST_WORDS_SECONDS)
            kill_shim(pod, sandbox)
        world.heal()

    holds("codes-lost", Scenario(THREE_STEPS, act, one("Successful", 1)))


@pytest.mark.parametrize("at_once", [True, False], ids=["power-cut", "shut-down"])
def test_a_node_is_stopped_and_comes_back(holds: Holds, at_once: bool) -> None:
    def act(world: World, name: str) -> None:
        with node_stopped(node_of(world.pod(name)), at_once=at_once):
            time.sleep(5)
        world.heal()

    holds("stopped", Scenario(MOVES, act, one("Successful", 2)))


def test_a_node_is_cut_off(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        node = node_of(world.pod(name))
        with node_paused(node):
            wait_not_ready(node)
        # It may be back before its Pods are told to leave.
        go_on(world, name)
        world.heal()

    holds("cut-off", Scenario(MOVES, act, one("Successful", 2) | one("Successful", 1)))


def test_a_node_is_drained(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        with node_drained(node_of(world.pod(name))):
            world.finished(name)
        world.heal()

    holds("drained", Scenario(MOVES, act, one("Successful", 2)))


def test_a_node_is_removed(holds: Holds) -> None:
    def act(world: World, name: str) -> None:
        with node_removed(node_of(world.pod(name))):
            world.finished(name)
        world.heal()

    holds("removed", Scenario(MOVES, act, one("Successful", 2)))
