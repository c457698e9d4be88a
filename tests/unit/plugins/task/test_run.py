"""What belongs to a Task's present run."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import spec_hash
from ansible_collections.taskflow.operator.plugins.module_utils._task import run as _run
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import observe
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import changed, make_pod, make_task

FINISHED = "2024-01-06T22:20:00Z"


def recorded(task, word="Running", reason="Running", **fields):
    """Give the Task the status of its present run."""
    task["status"] = {
        "status": word,
        "observedGeneration": task["metadata"]["generation"],
        "specHash": spec_hash(task),
        "conditions": [{"type": "Succeeded", "status": "Unknown", "reason": reason}],
        **fields,
    }
    return task


def expiry(task):
    return observe(task, [], FINISHED).expiry


def is_finished(task):
    return observe(task, [], FINISHED).is_finished


CONTROL = [{"cancel": True}, {"suspend": True}, {"ttlSecondsAfterFinished": 5}]
OTHER = [{"timeout": "1s"}, {"retries": 1}, {"params": []}, {"handoff": "Annotation"}, {"steps": []}]


@pytest.mark.parametrize("change", CONTROL)
def test_a_control_field_belongs_to_the_run_that_is_there(change):
    task = recorded(make_task("a"))
    pod = make_pod(of=task)
    assert _run.recorded_status(changed(task, **change)) == task["status"]
    assert _run.is_of_run(changed(task, **change), pod)


@pytest.mark.parametrize("change", OTHER)
def test_any_other_change_is_another_run(change):
    task = recorded(make_task("a"))
    pod = make_pod(of=task)
    assert _run.recorded_status(changed(task, **change)) == {}
    assert not _run.is_of_run(changed(task, **change), pod)


def test_what_a_newer_schema_shows_as_well_is_no_change():
    task = recorded(make_task("a"))
    pod = make_pod(of=task)
    task["spec"]["newDefault"] = True
    assert _run.recorded_status(task) == task["status"]
    assert _run.is_of_run(task, pod)


def test_a_pod_of_an_earlier_version_has_no_hash_and_counts_by_its_generation():
    task = make_task("a", generation=3)
    assert _run.is_of_run(task, make_pod(generation=3))
    assert not _run.is_of_run(task, make_pod(generation=2))


@pytest.mark.parametrize(
    ("fields", "is_over"),
    [({"cancelledGeneration": 1}, True), ({}, False)],
)
def test_only_a_run_that_cancel_ended_is_over_when_cancel_is_false_again(fields, is_over):
    task = recorded(make_task("a", cancel=True), "Cancelled", "Cancelled", **fields)
    assert is_finished(task)
    assert is_finished(changed(task, cancel=False)) == (not is_over)


def test_a_cancelled_runs_pod_is_of_the_run_only_while_it_is_cancelled():
    task = make_task("a", cancel=True)
    pod = make_pod(of=task)
    pod["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    assert _run.is_of_run(task, pod)
    again = changed(task, cancel=False)
    assert not _run.is_of_run(_run.with_cancellations(again, [pod]), pod)
    # One that is made for the new run is of it, whatever is still there of the one before.
    assert _run.is_of_run(_run.with_cancellations(again, [pod]), make_pod(of=again))


def test_a_run_that_is_cancelled_once_more_before_anybody_looked_is_still_over():
    task = recorded(make_task("a", cancel=True), "Cancelled", "Cancelled", cancelledGeneration=1)
    assert is_finished(changed(changed(task, cancel=False), cancel=True))


def test_every_pod_of_a_cancelled_run_is_over_with_it():
    task = recorded(make_task("a", cancel=True))
    pods = [make_pod(of=task), make_pod(of=task, attempt=2)]
    pods[1]["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    again = _run.with_cancellations(changed(task, cancel=False), pods)
    assert not any(_run.is_of_run(again, pod) for pod in pods)
    assert _run.recorded_status(again) == {}


def test_where_nothing_was_cancelled_nothing_is_added():
    task = recorded(make_task("a"))
    assert _run.with_cancellations(task, [make_pod(of=task)]) == task


@pytest.mark.parametrize("word", ["Successful", "Failure", "Cancelled"])
def test_a_task_that_has_ended_expires_when_its_time_to_live_has_passed(word):
    task = recorded(make_task("a", cancel=True), word, word, completionTime=FINISHED)
    assert expiry(task) is None
    moment = expiry(changed(task, ttlSecondsAfterFinished=90))
    assert moment == datetime.datetime(2024, 1, 6, 22, 21, 30, tzinfo=datetime.UTC)
    assert expiry(changed(task, ttlSecondsAfterFinished=0)).minute == 20


def test_the_time_to_live_counts_from_the_verdict_if_the_nodes_clock_is_behind():
    said = {"type": "Succeeded", "status": "True", "reason": "Succeeded", "lastTransitionTime": FINISHED}
    task = make_task("a", ttlSecondsAfterFinished=90)
    recorded(task, "Successful", completionTime="2024-01-06T19:20:00Z", conditions=[said])
    assert expiry(task) == datetime.datetime(2024, 1, 6, 22, 21, 30, tzinfo=datetime.UTC)
    # The verdict of an earlier run was the same, and came before it.
    said["lastTransitionTime"] = "2024-01-06T19:20:00Z"
    recorded(task, "Successful", completionTime=FINISHED, conditions=[said])
    assert expiry(task) == datetime.datetime(2024, 1, 6, 22, 21, 30, tzinfo=datetime.UTC)


def test_a_task_that_has_not_ended_does_not_expire():
    assert expiry(recorded(make_task("a", ttlSecondsAfterFinished=0))) is None
    ended = recorded(make_task("a", ttlSecondsAfterFinished=0), "Failure", "StepFailed", completionTime=FINISHED)
    assert expiry(changed(ended, timeout="1s")) is None


def test_a_time_to_live_that_ends_in_no_year_there_is_never_ends():
    task = make_task("a", ttlSecondsAfterFinished=10**12)
    assert expiry(recorded(task, "Failure", "StepFailed", completionTime=FINISHED)) is None


@given(st.permutations(["a", "b", "c"]))
def test_the_hash_does_not_depend_on_the_order_of_keys(keys):
    first, second = make_task("s", volumes=[{"a": 1, "b": 2, "c": 3}]), make_task("s")
    second["spec"] = {"volumes": [{k: {"a": 1, "b": 2, "c": 3}[k] for k in keys}], **second["spec"]}
    assert spec_hash(first) == spec_hash(second)


def test_the_order_of_steps_is_part_of_the_hash():
    assert spec_hash(make_task("a", "b")) != spec_hash(make_task("b", "a"))
