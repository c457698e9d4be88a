"""A container that the kubelet made again: what is recorded of its step stays, and is told."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.events import compute_events
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import observe
from support.tasks.factory import NOW, RUNNING, ended, make_pod, make_step, make_task, set_states, waiting
from support.tasks.looks import compute_status


def three_steps():
    return make_task(make_step("a"), make_step("b"), make_step("c"))


def recorded(task, pod):
    """Return the Task with the status that it has with this Pod."""
    return {**task, "status": compute_status(task, [pod], None, NOW)}


def with_pod(a, b, c, order=2, restarts=0):
    pod = set_states(make_pod(order), a=a, b=b, c=c)
    status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == "a")
    status["restartCount"] = restarts
    return pod


@pytest.mark.parametrize("now", [waiting(), RUNNING])
@pytest.mark.parametrize("end", [ended(), ended(3, state="Failed")])
def test_a_step_that_has_ended_stays_so(now, end):
    task = recorded(three_steps(), with_pod(end, RUNNING, RUNNING))
    before = task["status"]["steps"][0]
    again = compute_status(task, [with_pod(now, RUNNING, RUNNING, restarts=1)], None, NOW)
    assert again["steps"][0] == {**before, "restarts": 1}
    assert again["steps"][1]["state"] == task["status"]["steps"][1]["state"]


def test_the_order_does_not_fall_behind():
    task = recorded(three_steps(), with_pod(ended(), ended(), RUNNING, order=3))
    again = compute_status(task, [with_pod(RUNNING, ended(), RUNNING, order=3, restarts=1)], None, NOW)
    assert [step["state"] for step in again["steps"]] == ["Succeeded", "Succeeded", "Running"]
    assert again["progress"] == "3/3"


def test_another_pods_steps_are_not_these():
    task = recorded(three_steps(), with_pod(ended(), RUNNING, RUNNING))
    pod = copy.deepcopy(with_pod(RUNNING, RUNNING, RUNNING, order=1))
    pod["metadata"].update(name="another", uid="another")
    pod["metadata"]["annotations"]["api.practice.com/attempt"] = "2"
    assert compute_status(task, [pod], None, NOW)["steps"][0]["state"] == "Running"


def test_it_is_told_once():
    task = recorded(three_steps(), with_pod(ended(), RUNNING, RUNNING))
    once = compute_status(task, [with_pod(RUNNING, RUNNING, RUNNING, restarts=1)], None, NOW)
    (told,) = compute_events(task["status"], once)
    assert (told.type, told.reason) == ("Warning", "ContainerRestarted")
    assert 'step "a" (1 of 3)' in told.message
    assert compute_events(once, copy.deepcopy(once)) == []


def test_one_that_is_killed_before_it_repeats_its_report_stays_as_it_ended():
    task = recorded(three_steps(), with_pod(ended(), RUNNING, RUNNING))
    again = compute_status(task, [with_pod(ended(137, reported=False), RUNNING, RUNNING, restarts=1)], None, NOW)
    assert again["steps"][0]["state"] == "Succeeded"
    assert again["steps"][0]["restarts"] == 1


def test_a_step_that_never_began_does_not_count_as_ended():
    """When a Task is over, those that waited count as Cancelled; their containers have not been started for it."""
    task = three_steps()
    pod = with_pod(waiting(), waiting(), waiting(), order=-1)
    stopped = [{"name": name, "state": "Cancelled"} for name in ("a", "b", "c")]
    task["status"] = {**compute_status(task, [pod], None, NOW), "steps": stopped}
    seen = observe(task, [pod], NOW).current
    assert not seen.has_started("a") and seen.runs_nothing
