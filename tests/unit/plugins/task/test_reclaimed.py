"""What makes a Pod a Task's is put back where somebody takes it off."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from support.tasks.simulation import World
from support.tasks.tracked import LABELS, Tracking, reasons, running, world_of


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"labels": {"type": "taskpod"}},
        {"labels": {"taskname": "demo", "own": "x"}},
        {"labels": {**LABELS, "taskname": "another"}},
        {"ownerReferences": []},
    ],
)
@pytest.mark.parametrize("kind", [World, Tracking])
def test_what_makes_a_pod_the_tasks_is_put_back_and_no_second_one_is_made(change, kind):
    world = world_of(kind)
    pod = running(world)
    before = copy.deepcopy(pod.api["metadata"])
    pod.api["metadata"].update(change)
    world.round()
    assert LABELS.items() <= pod.api["metadata"]["labels"].items()
    assert pod.api["metadata"]["ownerReferences"] == before["ownerReferences"]
    assert reasons(world).count("PodReclaimed") == 1
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")
    assert reasons(world).count("PodReclaimed") == 1


def test_the_labels_of_a_pod_of_an_earlier_spec_come_back_before_another_follows():
    world = world_of()
    old = running(world)
    old.api["metadata"]["labels"] = {}
    world.change(params=[{"name": "x", "value": "y"}])
    world.round()
    assert old.api["metadata"].get("deletionTimestamp")
    assert world.made == [old]
    world.settle()
    assert (len(world.made), world.status["status"]) == (2, "Successful")


@pytest.mark.parametrize("mark", ["generation", "spec-hash", "attempt", "retry"])
def test_a_pod_that_is_recorded_is_the_tasks_whatever_its_annotations_say(mark):
    world = world_of()
    pod = running(world)
    pod.api["metadata"]["annotations"]["api.practice.com/" + mark] = "7"
    world.settle()
    assert (world.made, world.status["status"], world.status["attempts"]) == ([pod], "Successful", 1)


def test_nobody_else_cancels_a_run_by_the_operators_mark():
    """Each Pod of the Task's generation would be taken for one of a cancelled run, and be made again for ever."""
    world = world_of()
    pod = running(world)
    pod.api["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")
    assert "cancelledGeneration" not in world.status


def test_a_pod_that_changes_while_it_is_put_back_is_read_once_more():
    world = world_of()
    pod = running(world)
    del pod.api["metadata"]["labels"]
    put_back, calls = world.reclaim_pod, []

    def conflict(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise TaskError("OrderConflict", "it has another version")
        return put_back(*arguments)

    world.reclaim_pod = conflict
    world.round()
    assert pod.api["metadata"]["labels"] == LABELS
    assert (len(calls), world.status["status"]) == (2, "Running")


def test_nobody_is_asked_for_a_pod_that_the_list_shows():
    world = world_of()
    world.settle()
    assert (world.status["status"], world.reads) == ("Successful", [])


def test_the_pod_of_a_task_that_has_its_verdict_is_put_back_as_well():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    pod.api["metadata"]["labels"] = {}
    world.round()
    assert world.reads == [pod.name]
    assert pod.api["metadata"]["labels"] == LABELS


def test_it_is_not_if_the_task_is_being_deleted():
    """Somebody may want to keep the Pod: kubectl delete --cascade=orphan."""
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    world.task["metadata"]["deletionTimestamp"] = world.now
    pod.api["metadata"]["ownerReferences"] = []
    world.round()
    assert pod.api["metadata"]["ownerReferences"] == []


def test_it_may_be_gone():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    pod.reap()
    world.round()
    assert (world.reads, world.status["status"], len(world.made)) == ([pod.name], "Successful", 1)
