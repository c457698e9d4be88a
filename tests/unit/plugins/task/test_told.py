"""Who ended a step, and what follows: it itself, or something outside, perhaps with the whole Pod."""

from __future__ import annotations

import json

import pytest
from support.tasks.factory import (
    NOW,
    RUNNING,
    condition,
    ended,
    ending,
    make_pod,
    make_task,
    set_states,
    verdict,
    waiting,
)
from support.tasks.looks import compute_status, observe, orders_to_come, plan_pods

SKIPPED = ended(1, "Skipped")
TOLD = ended(143, reason="Signal", signal=15, told=15)
EARLY = ended(143, reason="EndedBeforeItsTurn", told=15, startedAt=None, finishedAt=None)
OLD_SIGNAL = ended(143, reason="Signal", signal=15)
KILLED = ended(137, reported=False)
OOM = ended(137, reported=False, reason="OOMKilled")
NEVER_RAN = ended(1, "Cancelled", startedAt=None, finishedAt=None)
NEVER_STARTED = ended(128, reported=False, reason="StartError")
# A long time before the Pod was deleted, or after, by the clock of a node.
PAST, FUTURE = "2020-01-01T00:00:00.000Z", "2030-01-01T00:00:00.000Z"


def deleted(**states):
    pod = ending(set_states(make_pod(1), **states), "2024-01-06T22:21:00Z")
    pod["metadata"]["deletionGracePeriodSeconds"] = 30
    return pod


def is_lost(pod, task=None):
    return observe(task or make_task("a", "b"), [pod], NOW).current is None


@pytest.mark.parametrize("finished", [PAST, FUTURE])
@pytest.mark.parametrize(
    ("report", "lost"),
    [
        ({"reason": "Error"}, False),
        ({"reason": "CommandNotFound"}, False),
        ({"reason": "TimedOut"}, False),
        ({"reason": "Signal", "signal": 11, "told": 0}, False),
        ({"reason": "Signal", "signal": 15, "told": 15}, True),
        ({"reason": "Error", "told": 15}, True),
        # Of an older agent, which does not say it.
        ({"reason": "Signal", "signal": 15}, True),
    ],
)
def test_a_step_of_a_pod_that_is_deleted_has_failed_unless_it_was_told_to_end(report, lost, finished):
    assert is_lost(deleted(a=ended(3, finishedAt=finished, **report), b=SKIPPED)) == lost


@pytest.mark.parametrize("phase", ["Running", "Failed"])
@pytest.mark.parametrize(
    ("end", "told"),
    [(ended(3, reason="Error"), ("Failure", "StepFailed")), (TOLD, ("Pending", "WaitingForPod"))],
)
def test_a_drain_makes_no_loss_of_a_step_that_has_failed_itself(phase, end, told):
    """It says of each Pod that it disrupts it, and the kubelet says a moment later that the Pod has failed."""
    task, pod = make_task("a", "b"), deleted(a=end, b=SKIPPED)
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "evicting"}
    pod["status"].update(phase=phase, conditions=[disrupted])
    assert verdict(compute_status(task, [pod], None, NOW)) == told
    assert plan_pods(task, [pod], NOW).attempt is None


def test_what_was_said_of_a_result_is_not_said_of_the_step():
    state = ended(3, reason="Error", **{"result.x": '"told":15'})
    assert not is_lost(deleted(a=state, b=SKIPPED))
    cut = '{"state":"Failed","exitCode":143,"reason":"Signal","told":15,"result.x":"aaa'
    assert is_lost(deleted(a=ended(143, reported=False, message=cut), b=SKIPPED))


@pytest.mark.parametrize(
    ("state", "lost"),
    [
        (KILLED, True),
        (ended(143, reported=False), True),
        (ended(137, reported=False, reason="ContainerStatusUnknown"), True),
        (NEVER_STARTED, True),
        (ended(137, "Succeeded", exitCode=0), True),
        (OOM, False),
        (ended(0, reported=False), False),
        (ended(139, reported=False), False),
    ],
)
def test_a_step_without_a_report_was_lost_with_its_pod_if_it_was_killed(state, lost):
    assert is_lost(deleted(a=state, b=KILLED)) == lost


def test_one_that_was_out_of_memory_has_failed_though_it_was_told_to_end_then():
    state = ended(137, reason="Signal", signal=9, told=0)
    state["terminated"]["reason"] = "OOMKilled"
    assert not is_lost(deleted(a=state, b=EARLY))


@pytest.mark.parametrize("a", [TOLD, OLD_SIGNAL, KILLED, RUNNING, EARLY])
def test_steps_that_waited_when_the_pod_was_deleted_are_lost_with_it(a):
    assert is_lost(deleted(a=a, b=EARLY))


def test_a_failure_before_that_counts_though_others_were_told_then():
    assert not is_lost(deleted(a=ended(3), b=EARLY))


def test_a_hook_may_end_a_command_before_the_signal_comes():
    pod = deleted(a=ended(3), b=EARLY)
    pod["spec"] = {"containers": [{"name": "a", "lifecycle": {"preStop": {"exec": {"command": ["stop"]}}}}]}
    assert is_lost(pod)
    del pod["metadata"]["deletionTimestamp"]
    assert not is_lost(pod)


def test_what_is_recorded_had_happened_before_the_pod_was_deleted():
    task = make_task("a", "b")
    task["status"] = compute_status(task, [set_states(make_pod(1), a=TOLD, b=RUNNING)], None, NOW)
    assert task["status"]["steps"][0]["state"] == "Failed"
    assert not is_lost(deleted(a=TOLD, b=EARLY), task)


