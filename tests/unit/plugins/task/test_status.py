"""The status of a Task, when it is looked at again, and the events that tell of it."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.event import Event
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import spec_hash
from ansible_collections.taskflow.operator.plugins.module_utils._task.events import compute_events
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import (
    CREATED,
    LATER,
    NOW,
    RUNNING,
    changed,
    condition,
    continued,
    ended,
    ending,
    make_pod,
    make_step,
    make_task,
    set_states,
    verdict,
    waiting,
)
from support.tasks.looks import compute_status, next_look

FINAL = ("Successful", "Failure", "Cancelled")
SKIPPED, CANCELLED = ended(1, state="Skipped"), ended(143, state="Cancelled")


def compute(task, pod=None, problem=None, now=NOW):
    return compute_status(task, [pod] if pod else [], problem, now)


def pod_of(order, phase="Running", **states):
    return set_states(make_pod(order, phase), **states)


def states_of(status):
    return [s["state"] for s in status["steps"]]


# The fields.


def test_a_task_without_a_pod_is_pending_from_now_on():
    status = compute(make_task("a", "b"))
    assert (status["status"], status["progress"], status["startTime"]) == ("Pending", "0/2", NOW)
    assert states_of(status) == ["Waiting", "Waiting"]
    assert not {"podName", "order", "attempts", "duration", "completionTime"} & status.keys()


def test_a_pod_that_starts_is_pending():
    status = compute(make_task("a", "b"), pod_of(0, "Pending", a=waiting(), b=waiting()))
    assert (status["status"], status["progress"], status["order"]) == ("Pending", "0/2", "0")
    assert (status["startTime"], status["startAt"]) == (CREATED, "2024-01-06 22:19:24")
    assert (condition(status)["status"], condition(status)["reason"]) == ("Unknown", "Pending")
    assert (status["podName"], status["attempts"], status["retries"]) == ("task-pod-demo-1", 1, 0)
    assert not {"duration", "completionTime", "results"} & status.keys()


def test_a_status_says_of_which_spec_it_speaks():
    task = make_task("a", generation=7)
    status = compute(task)
    assert (status["observedGeneration"], status["specHash"]) == (7, spec_hash(task))
    assert condition(status)["observedGeneration"] == 7


@pytest.mark.parametrize(
    ("order", "states", "progress"),
    [
        (1, [RUNNING, RUNNING, RUNNING], "1/3"),
        (2, [ended(), RUNNING, RUNNING], "2/3"),
        (3, [ended(), continued(), RUNNING], "3/3"),
        (-1, [ended(), ended(1), SKIPPED], "2/3"),
        (3, [ended(), ended(), ended()], "3/3"),
        (0, [waiting(), waiting(), waiting()], "0/3"),
    ],
)
def test_progress_is_the_step_that_runs_or_ran_last(order, states, progress):
    pod = pod_of(order, **dict(zip("abc", states, strict=True)))
    assert compute(make_task("a", "b", "c"), pod)["progress"] == progress


def test_success_has_its_duration_from_the_last_step():
    status = compute(make_task("a", "b"), pod_of(2, "Succeeded", a=ended(), b=ended()))
    assert (status["status"], status["duration"], status["order"]) == ("Successful", "31s", "2")
    assert status["completionTime"] == "2024-01-06T22:19:55Z"
    assert condition(status)["status"] == "True"


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_any_failing_step_the_last_one_too_is_a_failure_that_names_it(failing):
    names = ["zeta", "alpha", "mid"]
    states = {n: ended() for n in names[:failing]}
    states[names[failing]] = ended(3, message="no such thing")
    states.update(dict.fromkeys(names[failing + 1 :], SKIPPED))
    status = compute(make_task(*names), pod_of(-1, "Failed", **states))
    assert verdict(status) == ("Failure", "StepFailed")
    assert condition(status)["status"] == "False"
    words = f'step "{names[failing]}" ({failing + 1} of 3) failed: exit code 3: no such thing'
    assert words in condition(status)["message"]


@pytest.mark.parametrize("exit_code", [0, 143])
def test_steps_that_were_told_to_end_by_hand_are_cancelled(exit_code):
    pod = pod_of(-1, "Failed", a=ended(), b=ended(exit_code, state="Cancelled"), c=CANCELLED)
    status = compute(make_task("a", "b", "c"), pod)
    assert verdict(status) == ("Cancelled", "CancelledByOrder")
    assert (status["completionTime"], condition(status)["status"]) == (NOW, "False")


def test_the_results_of_all_steps_are_gathered_and_the_later_step_wins():
    states = {"a": ended(0, **{"result.v": "1", "result.u": "x"}), "b": continued(**{"result.v": "2"}), "c": RUNNING}
    status = compute(make_task("a", "b", "c"), pod_of(3, **states))
    assert status["results"] == {"v": "2", "u": "x"}
    assert [s.get("results") for s in status["steps"]] == [{"v": "1", "u": "x"}, {"v": "2"}, None]


def test_another_attempts_results_are_not_this_ones():
    task = make_task("a", "b", retries=1)
    first = pod_of(-1, "Failed", a=ended(0, **{"result.v": "1"}), b=ended(1))
    task["status"] = compute(task, first)
    assert task["status"]["results"] == {"v": "1"}
    second = set_states(make_pod(0, "Pending", "p2", attempt=2, retry=1), a=waiting(), b=waiting())
    status = compute_status(task, [first, second], None, LATER)
    assert (status["podName"], status["attempts"], status["retries"]) == ("p2", 2, 1)
    assert not status.get("results")


def test_a_run_starts_with_its_first_pod_and_goes_on_with_its_next():
    task = make_task("a", retries=1)
    first = pod_of(-1, "Failed", a=ended(1))
    task["status"] = compute(task, first)
    assert verdict(task["status"]) == ("Running", "Retrying")
    second = set_states(make_pod(1, "Succeeded", "p2", attempt=2, retry=1), a=ended())
    second["metadata"]["creationTimestamp"] = NOW
    status = compute_status(task, [first, second], None, LATER)
    assert (status["startTime"], status["status"], status["podName"]) == (CREATED, "Successful", "p2")


def test_a_lost_pod_leaves_what_is_known_of_the_run():
    task = make_task("a", "b")
    task["status"] = compute(task, pod_of(1, a=RUNNING, b=RUNNING))
    status = compute(task, now=LATER)
    assert verdict(status) == ("Pending", "WaitingForPod")
    assert (status["attempts"], status["startTime"]) == (1, CREATED)


def test_a_run_that_shall_stop_leaves_no_step_waiting():
    task = make_task("a", "b", "c", cancel=True)
    status = compute(task, pod_of(-1, "Failed", a=ended(), b=CANCELLED))
    assert states_of(status) == ["Succeeded", "Cancelled", "Cancelled"]


# Problems.


def test_a_problem_is_pending_or_final():
    pending = compute(make_task("a"), None, TaskError("QuotaExceeded", "no room"))
    assert (pending["status"], condition(pending)["message"]) == ("Pending", "no room")
    final = compute(make_task("a"), None, TaskError("InvalidSpec", "spec.x: bad", permanent=True))
    assert (final["status"], final["completionTime"], final["duration"]) == ("Failure", NOW, "0s")


def test_a_passing_problem_says_nothing_of_a_task_that_runs():
    pod = pod_of(1, a=RUNNING)
    assert compute(make_task("a"), pod, TaskError("APIError", "later"))["status"] == "Running"
    assert compute(make_task("a"), pod, TaskError("PodLost", "lost", permanent=True))["status"] == "Failure"


# From one status to the next.


@pytest.mark.parametrize("change", [{"timeout": "1h"}, {"params": [{"name": "x", "value": "1"}]}])
def test_a_changed_spec_starts_from_nothing(change):
    task = make_task("a")
    task["status"] = compute(task, pod_of(1, "Succeeded", a=ended(0, **{"result.v": "1"})))
    assert verdict(task["status"]) == ("Successful", "Succeeded")
    status = compute(changed(task, **change), now=LATER)
    assert status["status"] == "Pending"
    assert not {"completionTime", "podName", "results", "duration", "attempts"} & status.keys()
    assert condition(status)["lastTransitionTime"] == LATER


@pytest.mark.parametrize("change", [{"cancel": True}, {"suspend": True}, {"ttlSecondsAfterFinished": 9}])
def test_a_control_field_changes_nothing_of_a_task_that_has_ended(change):
    task = make_task("a")
    pod = set_states(make_pod(1, "Succeeded", of=task), a=ended())
    task["status"] = compute(task, pod)
    status = compute(changed(task, **change), pod, now=LATER)
    assert status == {**task["status"], "observedGeneration": 2}


def test_the_transition_time_stays_while_the_truth_does():
    task = make_task("a", "b")
    task["status"] = compute(task, pod_of(1, a=RUNNING, b=RUNNING))
    status = compute(task, pod_of(1, a=ended(), b=RUNNING), now=LATER)
    assert condition(status)["lastTransitionTime"] == NOW


def test_foreign_conditions_survive():
    task = make_task("a")
    task["status"] = {"conditions": [{"type": "Mine", "status": "True"}]}
    assert compute(task)["conditions"][0] == {"type": "Mine", "status": "True"}


def test_after_the_verdict_only_the_steps_that_were_ending_change():
    task = make_task("a", "b", "c")
    task["status"] = compute(task, pod_of(-1, a=ended(1), b=RUNNING, c=RUNNING))
    assert verdict(task["status"]) == ("Failure", "StepFailed")
    status = compute(task, pod_of(-1, "Failed", a=ended(1), b=SKIPPED, c=CANCELLED), now=LATER)
    assert states_of(status) == ["Failed", "Skipped", "Cancelled"]
    assert {k: v for k, v in status.items() if k != "steps"} == {
        k: v for k, v in task["status"].items() if k != "steps"
    }


@pytest.mark.parametrize("b", [RUNNING, waiting()])
def test_a_step_that_will_never_begin_does_not_wait_again(b):
    task = make_task("a", "b", timeout="30s")
    task["status"] = compute(task, pod_of(1, a=RUNNING, b=b))
    pod = pod_of(-1, a=RUNNING, b=b)
    task["status"] = compute(task, pod, now=LATER)
    assert verdict(task["status"]) == ("Failure", "TimedOut")
    assert states_of(task["status"])[1] == "Cancelled"
    assert compute(task, pod, now=LATER) == task["status"]


@pytest.mark.parametrize("pod", [None, "ended"])
def test_a_suspended_task_is_pending_with_nothing_of_the_run_before(pod):
    task = make_task("a")
    task["status"] = compute(task, pod_of(1, a=RUNNING))
    task = changed(task, suspend=True)
    status = compute(task, ending(pod_of(1, a=RUNNING)) if pod else None, now=LATER)
    assert verdict(status) == ("Pending", "Suspended")
    assert states_of(status) == ["Waiting"]
    assert not {"podName", "startTime", "attempts", "order", "startAt"} & status.keys()
    task["status"] = status
    assert compute(changed(task, suspend=False), now=LATER)["startTime"] == LATER


def test_a_cancelled_run_is_forgotten_when_cancel_is_false_again():
    task = make_task("a", cancel=True)
    task["status"] = compute(task)
    assert verdict(task["status"]) == ("Cancelled", "Cancelled")
    status = compute(changed(task, cancel=False), now=LATER)
    assert verdict(status) == ("Pending", "WaitingForPod")
    assert (status["startTime"], states_of(status)) == (LATER, ["Waiting"])
    assert "completionTime" not in status


@pytest.mark.parametrize(
    ("pod", "word"),
    [
        (pod_of(1, "Succeeded", a=ended()), "Successful"),
        (pod_of(-1, "Failed", a=ended(1)), "Failure"),
    ],
)
def test_a_run_that_cancel_was_too_late_for_stays_ended_when_cancel_is_false_again(pod, word):
    task = make_task("a", cancel=True)
    task["status"] = compute(task, pod_of(1, a=RUNNING))
    task["status"] = compute(task, pod)
    assert task["status"]["status"] == word
    task["status"] = compute(task, pod)
    assert compute(changed(task, cancel=False), pod, now=LATER)["status"] == word


def test_a_task_that_the_order_cancelled_stays_so():
    task = make_task("a")
    pod = set_states(make_pod(-1, "Failed", of=task), a=CANCELLED)
    task["status"] = compute(task, pod)
    assert compute(changed(task, cancel=False), pod, now=LATER)["status"] == "Cancelled"


# When to look again.


def looked(task, pod=None, problem=None, start=None, now=NOW):
    status = compute(task, pod, problem, now)
    task = {**task, "status": {**status, **({"startTime": start} if start else {})}}
    return next_look(task, [pod] if pod else [], problem, now)


def test_a_task_that_runs_is_looked_at_when_something_happens_to_it():
    assert looked(make_task("a"), pod_of(1, a=RUNNING)) is None


@pytest.mark.parametrize(
    ("timeout", "seconds"), [("1m", 24), ("36500ms", 1), ("36s", 60), ("30s", 54), ("1h", 3564), ("bad", None)]
)
def test_the_end_of_a_timeout_and_of_its_grace_are_looked_for(timeout, seconds):
    task = make_task("a", timeout=timeout)
    task["status"] = {"observedGeneration": 1, "startTime": CREATED}
    assert next_look(task, [], None, NOW) == seconds


@pytest.mark.parametrize(
    ("start", "retry_after", "seconds"),
    [
        (NOW, None, 2),
        (CREATED, None, 36),
        ("2024-01-06T20:00:00Z", None, 300),
        (CREATED, 10, 36),
        (CREATED, 100, 100),
        (CREATED, 1000, 1000),
    ],
)
def test_what_failed_is_tried_again_after_a_growing_pause_or_when_it_makes_sense(start, retry_after, seconds):
    problem = TaskError("ImageLookupFailed", "no answer", retry_after=retry_after)
    assert looked(make_task("a"), None, problem, start) == seconds


def test_the_end_of_the_timeout_comes_before_another_try():
    assert looked(make_task("a", timeout="1m"), None, TaskError("X", "x", retry_after=500), CREATED) == 24


def test_pods_that_are_ending_are_looked_at_now_and_then():
    # Nobody else tells when one has become a stuck one.
    task, pod = make_task("a", generation=2), ending(make_pod())
    assert verdict(compute(task, pod)) == ("Pending", "WaitingForPod")
    assert looked(task, pod) == 30


@pytest.mark.parametrize(("ttl", "seconds"), [(None, None), (0, 1), (5, 5), (90, 90)])
def test_a_task_that_has_ended_is_looked_at_when_it_expires(ttl, seconds):
    task = make_task("a", **({} if ttl is None else {"ttlSecondsAfterFinished": ttl}))
    assert looked(task, pod_of(1, "Succeeded", a=ended())) == seconds


def test_a_suspended_task_is_not_looked_at():
    assert looked(make_task("a", suspend=True, timeout="1m")) is None


# Events.


def told(task, *snapshots, now=NOW):
    """Return the events that a Task's Pod (or Pods, or a problem) in these states one after the other leads to."""
    events = []
    for snapshot in snapshots:
        problem = snapshot if isinstance(snapshot, TaskError) else None
        pods = [] if problem or snapshot is None else [snapshot]
        new = compute_status(task, pods, problem, now)
        events += compute_events(task.get("status") or {}, new)
        task["status"] = new
    return [(e.type, e.reason) for e in events]


