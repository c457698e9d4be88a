"""The status of a Task, and the events that tell of it."""

from __future__ import annotations

import copy
import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _status
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from factory import RUNNING, ended, make_pod, make_task, set_states, waiting
from hypothesis import given
from hypothesis import strategies as st

NOW = "2024-01-06T22:20:00Z"
LATER = "2024-01-06T22:30:00Z"


def condition(status):
    return next(c for c in status["conditions"] if c["type"] == "Succeeded")


def compute(task, pod, problem=None, now=NOW):
    return _status.compute_status(task, pod, problem, now)


def test_a_pod_that_starts_is_pending():
    status = compute(make_task("a", "b"), set_states(make_pod(0, "Pending"), a=waiting(), b=waiting()))
    assert (status["status"], status["progress"], status["order"]) == ("Pending", "0/2", "0")
    assert status["startAt"] == "2024-01-06 22:19:24"
    assert (condition(status)["status"], condition(status)["reason"]) == ("Unknown", "Pending")
    assert "duration" not in status


def test_running():
    status = compute(make_task("a", "b"), set_states(make_pod(1), a=ended(), b=RUNNING))
    assert (status["status"], status["progress"]) == ("Running", "2/2")


def test_success_has_its_duration_from_the_last_step():
    status = compute(make_task("a", "b"), set_states(make_pod(2, "Succeeded"), a=ended(), b=ended()))
    assert (status["status"], status["duration"], status["order"]) == ("Successful", "31s", "2")
    assert status["completionTime"] == "2024-01-06T22:19:55Z"
    assert condition(status)["status"] == "True"


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_any_failing_step_the_last_one_too_is_a_failure_that_names_it(failing):
    names = ["zeta", "alpha", "mid"]
    states = {n: ended() for n in names[:failing]}
    states[names[failing]] = ended(3, message="no such thing")
    states.update({n: ended(1, state="Skipped") for n in names[failing + 1 :]})
    status = compute(make_task(*names), set_states(make_pod(-1, "Failed"), **states))
    assert status["status"] == "Failure"
    assert status["progress"] == f"{failing + 1}/3"
    assert condition(status)["reason"] == "StepFailed"
    assert (
        f'step "{names[failing]}" ({failing + 1} of 3) failed: exit code 3: no such thing'
        in (condition(status)["message"])
    )


def test_the_verdict_waits_for_the_order_that_goes_with_it():
    task, states = make_task("a", "b"), {"a": ended(), "b": ended(1)}
    assert compute(task, set_states(make_pod(2), **states))["status"] == "Running"
    assert compute(task, set_states(make_pod(-1), **states))["status"] == "Failure"
    states["b"] = ended()
    assert compute(task, set_states(make_pod(1), **states))["status"] == "Running"
    assert compute(task, set_states(make_pod(2), **states))["status"] == "Successful"


@pytest.mark.parametrize("exit_code", [0, 143])
def test_steps_that_were_told_to_end_are_a_failure(exit_code):
    pod = set_states(make_pod(-1, "Failed"), a=ended(), b=ended(exit_code, state="Cancelled"))
    status = compute(make_task("a", "b"), pod)
    assert (status["status"], condition(status)["reason"]) == ("Failure", "Cancelled")


def test_a_killed_agent_is_judged_by_the_kubelets_word():
    pod = set_states(make_pod(-1), a=ended(137, reported=False, reason="OOMKilled"), b=RUNNING)
    status = compute(make_task("a", "b"), pod)
    assert status["status"] == "Failure"
    assert "exit code 137, OOMKilled" in condition(status)["message"]


def test_an_image_that_can_not_be_pulled_is_named_with_its_step():
    pod = set_states(make_pod(0, "Pending"), a=waiting("ImagePullBackOff", "Back-off pulling"), b=waiting())
    status = compute(make_task("a", "b"), pod)
    assert status["status"] == "Pending"
    assert condition(status)["reason"] == "ImagePullBackOff"
    assert condition(status)["message"] == 'step "a", image busybox:1.28: Back-off pulling'


def test_an_unschedulable_pod_says_why():
    pod = make_pod(0, "Pending")
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]
    assert condition(compute(make_task("a"), pod))["message"] == "0/1 nodes"


def test_an_agent_image_that_fails_is_told():
    pod = make_pod(0, "Pending")
    pod["status"]["initContainerStatuses"] = [
        {"name": "taskflow-install", "image": "agent:1", "state": waiting("ErrImagePull", "refused")}
    ]
    assert condition(compute(make_task("a"), pod))["message"] == "agent image agent:1: refused"
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    pod["status"].update(phase="Failed")
    pod["status"]["initContainerStatuses"][0]["state"] = {"terminated": {"exitCode": 1, "message": "disk full"}}
    status = compute(make_task("a"), pod)
    assert (status["status"], condition(status)["reason"]) == ("Failure", "AgentInstallFailed")


