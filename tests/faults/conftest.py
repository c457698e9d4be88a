"""The fault suite: a real cluster whose operator is away, and operators of the tests' own with faults around them."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.facts import has_facts
from support.faults.scenarios import Played, Scenario, play
from support.faults.schedule import Schedule
from support.faults.world import World
from support.installation import OPERATOR, operator_pods, wait_ready
from support.nodes import workers

SEED, REPLAY = "TASKFLOW_FAULTS_SEED", "TASKFLOW_FAULTS_SCHEDULE"


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before the processes of xdist are started, which inherit it."""
    config.addinivalue_line("markers", "sample: one of the cases that tell most; make test runs these")
    os.environ.setdefault(SEED, str(random.randrange(2**32)))


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat the random schedules."""
    return f"random schedules: {SEED}={os.environ[SEED]}"


@pytest.fixture(scope="session")
def without_operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cluster while no operator runs in it. The last process of xdist puts it back."""
    if not has_facts():
        pytest.skip("the cluster is none of the role taskflow_cluster")
    with (Path(os.environ["KUBECONFIG"]).parent / "without-operator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=0")
        OPERATOR.wait("the operator to stop", lambda: not operator_pods())
        yield
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # another process still needs it to be away
        OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=1")
        wait_ready()


class Worlds:
    """One world after another: a case that found something leaves none that the next could trust."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._world: World | None = None

    def get(self) -> World:
        """Return the present world; a new one if there is none."""
        if self._world is None:
            world = self._world = World(self._factory.mktemp("world"), workers())
            world.until("the operator to be ready", lambda: world.operators.present.probe("/readyz") == 200)
        return self._world

    def end(self) -> list[str]:
        """End the present world, if there is one, and return what was left of it."""
        world, self._world = self._world, None
        return world.end() if world else []


@pytest.fixture(scope="session")
def worlds(without_operator: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    worlds = Worlds(tmp_path_factory)
    yield worlds
    left = worlds.end()
    assert not left, left


@pytest.fixture(scope="session")
def holds(worlds: Worlds) -> Callable[..., Played]:
    """Play a schedule, or a scenario of the test's own, and check that every promise is kept."""

    def check(schedule: Schedule | str, scenario: Scenario | None = None) -> Played:
        schedule = Schedule(schedule) if isinstance(schedule, str) else schedule
        played = play(worlds.get(), schedule, scenario)
        if played.problems:
            left = worlds.end()
            again = "" if scenario else f"to repeat it: {REPLAY}='{schedule}' make faults ONLY=random"
            raise AssertionError("\n".join([*played.problems, *left, again, played.told]))
        return played

    return check
