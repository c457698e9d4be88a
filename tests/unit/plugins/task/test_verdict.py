"""A Task's state in one word, and why."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import observe
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
from support.tasks.looks import compute_status

HOLD = "api.practice.com/hold-order"
SKIPPED, CANCELLED = ended(1, state="Skipped"), ended(143, state="Cancelled")
# Started long enough before NOW for a timeout of this length to have passed, or not.
PASSED, LEFT = "30s", "1h"


def judged(task, pod, now=NOW):
    return verdict(compute_status(task, [pod] if pod else [], None, now))


def words(task, pod, now=NOW):
    return condition(compute_status(task, [pod] if pod else [], None, now))["message"]


def started(task, **status):
    """Return the Task as it is while its run goes on."""
    return {**task, "status": {"observedGeneration": 1, "startTime": CREATED, "attempts": 1, **status}}


def is_time_up(task):
    return observe(task, [], NOW).is_time_up


# The steps decide.


@pytest.mark.parametrize(
    ("order", "phase", "states", "found"),
    [
        (2, "Succeeded", [ended(), ended()], ("Successful", "Succeeded")),
        (2, "Succeeded", [continued(), ended()], ("Successful", "Succeeded")),
        (2, "Succeeded", [ended(), continued()], ("Successful", "Succeeded")),
        (2, "Running", [ended(), ended()], ("Successful", "Succeeded")),
        (2, "Failed", [ended(), ended()], ("Successful", "Succeeded")),
        (-1, "Failed", [ended(1), SKIPPED], ("Failure", "StepFailed")),
        (-1, "Running", [ended(1), RUNNING], ("Failure", "StepFailed")),
        (-1, "Failed", [continued(), ended(1)], ("Failure", "StepFailed")),
        (-1, "Failed", [CANCELLED, CANCELLED], ("Cancelled", "CancelledByOrder")),
        (-1, "Failed", [ended(), ended(0, state="Cancelled")], ("Cancelled", "CancelledByOrder")),
        (-1, "Failed", [], ("Failure", "PodFailed")),
        (1, "Running", [RUNNING, RUNNING], ("Running", "Running")),
        (2, "Running", [ended(), RUNNING], ("Running", "Running")),
        (0, "Pending", [waiting(), waiting()], ("Pending", "Pending")),
        (-1, "Running", [CANCELLED, RUNNING], ("Running", "Running")),
    ],
)
def test_a_task_is_judged_by_its_steps(order, phase, states, found):
    pod = set_states(make_pod(order, phase), **dict(zip("ab", states, strict=False)))
    assert judged(make_task("a", "b"), pod) == found


def test_steps_that_failed_and_continued_are_named_in_the_success():
    pod = set_states(make_pod(3, "Succeeded"), a=continued(), b=ended(), c=continued())
    assert words(make_task("a", "b", "c"), pod) == "all 3 steps ended; failed, and continued: a, c"


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        (ended(3), "exit code 3"),
        (ended(3, reason="Error"), "exit code 3"),
        (ended(3, message="no such thing"), "exit code 3: no such thing"),
        (ended(124, reason="TimedOut", message="told to end"), "exit code 124, TimedOut: told to end"),
        (ended(1, retries=2), "exit code 1, after 2 retries"),
        (
            ended(137, reported=False, reason="OOMKilled"),
            "exit code 137, OOMKilled: the container was out of memory (resources.limits.memory)",
        ),
        (
            ended(137, reported=False),
            "exit code 137, Killed: the container was ended from outside, with its agent",
        ),
    ],
)
def test_a_failure_names_the_step_and_the_cause(state, cause):
    pod = set_states(make_pod(-1, "Failed"), zeta=ended(), alpha=state)
    assert words(make_task("zeta", "alpha"), pod) == f'step "alpha" (2 of 2) failed: {cause}'


def test_the_verdict_waits_for_the_order_that_goes_with_it():
    task, states = make_task("a", "b"), {"a": ended(), "b": ended(1)}
    assert judged(task, set_states(make_pod(2), **states)) == ("Running", "Running")
    assert judged(task, set_states(make_pod(-1), **states)) == ("Failure", "StepFailed")
    states["b"] = ended()
    assert judged(task, set_states(make_pod(1), **states)) == ("Running", "Running")
    assert judged(task, set_states(make_pod(2), **states)) == ("Successful", "Succeeded")


def test_a_pod_that_is_being_deleted_is_not_waited_for():
    pod = ending(set_states(make_pod(1), a=ended(), b=ended()))
    assert judged(make_task("a", "b"), pod) == ("Successful", "Succeeded")


# Cancelled, timed out, held.


@pytest.mark.parametrize(
    ("order", "phase", "states", "found"),
    [
        (0, "Running", [RUNNING, RUNNING], ("Running", "Running")),
        (1, "Running", [RUNNING, RUNNING], ("Running", "Running")),
        (-1, "Running", [RUNNING, CANCELLED], ("Running", "Running")),
        (-1, "Failed", [CANCELLED, CANCELLED], ("Cancelled", "Cancelled")),
        (-1, "Failed", [ended(), CANCELLED], ("Cancelled", "Cancelled")),
        (-1, "Failed", [ended(0, state="Cancelled"), CANCELLED], ("Cancelled", "Cancelled")),
        # What had happened before it could end anything stays.
        (2, "Succeeded", [ended(), ended()], ("Successful", "Succeeded")),
        (-1, "Failed", [ended(1), SKIPPED], ("Failure", "StepFailed")),
        (-1, "Pending", [waiting(), waiting()], ("Cancelled", "Cancelled")),
    ],
)
def test_a_cancelled_task(order, phase, states, found):
    pod = set_states(make_pod(order, phase), a=states[0], b=states[1])
    assert judged(make_task("a", "b", cancel=True), pod) == found


@pytest.mark.parametrize("stop", [{"cancel": True}, {"timeout": PASSED}])
def test_a_stopped_task_does_not_wait_for_a_container_that_can_not_start(stop):
    # The agent that could be told to end has ended; the other container may wait for its image for ever.
    task = started(make_task("a", "b", **stop))
    pod = set_states(make_pod(-1, "Pending"), a=CANCELLED, b=waiting("ImagePullBackOff", "Back-off pulling"))
    assert judged(task, pod) in (("Cancelled", "Cancelled"), ("Failure", "TimedOut"))


@pytest.mark.parametrize(
    ("order", "phase", "states", "now", "found"),
    [
        (1, "Running", [RUNNING, RUNNING], NOW, ("Running", "Running")),
        (-1, "Running", [RUNNING, CANCELLED], NOW, ("Running", "Running")),
        (-1, "Failed", [CANCELLED, CANCELLED], NOW, ("Failure", "TimedOut")),
        (-1, "Failed", [ended(), CANCELLED], NOW, ("Failure", "TimedOut")),
        (-1, "Failed", [], NOW, ("Failure", "TimedOut")),
        (-1, "Pending", [waiting(), waiting("ErrImagePull", "no")], NOW, ("Failure", "TimedOut")),
        (2, "Succeeded", [ended(), ended()], NOW, ("Successful", "Succeeded")),
        (-1, "Failed", [ended(1), SKIPPED], NOW, ("Failure", "StepFailed")),
        # Given up after the grace: its node may be lost.
        (-1, "Running", [RUNNING, RUNNING], LATER, ("Failure", "TimedOut")),
    ],
)
def test_a_task_whose_time_is_up(order, phase, states, now, found):
    pod = set_states(make_pod(order, phase), **dict(zip("ab", states, strict=False)))
    assert judged(started(make_task("a", "b", timeout=PASSED)), pod, now) == found


def test_the_kubelet_may_be_the_first_to_see_that_the_time_is_up():
    task = started(make_task("a", "b", timeout=LEFT))
    pod = set_states(make_pod(-1, "Failed"), a=ended(137, reported=False), b=CANCELLED)
    pod["status"]["reason"] = "DeadlineExceeded"
    assert judged(task, pod) == ("Failure", "TimedOut")
    assert words(task, pod) == "the Task did not end within its timeout of 1h"


def test_what_was_given_up_is_said_to_be_so():
    pod = set_states(make_pod(-1), a=RUNNING, b=RUNNING)
    assert "is its node lost?" in words(started(make_task("a", "b", timeout=PASSED)), pod, LATER)


@pytest.mark.parametrize(
    ("start", "timeout", "up"),
    [
        (CREATED, "35s", True),
        (CREATED, "36s", True),
        (CREATED, "37s", False),
        (None, "1s", False),
        (CREATED, "?", False),
    ],
)
def test_the_time_is_up_when_the_timeout_has_passed_since_the_start(start, timeout, up):
    assert is_time_up(started(make_task("a", timeout=timeout), startTime=start)) == up


def test_another_runs_start_does_not_count():
    task = started(make_task("a", timeout="1s"))
    assert is_time_up(task)
    assert not is_time_up(changed(task, timeout="2s"))


@pytest.mark.parametrize("timeout", ["99999999h", "9999999999999h"])
def test_a_timeout_that_ends_in_no_year_there_is_never_ends(timeout):
    assert not is_time_up(started(make_task("a", timeout=timeout)))


@pytest.mark.parametrize(
    ("hold", "order", "states", "found"),
    [
        ("0", 0, [RUNNING, RUNNING], ("Pending", "Held")),
        ("1", 1, [ended(), RUNNING], ("Running", "Held")),
        ("true", 1, [ended(), RUNNING], ("Running", "Held")),
        ("1", 1, [RUNNING, RUNNING], ("Running", "Running")),
        ("1", 0, [waiting(), RUNNING], ("Pending", "Pending")),
        ("2", 2, [ended(), ended()], ("Successful", "Succeeded")),
    ],
)
def test_a_held_task(hold, order, states, found):
    task = make_task("a", "b", handoff="Annotation", annotations={HOLD: hold})
    pod = set_states(make_pod(order), a=states[0], b=states[1])
    assert judged(task, pod) == found
    if found[1] == "Held":
        assert f"holds the order at {order}" in words(task, pod)


def test_a_task_with_the_local_handoff_is_not_held():
    task = make_task("a", "b", annotations={HOLD: "0"})
    assert judged(task, set_states(make_pod(0), a=RUNNING, b=RUNNING)) == ("Running", "Running")


# Retries and losses.


@pytest.mark.parametrize(
    ("spec", "retry", "found"),
    [
        ({}, 0, ("Failure", "StepFailed")),
        ({"retries": 1}, 0, ("Running", "Retrying")),
        ({"retries": 1}, 1, ("Failure", "StepFailed")),
        ({"retries": 2}, 1, ("Running", "Retrying")),
        ({"retries": 1, "cancel": True}, 0, ("Cancelled", "Cancelled")),
        ({"retries": 1, "timeout": PASSED}, 0, ("Failure", "StepFailed")),
        ({"retries": 1, "timeout": LEFT}, 0, ("Running", "Retrying")),
    ],
)
def test_a_failure_is_retried_while_there_is_a_retry_left(spec, retry, found):
    task = started(make_task("a", "b", **spec))
    pod = set_states(make_pod(-1, "Failed", retry=retry), a=ended(1), b=SKIPPED)
    assert judged(task, pod) == found
    if found[1] == "Retrying":
        assert words(task, pod).endswith(f"failed: exit code 1; retry {retry + 1} of {spec['retries']} follows")


@pytest.mark.parametrize(
    ("phase", "states", "found"),
    [
        ("Failed", [], ("Running", "Retrying")),
        ("Failed", [CANCELLED, CANCELLED], ("Cancelled", "CancelledByOrder")),
        ("Succeeded", [ended(), ended()], ("Successful", "Succeeded")),
    ],
)
def test_what_is_retried(phase, states, found):
    pod = set_states(make_pod(-1, phase), **dict(zip("ab", states, strict=False)))
    pod["metadata"]["annotations"]["taskorder"] = "2" if phase == "Succeeded" else "-1"
    assert judged(make_task("a", "b", retries=1), pod) == found


# The kubelet's words for a container that it has forgotten.
GONE = "The container could not be located when the pod was terminated"
LOW = "The node was low on resource: memory."


def lost(pod, reason, message=LOW):
    pod["status"].update(phase="Failed", reason=reason, message=message)
    return pod


@pytest.mark.parametrize("reason", ["Evicted", "NodeLost", "Shutdown", "Terminated", "OutOfcpu", "NodeAffinity"])
@pytest.mark.parametrize("states", [{}, {"a": ended(137, reported=False)}, {"a": CANCELLED}])
def test_a_lost_pod_is_no_failure_of_its_task(reason, states):
    pod = lost(set_states(make_pod(1), **states), reason)
    assert judged(make_task("a", "b"), pod) == ("Pending", reason)
    assert words(make_task("a", "b"), pod) == f"Pod task-pod-demo-1 was lost, another follows: {LOW}"


@pytest.mark.parametrize("reason", ["Evicted", "Shutdown", "NodeLost"])
def test_a_step_that_failed_by_itself_fails_the_task_though_its_pod_was_lost_then(reason):
    pod = lost(set_states(make_pod(-1), a=ended(3), b=ended(137, reported=False)), reason)
    assert judged(make_task("a", "b"), pod) == ("Failure", "StepFailed")


@pytest.mark.parametrize("kind", ["as it was", "being deleted"])
def test_a_failure_that_is_recorded_of_a_pod_that_was_evicted_is_part_of_the_loss(kind):
    pod = lost(set_states(make_pod(1), a=ended(137, reported=False)), "Evicted")
    task = make_task("a", "b")
    task["status"] = compute_status(task, [pod], None, NOW)
    assert [step["state"] for step in task["status"]["steps"]] == ["Failed", "Waiting"]
    if kind == "being deleted":
        pod["metadata"].update(deletionTimestamp=NOW, deletionGracePeriodSeconds=0)
    assert judged(task, pod)[0] == "Pending"


@pytest.mark.parametrize(
    ("truth", "found"), [("True", ("Pending", "EvictionByAPI")), ("False", ("Failure", "StepFailed"))]
)
def test_a_disrupted_pod_is_a_lost_one(truth, found):
    pod = set_states(make_pod(-1, "Failed"), a=ended(143, reason="Signal", signal=15, told=15), b=SKIPPED)
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "DisruptionTarget", "status": truth, "reason": "EvictionByAPI", "message": "drained"},
    ]
    assert judged(make_task("a", "b"), pod) == found


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        ({"reason": "ContainerStatusUnknown"}, {"reason": "ContainerStatusUnknown"}, "ContainerStatusUnknown"),
        ({"reason": "ContainerStatusUnknown", "message": GONE}, {"reason": "Unknown"}, "ContainerStatusUnknown"),
        ({"reason": "ContainerStatusUnknown", "message": GONE}, {"reason": "Error"}, "StepFailed"),
        ({"reason": "Error"}, {"reason": "ContainerStatusUnknown"}, "StepFailed"),
    ],
)
def test_a_pod_that_its_node_has_forgotten_is_lost(a, b, found):
    states = {"a": ended(137, reported=False, **a), "b": ended(137, reported=False, **b)}
    assert judged(make_task("a", "b"), set_states(make_pod(-1, "Failed"), **states))[1] == found


def test_a_pod_that_was_lost_after_its_last_step_has_succeeded():
    pod = lost(set_states(make_pod(2), a=ended(), b=ended()), "Evicted")
    assert judged(make_task("a", "b"), pod) == ("Successful", "Succeeded")


def test_a_running_pod_that_is_to_be_disrupted_is_not_lost_yet():
    pod = set_states(make_pod(1), a=RUNNING, b=RUNNING)
    pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True"}]
    assert judged(make_task("a", "b"), pod) == ("Running", "Running")


@pytest.mark.parametrize(
    ("spec", "found"),
    [({"cancel": True}, ("Cancelled", "Cancelled")), ({"timeout": PASSED}, ("Failure", "TimedOut"))],
)
def test_a_lost_pod_of_a_task_that_shall_stop_is_its_end(spec, found):
    pod = lost(make_pod(-1), "Evicted")
    assert judged(started(make_task("a", "b", **spec)), pod) == found


# Why it waits.


def test_an_image_that_can_not_be_pulled_is_named_with_its_step():
    pod = set_states(make_pod(0, "Pending"), a=waiting("ImagePullBackOff", "Back-off pulling"), b=waiting())
    assert judged(make_task("a", "b"), pod) == ("Pending", "ImagePullBackOff")
    assert words(make_task("a", "b"), pod) == 'step "a", image : Back-off pulling'
    pod["spec"] = {"containers": [{"name": "a", "image": "busybox:1.28"}, {"name": "b", "image": "x"}]}
    assert words(make_task("a", "b"), pod) == 'step "a", image busybox:1.28: Back-off pulling'


@pytest.mark.parametrize("native", [False, True])
def test_a_sidecars_image_is_told_as_a_sidecars(native):
    task = make_task("a", sidecars=[make_step("s")])
    pod = set_states(make_pod(0, "Pending"), a=waiting())
    where = "initContainerStatuses" if native else "containerStatuses"
    pod["status"].setdefault(where, []).append(
        {"name": "s", "image": "web:1", "state": waiting("ErrImagePull", "refused")}
    )
    assert judged(task, pod) == ("Pending", "ErrImagePull")
    assert words(task, pod) == 'sidecar "s", image web:1: refused'


def test_a_container_that_others_added_is_no_step():
    pod = set_states(make_pod(0, "Pending"), a=waiting(), proxy=waiting("ErrImagePull", "refused"))
    assert words(make_task("a"), pod) == 'container "proxy", image : refused'


def test_an_agent_image_that_can_not_be_pulled_is_told_as_the_agents():
    pod = make_pod(0, "Pending")
    pod["status"]["initContainerStatuses"] = [
        {"name": "taskflow-install", "image": "agent:1", "state": waiting("ErrImagePull", "refused")}
    ]
    assert judged(make_task("a"), pod) == ("Pending", "ErrImagePull")
    assert words(make_task("a"), pod) == "the agent, image agent:1: refused"


def test_an_agent_that_can_not_be_installed_fails_the_task():
    pod = make_pod(-1, "Failed")
    pod["status"]["initContainerStatuses"] = [
        {"name": "taskflow-install", "state": {"terminated": {"exitCode": 1, "message": "disk full"}}}
    ]
    assert judged(make_task("a"), pod) == ("Failure", "AgentInstallFailed")
    assert words(make_task("a"), pod) == "init container taskflow-install ended with exit code 1: disk full"


def test_somebody_elses_init_container_is_not_the_agents():
    pod = make_pod(-1, "Failed")
    pod["status"]["initContainerStatuses"] = [{"name": "mesh", "state": {"terminated": {"exitCode": 1}}}]
    assert judged(make_task("a"), pod) == ("Failure", "PodFailed")


def test_an_unschedulable_pod_says_why():
    pod = make_pod(0, "Pending")
    pod["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
    ]
    assert judged(make_task("a"), pod) == ("Pending", "Unschedulable")
    assert words(make_task("a"), pod) == "0/1 nodes"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (waiting("PodInitializing"), "the Pod is starting"),
        (RUNNING, "the Pod is starting; the first step awaits sidecar s"),
    ],
)
def test_a_sidecar_that_is_not_ready_is_named(state, message):
    task = make_task("a", sidecars=[make_step("s", readinessProbe={"tcpSocket": {"port": 1}}), make_step("t")])
    assert words(task, set_states(make_pod(), a=state, s=state, t=state)) == message


@pytest.mark.parametrize(
    ("due", "found"),
    [(NOW, "WaitingForPod"), ("2024-01-06T22:19:00Z", "PodStuck"), ("2024-01-06T22:19:01Z", "WaitingForPod")],
)
def test_a_pod_that_should_have_ended_long_ago_is_stuck(due, found):
    pod = ending(make_pod(generation=1), due)
    pod["spec"] = {"nodeName": "n1"}
    status = compute_status(make_task("a", generation=2), [pod], None, NOW)
    assert verdict(status) == ("Pending", found)
    assert "task-pod-demo-1 on node n1" in condition(status)["message"]
    if found == "PodStuck":
        assert "kubectl delete pod task-pod-demo-1 --force" in condition(status)["message"]


def test_a_pod_that_has_ended_is_not_waited_for():
    status = compute_status(make_task("a", generation=2), [make_pod(phase="Failed")], None, NOW)
    assert condition(status)["message"] == "the Pod is about to be made"


@pytest.mark.parametrize(
    ("spec", "found"),
    [({"cancel": True}, ("Cancelled", "Cancelled")), ({"timeout": PASSED}, ("Failure", "TimedOut"))],
)
def test_a_task_without_a_pod_that_shall_stop_has_ended(spec, found):
    assert judged(started(make_task("a", **spec)), None) == found


def test_a_node_that_was_started_anew_is_a_loss():
    end = {"terminated": {"exitCode": 255, "reason": "Unknown"}}
    pod = set_states(make_pod(-1, "Failed"), a=end, b=end)
    assert judged(make_task("a", "b"), pod) == ("Pending", "ContainerStatusUnknown")
    pod = set_states(make_pod(-1, "Failed"), a=ended(3), b=end)
    assert judged(make_task("a", "b"), pod) == ("Failure", "StepFailed")


def test_a_cancelled_task_that_loses_its_pod_is_cancelled():
    pod = lost(set_states(make_pod(-1, "Failed"), a=ended(137, reported=False)), "Evicted")
    assert judged(make_task("a", cancel=True), pod) == ("Cancelled", "Cancelled")


def test_an_init_container_of_somebody_else_is_not_the_agents():
    pod = make_pod(-1, "Failed")
    pod["status"]["initContainerStatuses"] = [{"name": "mesh", "state": {"terminated": {"exitCode": 1}}}]
    assert judged(make_task("a"), pod) == ("Failure", "PodFailed")