def test_an_evicted_pod_fails_with_its_words():
    pod = make_pod(-1, "Failed")
    pod["status"].update(reason="Evicted", message="low on memory")
    status = compute(make_task("a"), pod)
    assert (status["status"], condition(status)["reason"]) == ("Failure", "Evicted")


def test_a_problem_is_pending_or_final():
    pending = compute(make_task("a"), None, TaskError("QuotaExceeded", "no room"))
    assert (pending["status"], condition(pending)["message"]) == ("Pending", "no room")
    final = compute(make_task("a"), None, TaskError("InvalidSpec", "spec.x: bad", permanent=True))
    assert (final["status"], final["completionTime"]) == ("Failure", NOW)


def test_a_passing_problem_says_nothing_of_a_task_that_runs():
    pod = set_states(make_pod(1), a=RUNNING)
    assert compute(make_task("a"), pod, TaskError("APIError", "later"))["status"] == "Running"
    assert compute(make_task("a"), pod, TaskError("PodLost", "lost", permanent=True))["status"] == "Failure"


def test_a_new_generation_starts_from_nothing():
    task = make_task("a")
    task["status"] = compute(task, set_states(make_pod(1, "Succeeded"), a=ended()))
    task["metadata"]["generation"] = 2
    status = compute(task, None, now=LATER)
    assert status["status"] == "Pending"
    assert "completionTime" not in status and "podName" not in status
    assert condition(status)["lastTransitionTime"] == LATER


def test_the_transition_time_stays_while_the_truth_does():
    task = make_task("a", "b")
    task["status"] = compute(task, set_states(make_pod(1), a=RUNNING, b=RUNNING))
    status = compute(task, set_states(make_pod(1), a=ended(), b=RUNNING), now=LATER)
    assert condition(status)["lastTransitionTime"] == NOW


def test_foreign_conditions_survive():
    task = make_task("a")
    task["status"] = {"conditions": [{"type": "Mine", "status": "True"}]}
    assert compute(task, None)["conditions"][0] == {"type": "Mine", "status": "True"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (31.9, "31s"), (80, "1m20s"), (3603, "1h0m3s"), (90061, "25h1m1s"), (-5, "0s")],
)
def test_durations_read_as_go_writes_them(seconds, text):
    start = datetime.datetime(2024, 1, 6, tzinfo=datetime.UTC)
    assert _status.format_duration(start, start + datetime.timedelta(seconds=seconds)) == text


def test_events_tell_each_step_once_and_the_end():
    task = make_task("a", "b")
    told = []
    for order, states in [
        (0, {"a": waiting(), "b": waiting()}),
        (1, {"a": RUNNING, "b": RUNNING}),
        (1, {"a": RUNNING, "b": RUNNING}),
        (2, {"a": ended(), "b": RUNNING}),
        (-1, {"a": ended(), "b": ended(1)}),
        (-1, {"a": ended(), "b": ended(1)}),
    ]:
        new = compute(task, set_states(make_pod(order), **states))
        told += [(e.type, e.reason) for e in _status.compute_events(task.get("status") or {}, new)]
        task["status"] = new
    assert told == [
        ("Normal", "StepStarted"),
        ("Normal", "Started"),
        ("Normal", "StepSucceeded"),
        ("Normal", "StepStarted"),
        ("Warning", "StepFailed"),
        ("Warning", "Failed"),
    ]


def test_a_warning_tells_why_a_task_waits():
    status = compute(make_task("a"), None, TaskError("QuotaExceeded", "no room"))
    assert _status.compute_events({}, status) == [_status.Event("Warning", "QuotaExceeded", "no room")]


STATE = st.sampled_from([waiting(), RUNNING, ended(), ended(1), ended(137, reported=False), ended(1, state="Skipped")])


@given(st.lists(st.tuples(STATE, STATE, st.sampled_from([0, 1, 2, -1])), min_size=1, max_size=10))
def test_a_verdict_never_changes_and_no_input_is_modified(snapshots):
    task, verdict = make_task("zeta", "alpha"), None
    for zeta, alpha, order in snapshots:
        pod = set_states(make_pod(order), zeta=zeta, alpha=alpha)
        before = copy.deepcopy((task, pod))
        status = compute(task, pod)
        assert (task, pod) == before
        assert compute(task, pod) == status
        if verdict:
            assert {k: status[k] for k in verdict} == verdict
        if status["status"] in ("Successful", "Failure"):
            verdict = {k: status[k] for k in ("status", "completionTime", "duration", "conditions")}
        task["status"] = status