def test_events_tell_each_step_once_and_the_end():
    assert told(
        make_task("a", "b"),
        None,
        pod_of(0, a=waiting(), b=waiting()),
        pod_of(1, a=RUNNING, b=RUNNING),
        pod_of(1, a=RUNNING, b=RUNNING),
        pod_of(2, a=ended(), b=RUNNING),
        pod_of(-1, a=ended(), b=ended(1)),
        pod_of(-1, "Failed", a=ended(), b=ended(1)),
    ) == [
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Normal", "StepSucceeded"),
        ("Normal", "StepStarted"),
        ("Warning", "StepFailed"),
        ("Warning", "Failed"),
    ]


def test_steps_that_end_between_two_looks_are_told_too():
    assert told(make_task("a", "b"), pod_of(2, "Succeeded", a=continued(), b=ended())) == [
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Warning", "StepFailed"),
        ("Normal", "StepStarted"),
        ("Normal", "StepSucceeded"),
        ("Normal", "Completed"),
    ]


def test_a_step_that_failed_and_continues_is_told_as_such():
    task = make_task("a", "b")
    new = compute(task, pod_of(2, a=continued(3), b=RUNNING))
    message = 'step "a" (1 of 2) failed, and the Task continues: exit code 3'
    assert Event("Warning", "StepFailed", message) in compute_events({}, new)


