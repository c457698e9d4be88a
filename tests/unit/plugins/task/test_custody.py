"""A Task's Pods stay until their ends are recorded, and no longer."""

from __future__ import annotations

import copy
import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from support.tasks.factory import make_step, make_task, verdict
from support.tasks.simulation import FAILS, OK, World
from support.tasks.tracked import RETRY, Tracking, reasons, running, succeed, world_of


def test_a_pod_that_succeeded_and_was_deleted_while_nobody_looked_is_a_success():
    world = world_of()
    pod = running(world)
    succeed(world, pod)
    world.delete_pod(pod.api)
    assert pod.name in world.pods
    world.settle()
    assert (world.made, world.status["status"], world.status["attempts"]) == ([pod], "Successful", 1)
    assert world.pods == {}


def test_a_pod_that_has_ended_is_let_go_with_the_verdict_and_stays_for_its_logs():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    assert not pod.is_tracked


def test_that_is_one_request_and_nothing_else_is_asked():
    world = world_of()
    let_go, calls = world.release_pod, []

    def count(pod):
        calls.append(pod["metadata"]["uid"])
        let_go(pod)

    world.release_pod, world.reclaim_pod = count, None
    world.settle()
    assert (calls, world.reads) == ([world.status["podUID"]], [])


def test_a_pod_whose_end_can_not_be_recorded_stays():
    """Without it, nobody would know of its success."""
    world = world_of()
    pod = running(world)
    succeed(world, pod)

    def refuse(_task, _status):
        raise TaskError("TooLarge", "there is no room")

    world.set_status = refuse
    world.round()
    assert pod.is_tracked


def test_a_failed_attempt_is_let_go_when_the_next_one_is_there():
    world = world_of(outcomes=[FAILS], retries=1)
    world.settle()
    assert [pod.is_tracked for pod in world.pods.values()] == [False, False]
    assert world.status["status"] == "Failure"


def test_a_pod_that_is_deleted_while_it_runs_is_lost_and_the_next_one_waits_for_its_end():
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)
    world.round()
    assert (world.made, verdict(world.status)) == ([pod], ("Pending", "WaitingForPod"))
    pod.agents[0].kill()
    pod.post()
    pod.post()
    world.settle()
    _first, second = world.made
    assert list(world.pods) == [second.name]
    assert (world.status["status"], world.status["attempts"]) == ("Successful", 2)
    assert "PodRemoved" not in reasons(world)


def test_a_pod_is_no_obstacle_for_the_end_of_its_namespace():
    """Its Task goes after it, and can have no other Pod."""
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)

    def refuse(_pod, dry_run=False):
        raise TaskError("NamespaceTerminating", "unable to create new content")

    world.create_pod = refuse
    world.round()
    assert pod.is_tracked
    while pod.is_alive:
        next(iter(pod.actions()))()
        pod.post()
    world.round()
    assert world.pods == {} and world.status["status"] == "Pending"


def test_a_pod_that_never_got_a_node_goes_at_once():
    world = world_of()
    world.round()
    (pod,) = world.made
    assert pod.is_tracked
    world.delete_pod(pod.api)
    world.round()
    assert pod.name not in world.pods


def test_a_pod_whose_node_is_gone_has_ended_whatever_its_containers_say():
    world = world_of()
    pod = running(world)
    pod.api["spec"]["nodeName"] = "node-1"
    told = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "no node"}
    pod.api["status"].update(phase="Failed", conditions=[told])
    pod.is_lost = True
    world.delete_pod(pod.api)
    world.settle()
    assert (len(world.made), world.status["status"]) == (2, "Successful")
    assert pod.name not in world.pods


def test_a_pod_that_is_deleted_by_force_has_a_minute_to_end():
    """Nobody may tell of it any more: its node may be lost."""
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)
    assert world.round()["requeue_after"] <= 30
    assert (world.made, verdict(world.status)) == ([pod], ("Pending", "WaitingForPod"))
    world.clock += datetime.timedelta(seconds=45)
    assert world.round()["requeue_after"] <= 15
    pod.is_lost = True
    world.clock += datetime.timedelta(seconds=15)
    world.round()
    assert len(world.made) == 2
    assert pod.name not in world.pods


def test_one_of_a_task_that_has_its_verdict_goes_after_that_minute_too():
    world = world_of(timeout="1s")
    pod = running(world)
    world.clock += datetime.timedelta(seconds=100)
    world.round()
    world.round()
    assert verdict(world.status) == ("Failure", "TimedOut")
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)
    assert 50 < world.round()["requeue_after"] <= 60
    assert pod.is_tracked
    pod.is_lost = True
    world.clock += datetime.timedelta(seconds=60)
    world.round()
    assert pod.name not in world.pods


def lost_by_force(world, pod):
    """Lose the Pod's node, and have somebody delete the Pod by force."""
    pod.is_lost = True
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)


def test_a_failed_attempt_on_a_lost_node_is_retried_a_minute_after_it_was_deleted_by_force():
    """Its other step is said to run for ever."""
    task = make_task(make_step("a"), make_step("b"), retries=1)
    world = Tracking(task, lambda _spec, pod: [OK if pod["metadata"]["annotations"][RETRY] == "1" else FAILS, OK])
    world.round()
    (pod,) = world.made
    for agent in pod.agents:
        pod.start(agent)
    pod.agents[0].runs_command = True
    pod.agents[0].end("Failed", 3, world.now)
    pod.post()
    world.round()
    world.round()
    assert verdict(world.status) == ("Running", "Retrying")
    lost_by_force(world, pod)
    assert 50 < world.round()["requeue_after"] <= 60
    assert world.made == [pod]
    world.clock += datetime.timedelta(seconds=60)
    world.settle()
    assert (len(world.made), world.status["status"], world.status["retries"]) == (2, "Successful", 1)
    assert pod.name not in world.pods


def test_one_that_is_deleted_by_force_as_its_node_evicts_it_has_that_minute_too():
    world = world_of()
    pod = running(world)
    running_state = copy.deepcopy(pod.api["status"]["containerStatuses"])
    lost_by_force(world, pod)
    pod.api["status"] = {"phase": "Failed", "reason": "Shutdown", "containerStatuses": running_state}
    for _ in range(3):
        world.round()
    assert (world.made, pod.is_tracked) == ([pod], True)
    world.clock += datetime.timedelta(seconds=60)
    world.round()
    assert len(world.made) == 2
    assert pod.name not in world.pods


@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_forced_removal_is_told(kind):
    world = world_of(kind)
    pod = running(world)
    pod.reap()
    told = []
    world.emit = lambda _task, event, once="": told.append((event.reason, event.message))
    world.settle()
    messages = dict(told)
    assert pod.name in messages["PodRemoved"] and "before its end was known" in messages["PodRemoved"]
    assert f"its Pod {pod.name} was removed before its end was known" in messages["Created"]
    assert [reason for reason, _ in told].count("PodRemoved") == 1
    assert (world.status["status"], world.status["attempts"]) == ("Successful", 2)


def test_the_pods_of_a_task_that_is_being_deleted_are_let_go():
    world = world_of()
    pod = running(world)
    world.task["metadata"]["deletionTimestamp"] = world.now
    pod.agents[0].kill()
    world.round()
    assert not pod.is_tracked


@pytest.mark.parametrize(("own", "tracked"), [("default", False), ("operators", True), ("", True)])
def test_pods_in_the_operators_own_namespace_are_not_kept(own, tracked):
    world = world_of()
    world.own_namespace = own
    world.round()
    assert world.made[0].is_tracked is tracked
