"""A status that is too large for the API server is cut, and says so."""

from __future__ import annotations

import json
import math

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._task import record as _record
from ansible_collections.taskflow.operator.plugins.module_utils._task.batch import Found
from ansible_collections.taskflow.operator.plugins.module_utils._task.fit import LEVELS, cut, fitting, level_of
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import orders_to_come
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import NOW, RUNNING, condition, ended, make_pod, make_task, set_states, verdict
from support.tasks.looks import compute_status, found, make_reconciler, observe

STARTED = "2024-01-06T22:19:30.125Z"
NOTE = "; the API server did not take the whole status: "


class Small:
    """An API server that takes statuses up to a size, and keeps what it took."""

    def __init__(self, room, refusal="TooLarge"):
        self.room, self.refusal, self.refused, self.taken, self.events, self.pods = room, refusal, 0, [], [], []

    def set_status(self, task, status):
        if len(json.dumps(status)) > self.room:
            self.refused += 1
            raise TaskError(self.refusal, "etcdserver: request is too large", permanent=True)
        self.taken.append(status)
        return {**task, "status": status}

    def emit(self, _task, event):
        self.events.append(event.reason)

    def create_pod(self, pod, _dry_run=False, **_options):
        self.pods.append(pod)
        return pod


def large_task():
    """Return a Task whose second step has failed after the first wrote a result, both with many words."""
    task = make_task("a", "b")
    states = {"a": ended(0, message="m" * 900, **{"result.r": "r" * 900}), "b": ended(1, message="w" * 900)}
    return task, set_states(make_pod(-1, "Failed", of=task), **states)


def full_status():
    task, pod = large_task()
    return compute_status(task, [pod], None, NOW)


def test_the_steps_messages_go_first_then_results_then_details_then_the_steps():
    statuses = fitting({}, full_status())
    assert len(statuses) == len(LEVELS) and statuses[0] == full_status()
    sizes = [len(json.dumps(status)) for status in statuses]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    messages, results, details, bare = statuses[1:]
    assert messages["results"] == {"r": "r" * 900}
    assert [len(step["message"]) for step in messages["steps"]] == [100, 100]
    assert "results" not in results and not any("results" in step for step in results["steps"])
    assert details["steps"] == [
        {"name": "a", "state": "Succeeded", "exitCode": 0, "startedAt": STARTED},
        {"name": "b", "state": "Failed", "exitCode": 1, "startedAt": STARTED},
    ]
    assert "steps" not in bare
    for status, words in zip(statuses[1:], LEVELS[1:], strict=True):
        assert (status["status"], status["order"], condition(status)["reason"]) == ("Failure", "-1", "StepFailed")
        assert condition(status)["message"].endswith(NOTE + words)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_step_that_ended_before_its_turn_ends_no_healthy_one_because_the_status_was_cut(level):
    task = make_task("a", "b")
    early = {"state": "Failed", "exitCode": 143, "reason": "EndedBeforeItsTurn", "told": 15}
    states = {"a": RUNNING, "b": {"terminated": {"exitCode": 143, "message": json.dumps(early)}}}
    pod = set_states(make_pod(1, of=task), **states)
    task["status"] = cut(compute_status(task, [pod], None, NOW), level)
    assert verdict(compute_status(task, [pod], None, NOW)) == ("Running", "Running")
    assert not orders_to_come(observe(task, [pod], NOW).current)


@given(st.integers(0, len(LEVELS) - 1), st.integers(0, len(LEVELS) - 1))
def test_what_was_cut_stays_so(level, more):
    once = cut(full_status(), level)
    assert level_of(once) == level
    assert cut(once, level) == once
    assert level_of(cut(once, max(level, more))) == max(level, more)