@pytest.mark.parametrize(
    ("snapshot", "events"),
    [
        (TaskError("QuotaExceeded", "no room"), [("Warning", "QuotaExceeded")]),
        (TaskError("InvalidSpec", "bad", permanent=True), [("Warning", "Failed")]),
        (pod_of(0, "Pending", a=waiting("ErrImagePull", "no")), [("Warning", "ErrImagePull")]),
        (pod_of(0, "Pending", a=waiting()), []),
        (None, []),
    ],
)
def test_why_a_task_waits_is_told_once(snapshot, events):
    assert told(make_task("a"), snapshot, snapshot, snapshot) == events


def test_a_warning_has_the_words():
    status = compute(make_task("a"), None, TaskError("QuotaExceeded", "no room"))
    assert compute_events({}, status) == [Event("Warning", "QuotaExceeded", "no room")]


def test_a_problem_that_comes_back_is_told_again():
    problem = TaskError("QuotaExceeded", "no room")
    assert told(make_task("a"), problem, None, problem) == [("Warning", "QuotaExceeded")] * 2


@pytest.mark.parametrize(
    ("spec", "annotations", "pod", "events"),
    [
        ({"cancel": True}, None, None, [("Normal", "Cancelled")]),
        ({"suspend": True}, None, None, [("Normal", "Suspended")]),
        (
            {"handoff": "Annotation"},
            {"api.practice.com/hold-order": "0"},
            pod_of(0, a=RUNNING),
            [("Normal", "Held")],
        ),
        (
            {"retries": 1},
            None,
            pod_of(-1, a=ended(1)),
            [("Normal", "Started"), ("Normal", "StepStarted"), ("Warning", "StepFailed"), ("Warning", "Retrying")],
        ),
    ],
)
def test_what_somebody_asked_for_is_told_once(spec, annotations, pod, events):
    assert told(make_task("a", annotations=annotations, **spec), pod, pod) == events