def test_a_pod_that_is_replaced_is_a_loss_and_not_a_retry():
    task = make_task("a", "b", retries=1)
    task["status"] = compute_status(task, [set_states(make_pod(1), a=RUNNING, b=RUNNING)], None, NOW)
    plan = plan_pods(task, [deleted(a=TOLD, b=EARLY)], NOW)
    assert plan.attempt is None or plan.attempt.retry == 0
    assert plan.action == "waiting"


# Ended before its turn, while nobody has deleted the Pod.


def test_the_steps_before_it_go_on_and_the_task_fails_when_its_turn_comes():
    task = make_task("a", "b", "c")
    pod = set_states(make_pod(1), a=RUNNING, b=EARLY, c=SKIPPED)
    assert orders_to_come(task, pod) == []
    assert verdict(compute_status(task, [pod], None, NOW)) == ("Running", "Running")
    pod = set_states(make_pod(1, "Failed"), a=ended(), b=EARLY, c=SKIPPED)
    assert orders_to_come(task, pod)[-1] == -1
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    status = compute_status(task, [pod], None, NOW)
    assert verdict(status) == ("Failure", "StepFailed")
    words = 'step "b" (2 of 3) was ended from outside before its turn, with exit code 143: kubectl describe pod'
    assert condition(status)["message"].startswith(words)
    assert [step["state"] for step in status["steps"]] == ["Succeeded", "Failed", "Skipped"]
    assert status["progress"] == "1/3"


def test_it_is_retried():
    task = make_task("a", "b", retries=1)
    pod = set_states(make_pod(-1, "Failed", of=task), a=ended(), b=EARLY)
    assert plan_pods(task, [pod], NOW).attempt.retry == 1


def test_a_first_step_that_is_ended_before_its_turn_fails_the_task_at_once():
    pod = set_states(make_pod(0), a=EARLY, b=RUNNING)
    assert orders_to_come(make_task("a", "b"), pod)[-1] == -1


@pytest.mark.parametrize("state", [KILLED, ended(2, reason="BadFlags"), NEVER_STARTED])
def test_one_whose_agent_may_never_have_been_up_fails_the_task_at_once(state):
    """The first step waits for that agent, perhaps for ever."""
    pod = set_states(make_pod(0), a=RUNNING, b=state)
    assert orders_to_come(make_task("a", "b"), pod)[-1] == -1


def test_an_older_agents_word_for_it_is_no_cancellation():
    words = "ended by signal 15 before it was started"
    report = json.dumps({"state": "Cancelled", "exitCode": 143, "reason": "Cancelled", "message": words})
    pod = set_states(make_pod(-1, "Failed"), a=ended(), b=ended(143, reported=False, message=report))
    assert verdict(compute_status(make_task("a", "b"), [pod], None, NOW)) == ("Failure", "StepFailed")


@pytest.mark.parametrize("states", [{"a": ended(), "b": SKIPPED}, {"a": ended(), "b": SKIPPED, "c": SKIPPED}])
def test_steps_that_were_skipped_for_nothing_are_no_cancellation(states):
    """An older agent that could not read how the step before it had ended."""
    pod = set_states(make_pod(-1, "Failed"), **states)
    status = compute_status(make_task(*states), [pod], None, NOW)
    assert verdict(status) == ("Failure", "StepFailed")
    assert "did not run, though no step before it had failed" in condition(status)["message"]


def test_a_task_that_was_cancelled_says_so_though_a_step_was_told_by_a_signal_then():
    cancelled = ended(143, "Cancelled", told=15)
    pod = set_states(make_pod(-1, "Failed"), a=cancelled, b=EARLY)
    assert verdict(compute_status(make_task("a", "b", cancel=True), [pod], None, NOW)) == ("Cancelled", "Cancelled")


def test_what_was_told_to_end_may_have_been_lost_with_its_pod_of_which_the_kubelet_has_yet_to_tell():
    task, state = make_task("a"), ended(3, reason="Error", told=15)
    assert compute_status(task, [set_states(make_pod(-1), a=state)], None, NOW)["status"] == "Running"
    pod = set_states(make_pod(-1, "Failed"), a=state)
    assert verdict(compute_status(task, [pod], None, NOW)) == ("Failure", "StepFailed")
    pod["status"]["reason"] = "Shutdown"
    assert compute_status(task, [pod], None, NOW)["status"] == "Pending"


@pytest.mark.parametrize(
    ("handoff", "a"), [("Local", waiting("ErrImagePull", "no")), ("Annotation", waiting()), ("Annotation", RUNNING)]
)
def test_while_nothing_runs_it_fails_the_task_at_once(handoff, a):
    task, pod = make_task("a", "b", handoff=handoff), set_states(make_pod(0, "Pending"), a=a, b=EARLY)
    assert orders_to_come(task, pod)[-1:] == [-1]
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    assert verdict(compute_status(task, [pod], None, NOW)) == ("Failure", "StepFailed")
    # The step that waited ends by that order; nobody has cancelled the Task.
    pod = set_states(make_pod(-1, "Failed"), a=NEVER_RAN, b=EARLY)
    assert verdict(compute_status(task, [pod], None, NOW)) == ("Failure", "StepFailed")


@pytest.mark.parametrize("a", [ended(143, "Cancelled"), NEVER_RAN])
def test_a_task_that_its_spec_told_to_end_is_not_failed_by_it(a):
    pod = set_states(make_pod(-1, "Failed"), a=a, b=EARLY)
    assert verdict(compute_status(make_task("a", "b", cancel=True), [pod], None, NOW)) == ("Cancelled", "Cancelled")