def test_the_first_status_that_fits_is_written_and_the_next_look_writes_nothing():
    task, pod = large_task()
    api = Small(len(json.dumps(cut(full_status(), 2))))
    result = make_reconciler(api).record_status(found(task, pod))
    assert (api.refused, level_of(api.taken[0]), result["status"]) == (2, 2, api.taken[0])
    task["status"] = api.taken[0]
    again = make_reconciler(api).record_status(found(task, pod))
    assert (again["changed"], again["status"]) == (False, api.taken[0])
    assert (api.refused, len(api.taken)) == (2, 1)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_a_status_that_was_cut_is_read_as_one(level):
    task, pod = large_task()
    task["status"] = cut(full_status(), level)
    for pods in ([pod], []):
        assert compute_status(task, pods, None, NOW)["status"] == "Failure"
    # Of another spec, nothing is known of its size.
    assert fitting({**task["status"], "specHash": "another"}, full_status())[0] == full_status()


def test_a_task_that_runs_begins_where_its_status_was_cut_before():
    task, pod = large_task()
    task["status"] = cut(compute_status(task, [set_states(make_pod(1, of=task), a=RUNNING, b=RUNNING)], None, NOW), 3)
    api = Small(math.inf)
    make_reconciler(api).record_status(found(task, pod))
    assert [level_of(status) for status in api.taken] == [3]


def test_where_no_status_fits_an_event_tells_of_it_and_nothing_is_tried_again():
    task, pod = large_task()
    api = Small(10)
    result = make_reconciler(api).record_status(found(task, pod))
    assert (result["changed"], result["status"]["status"], "requeue_after" in result) == (False, "Failure", False)
    assert (api.taken, api.events) == ([], ["TooLarge"])


def test_a_status_with_something_that_the_schema_refuses_is_cut_as_well():
    task, pod = large_task()
    api = Small(len(json.dumps(cut(full_status(), 3))), refusal="Refused")
    make_reconciler(api).record_status(found(task, pod))
    assert level_of(api.taken[0]) == 3
    with pytest.raises(TaskError) as caught:
        make_reconciler(Small(10, refusal="Refused")).record_status(found(task, pod))
    assert caught.value.reason == "Refused"


@pytest.mark.parametrize("refusal", ["Conflict", "APIError"])
def test_other_refusals_are_no_reason_to_cut(refusal):
    task, pod = large_task()
    api = Small(10, refusal)
    with pytest.raises(TaskError):
        make_reconciler(api).record_status(found(task, pod))
    assert api.refused == 1


# A Task that leaves no room.


@pytest.fixture
def large(monkeypatch):
    """A Task that counts as a large one."""
    monkeypatch.setattr(_record, "LARGE", 10)
    return make_task("a")


def test_a_large_task_has_a_status_before_its_pod(large):
    api, seen = Small(math.inf), Found(large, [])
    made = make_reconciler(api).have_pod(seen)
    assert (made["action"], api.taken) == ("created", [seen.task["status"]])
    assert (seen.task["status"]["status"], len(api.pods)) == ("Pending", 1)
    # Only once in a run.
    make_reconciler(api).have_pod(Found(seen.task, []))
    assert len(api.taken) == 1


def test_a_task_that_leaves_no_room_for_a_status_gets_no_pod(large):
    api = Small(10)
    result = make_reconciler(api).reconcile(Found(large, []))
    assert (result["state"], result["reason"], result["changed"]) == ("Failure", "TooLarge", False)
    assert "which leaves no room for its status" in result["message"]
    assert (api.pods, api.events, "requeue_after" in result) == ([], ["TooLarge"], False)


def test_a_small_task_needs_no_more_requests_than_before():
    api = Small(math.inf)
    make_reconciler(api).have_pod(Found(make_task("a"), []))
    assert (api.taken, len(api.pods)) == ([], 1)


def test_a_pod_that_is_too_large_fails_its_task_for_good():
    class Full(Small):
        def create_pod(self, pod, _dry_run=False, **_options):
            raise TaskError("TooLarge", "could not create a Pod: it has 2000000 bytes", permanent=True)

    api = Full(math.inf)
    result = make_reconciler(api).reconcile(Found(make_task("a"), []))
    assert (result["state"], result["reason"]) == ("Failure", "TooLarge")
    assert condition(api.taken[0])["message"] == "could not create a Pod: it has 2000000 bytes"