def test_a_new_attempt_is_told_from_its_first_step_on():
    task = make_task("a", retries=1)
    first, second = make_pod(-1, "Failed"), make_pod(1, "Succeeded", "p2", attempt=2, retry=1)
    assert told(task, set_states(first, a=ended(1)), set_states(second, a=ended())) == [
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Warning", "StepFailed"),
        ("Warning", "Retrying"),
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Normal", "StepSucceeded"),
        ("Normal", "Completed"),
    ]


def test_a_new_spec_is_told_from_its_first_step_on():
    task = make_task("a")
    assert told(task, pod_of(1, "Succeeded", a=ended()))[-1] == ("Normal", "Completed")
    again = changed(task, timeout="1h")
    pod = set_states(make_pod(1, "Succeeded", "p2", of=again), a=ended())
    assert told(again, None, pod) == [
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Normal", "StepSucceeded"),
        ("Normal", "Completed"),
    ]


def test_a_cancelled_step_that_ran_is_told():
    task = make_task("a", "b", cancel=True)
    unstarted = {"terminated": {"exitCode": 1, "message": '{"state": "Cancelled", "exitCode": 1}'}}
    assert told(task, pod_of(1, a=RUNNING, b=RUNNING), pod_of(-1, "Failed", a=CANCELLED, b=unstarted)) == [
        ("Normal", "Started"),
        ("Normal", "StepStarted"),
        ("Normal", "StepCancelled"),
        ("Normal", "Cancelled"),
    ]


