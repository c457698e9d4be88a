"""The container runtime loses what it has of one Pod. Other Pods notice nothing, so these cases run side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.facts import needs_own_cluster
from support.faults.cri import container_of, kill_shim, no_inotify, node_of, sandbox_of, volume_full
from support.faults.scenarios import Played, Scenario, go_on, make_spec, make_task, one
from support.faults.witness import BEGIN, gate, step
from support.faults.world import World
from support.kubectl import Object, shell
from support.nodes import crictl

pytestmark = needs_own_cluster
Holds = Callable[..., Played]

# The second step waits: the first has ended by then, and the third is still to come.
SECOND_WAITS = make_spec(step("a"), step("b", gate("a")), step("c"))
FAILS = one("Failure", 1)
# What was killed may count as failed or as lost; either way the witness has to agree.
FAILS_OR_RUNS_AGAIN = FAILS | one("Successful", 2)
USER = 54321


def scenario(harm: Callable[[World, str], None], ends: frozenset[tuple[str, int]]) -> Scenario:
    """Return the scenario in which this happens while the second step waits; then its gate opens."""

    def act(world: World, name: str) -> None:
        harm(world, name)
        go_on(world, name)
        world.heal()

    return Scenario(SECOND_WAITS, act, ends, begins="b")


def made_again(world: World, task: str, container: str, before: str) -> None:
    """Wait until the kubelet has made a step's container again. By itself it may take more than a minute to miss it."""

    def again() -> bool:
        world.nudge(world.pod(task))
        statuses = world.pod(task)["status"]["containerStatuses"]
        return any(s["name"] == container and before not in s.get("containerID", before) for s in statuses)

    world.until(f"another container of step {container}", again)


@pytest.mark.sample
def test_an_ended_container_is_removed(holds: Holds) -> None:
    def harm(world: World, name: str) -> None:
        pod = world.pod(name)
        lost = container_of(pod, "a", "--all")
        crictl(node_of(pod), "rm", lost)
        made_again(world, name, "a", lost)

    holds("ended-removed", scenario(harm, one("Successful", 1)))


@pytest.mark.sample
def test_a_running_container_is_removed(holds: Holds) -> None:
    def harm(world: World, name: str) -> None:
        pod = world.pod(name)
        crictl(node_of(pod), "rm", "--force", container_of(pod, "b"))

    holds("running-removed", scenario(harm, FAILS))


def test_a_waiting_container_is_removed(holds: Holds) -> None:
    """Its step had not begun, so it takes its turn in the container that is made instead, or it is a failure."""

    def harm(world: World, name: str) -> None:
        pod = world.pod(name)
        crictl(node_of(pod), "rm", "--force", container_of(pod, "c"))

    holds("waiting-removed", scenario(harm, FAILS | one("Successful", 1)))


def test_the_sandbox_is_stopped(holds: Holds) -> None:
    def harm(world: World, name: str) -> None:
        pod = world.pod(name)
        crictl(node_of(pod), "stopp", sandbox_of(pod))

    holds("sandbox-stopped", scenario(harm, FAILS_OR_RUNS_AGAIN))


@pytest.mark.sample
def test_the_sandbox_is_removed(holds: Holds) -> None:
    def harm(world: World, name: str) -> None:
        pod = world.pod(name)
        crictl(node_of(pod), "rmp", "--force", sandbox_of(pod))

    holds("sandbox-removed", scenario(harm, FAILS_OR_RUNS_AGAIN))


def test_all_ended_containers_and_the_sandbox_are_removed_after_the_success(holds: Holds) -> None:
    """The verdict is there by then, and stays."""

    def act(world: World, name: str) -> None:
        go_on(world, name)
        world.finished(name)
        pod = world.pod(name)
        crictl(node_of(pod), "rmp", "--force", sandbox_of(pod))
        world.heal()
        world.quiet(8)

    holds("removed-at-last", Scenario(SECOND_WAITS, act, one("Successful", 1), begins="b"))


def test_the_shim_is_killed(holds: Holds) -> None:
    def harm(world: World, name: str) -> None:
        kill_shim(world.pod(name))

    holds("shim-killed", scenario(harm, FAILS_OR_RUNS_AGAIN))


def test_a_run_directory_is_full(holds: Holds) -> None:
    """The agent can't say that its step began, so the step does not begin, or ends as a failure."""
    # The kubelet makes the steps' containers once this has started.
    probe = {"exec": {"command": ["test", "-e", "/tmp/go"]}, "periodSeconds": 1, "failureThreshold": 600}
    beside = {**shell("beside", "sleep 600"), "image": "busybox:1.28", "startupProbe": probe}
    spec = make_spec(step("a"), step("b"), sidecars=[beside])

    def beside_runs(world: World, name: str) -> list[Object]:
        """Return the Task's Pod, once its sidecar runs."""
        statuses = [(pod, pod["status"].get("initContainerStatuses") or []) for pod in world.pods(name)]
        return [pod for pod, found in statuses if any(s["name"] == "beside" and "running" in s["state"] for s in found)]

    def act(world: World, name: str) -> None:
        world.apply(make_task(name, spec))
        (pod,) = world.until("the sidecar to run", lambda: beside_runs(world, name))
        with volume_full(pod, "taskflow-run-1"):
            crictl(node_of(pod), "exec", container_of(pod, "beside"), "touch", "/tmp/go")
            world.finished(name)
        world.heal()

    holds("run-full", Scenario(spec, act, FAILS, begins=""))


def test_a_step_that_fills_its_own_emptydir(holds: Holds) -> None:
    """The kubelet evicts its Pod for that: it is the step's own fault, and would happen in each other Pod, too."""
    full = {"name": "full", "emptyDir": {"sizeLimit": "1Mi"}}
    filling = step("a", f"{gate('a')}; dd if=/dev/zero of=/full/file bs=1M count=8; sleep 600")
    filling["volumeMounts"] = [*filling["volumeMounts"], {"name": "full", "mountPath": "/full"}]
    holds("emptydir-full", Scenario(make_spec(filling, step("b"), volumes=[full]), go_on, FAILS))


def test_there_is_no_inotify(holds: Holds) -> None:
    context = {"securityContext": {"runAsUser": USER}}
    spec = make_spec(step("a", gate("a"), **context), step("b", **context), step("c", **context))

    def act(world: World, name: str) -> None:
        with no_inotify(USER) as taken:
            assert taken > 0
            world.apply(make_task(name, spec))
            world.said(name, "a", BEGIN)
            go_on(world, name)
            world.finished(name)
        world.heal()

    holds("no-inotify", Scenario(spec, act, one("Successful", 1), begins=""))