def test_nothing_happened_nothing_is_told():
    task = make_task("a", "b")
    for pod in (None, pod_of(1, a=RUNNING, b=RUNNING), pod_of(-1, a=ended(1), b=RUNNING)):
        task["status"] = compute(task, pod)
        assert compute_events(task["status"], compute(task, pod, now=LATER)) == []


STATE = st.sampled_from([waiting(), RUNNING, ended(), ended(1), continued(), ended(137, reported=False), SKIPPED])
SNAPSHOT = st.tuples(STATE, STATE, st.sampled_from([0, 1, 2, -1]), st.sampled_from(["Running", "Failed"]))
SPEC = st.fixed_dictionaries(
    {}, optional={"retries": st.just(1), "cancel": st.booleans(), "timeout": st.sampled_from(["1s", "1h"])}
)


@given(st.lists(SNAPSHOT, min_size=1, max_size=10), SPEC)
def test_a_verdict_never_changes_and_no_input_is_modified(snapshots, spec):
    task, found = make_task("zeta", "alpha", **spec), None
    for zeta, alpha, order, phase in snapshots:
        pod = pod_of(order, phase, zeta=zeta, alpha=alpha)
        before = copy.deepcopy((task, pod))
        status = compute(task, pod)
        assert (task, pod) == before
        assert compute(task, pod) == status
        if found:
            assert {k: status[k] for k in found} == found
        if status["status"] in FINAL:
            found = {k: status[k] for k in ("status", "completionTime", "duration", "conditions", "progress")}
        assert ("completionTime" in status) == (status["status"] in FINAL)
        task["status"] = status


def test_why_the_next_attempt_can_not_be_made_is_said():
    task = make_task("a", retries=1)
    status = compute(task, pod_of(-1, "Failed", a=ended(1)), TaskError("QuotaExceeded", "no room"))
    assert verdict(status) == ("Pending", "QuotaExceeded")
    assert "no room" in condition(status)["message"] and "retry 1 of 1" in condition(status)["message"]


# Sidecars that die while the steps run.

DEAD = ended(3, reported=False, message="no such port")


def beside(order, step, sidecar, **fields):
    """Return a Pod with one step, and an ordinary sidecar beside it."""
    return set_states(make_pod(order, **fields), a=step, web=sidecar)


def of_sidecars(status):
    return [x for x in status["conditions"] if x["type"] == "SidecarFailed"]


def test_a_sidecar_that_dies_beside_the_steps_is_told_once_and_decides_nothing():
    task = make_task("a", sidecars=[make_step("web")])
    healthy = compute_status(task, [beside(1, RUNNING, RUNNING)], None, CREATED)
    assert of_sidecars(healthy) == []
    doubtful = compute_status({**task, "status": healthy}, [beside(1, RUNNING, DEAD)], None, CREATED)
    assert [x["status"] for x in of_sidecars(doubtful)] == ["Unknown"]
    assert [e.reason for e in compute_events(healthy, doubtful)] == []
    status = compute_status({**task, "status": doubtful}, [beside(1, RUNNING, DEAD)], None, NOW)
    words = (
        'sidecar "web" ended while the steps ran: exit code 3: no such port; '
        "its log: kubectl logs task-pod-demo-1 -c web"
    )
    (told,) = of_sidecars(status)
    assert (told["status"], told["reason"], told["message"]) == ("True", "SidecarFailed", words)
    assert (verdict(status), status["conditions"][0]["type"]) == (("Running", "Running"), "Succeeded")
    assert Event("Warning", "SidecarFailed", words) in compute_events(doubtful, status)
    # It stays as it was, and in the status of the Task that has ended.
    again = compute_status({**task, "status": status}, [beside(1, RUNNING, DEAD)], None, LATER)
    assert again == status
    end = compute_status({**task, "status": status}, [beside(1, ended(), DEAD, phase="Succeeded")], None, LATER)
    assert (verdict(end), of_sidecars(end)) == (("Successful", "Succeeded"), [told])
    assert [e.reason for e in compute_events(status, end)] == ["StepSucceeded", "Completed"]


# By the node's clock, which may be another.
@pytest.mark.parametrize("died", ["2020-01-01T00:00:00Z", "2024-01-06T22:19:54Z", "2030-01-01T00:00:00Z"])
def test_a_death_is_told_once_the_first_step_has_had_the_time_to_see_it(died):
    task = make_task("a", sidecars=[make_step("web")])
    pod = beside(1, RUNNING, ended(3, reported=False, finishedAt=died))

    def look(now):
        task["status"] = compute_status(task, [pod], None, now)
        return of_sidecars(task["status"])[0]["status"], next_look(task, [pod], None, now)

    assert look("2024-01-06T22:19:55Z") == ("Unknown", 5)
    assert look("2024-01-06T22:19:58Z") == ("Unknown", 2)
    assert look("2024-01-06T22:20:00Z") == ("True", None)
    assert of_sidecars(task["status"])[0]["lastTransitionTime"] == "2024-01-06T22:20:00Z"


def test_a_death_is_told_at_once_when_the_first_steps_report_says_that_it_had_begun():
    task = make_task("a", sidecars=[make_step("web")])
    native = set_states(make_pod(1), a=ended())
    native["status"]["initContainerStatuses"] = [
        {"name": "web", "state": RUNNING, "lastState": ended(3, reported=False, finishedAt="2024-01-06T22:19:54Z")}
    ]
    assert of_sidecars(compute_status(task, [native], None, "2024-01-06T22:19:55Z"))[0]["status"] == "True"


def test_a_death_is_not_in_doubt_for_ever_when_our_clock_is_set_back():
    task = make_task("a", sidecars=[make_step("web")])
    task["status"] = compute_status(task, [beside(1, RUNNING, DEAD)], None, LATER)
    status = compute_status(task, [beside(1, RUNNING, DEAD)], None, NOW)
    assert of_sidecars(status)[0]["status"] == "True"


@pytest.mark.parametrize("now", [NOW, LATER])
@pytest.mark.parametrize("end", [beside(-1, RUNNING, DEAD), beside(1, RUNNING, RUNNING)])
def test_a_death_that_is_in_doubt_when_the_pod_is_told_to_end_is_not_told(end, now):
    task = make_task("a", sidecars=[make_step("web")])
    task["status"] = compute_status(task, [beside(1, RUNNING, DEAD)], None, NOW)
    assert of_sidecars(compute_status(task, [end], None, now)) == []


def test_what_was_told_too_early_is_taken_back():
    task = make_task("a", sidecars=[make_step("web")])
    dead = ended(3, reported=False, finishedAt="2024-01-06T22:19:30Z")
    for now in (CREATED, NOW):
        task["status"] = compute_status(task, [beside(1, RUNNING, dead)], None, now)
    assert of_sidecars(task["status"])[0]["status"] == "True"
    pod = beside(-1, ended(1, "Skipped", sidecar="web"), dead)
    status = compute_status(task, [pod], None, LATER)
    assert (verdict(status), of_sidecars(status)) == (("Failure", "SidecarFailed"), [])


# A node whose clock is another.


@pytest.mark.parametrize(
    ("finished", "end", "duration"),
    [
        ("2024-01-06T22:19:55.250Z", "2024-01-06T22:19:55Z", "31s"),
        ("2030-01-01T00:00:00.000Z", NOW, "36s"),
        ("2020-01-01T00:00:00.000Z", CREATED, "0s"),
    ],
)
def test_a_task_ends_between_its_start_and_now(finished, end, duration):
    status = compute_status(make_task("a"), [pod_of(1, "Succeeded", a=ended(finishedAt=finished))], None, NOW)
    assert (status["completionTime"], status["duration"]) == (end, duration)


def test_what_a_sidecar_did_in_one_pod_is_not_told_of_the_next():
    task = make_task("a", sidecars=[make_step("web")], retries=1)
    first = beside(1, RUNNING, DEAD)
    status = compute_status(task, [first], None, NOW)
    second = beside(1, RUNNING, RUNNING, name="p2", attempt=2, retry=1)
    after = compute_status({**task, "status": status}, [first, second], None, NOW)
    assert (of_sidecars(after), after["podName"]) == ([], "p2")
    assert of_sidecars(compute_status(changed({**task, "status": status}, suspend=True), [], None, NOW)) == []


def test_a_sidecar_that_fails_the_task_is_told_by_the_verdict():
    task = make_task("a", sidecars=[make_step("web")])
    pod = beside(-1, RUNNING, DEAD)
    pod["metadata"]["annotations"]["api.practice.com/sidecar-failed"] = "it failed"
    status = compute_status(task, [pod], None, NOW)
    assert (verdict(status), condition(status)["message"]) == (("Failure", "SidecarFailed"), "it failed")
    assert (of_sidecars(status), status["completionTime"], status["order"]) == ([], NOW, "-1")
    assert compute_events({}, status)[-1] == Event("Warning", "Failed", "it failed")
