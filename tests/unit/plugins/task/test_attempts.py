"""Which Pod is a Task's, and when a new one is due."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import Attempt, spec_hash
from ansible_collections.taskflow.operator.plugins.module_utils._task.attempts import Plan
from hypothesis import given
from hypothesis import strategies as st
from support.tasks import looks as _looks
from support.tasks.factory import (
    CREATED,
    LATER,
    NOW,
    RUNNING,
    changed,
    condition,
    ended,
    ending,
    make_pod,
    make_task,
    set_states,
    verdict,
    waiting,
)
from support.tasks.looks import compute_status

SKIPPED = ended(1, state="Skipped")


def plan_pods(task, pods, now=NOW):
    return _looks.plan_pods(task, pods, now)


def recorded(task, pods=(), now=NOW, **fields):
    """Return the Task with the status that it gets with these Pods."""
    return {**task, "status": {**compute_status(task, list(pods), None, now), **fields}}


def running(**fields):
    return set_states(make_pod(1, **fields), a=RUNNING)


def failed(**fields):
    return set_states(make_pod(-1, "Failed", **fields), a=ended(1))


def evicted(**fields):
    return evict(make_pod(1, "Failed", **fields))


def evict(pod):
    """Have the kubelet say that it has evicted the Pod for its node's sake."""
    pod["status"].update(reason="Evicted", message="The node was low on resource: memory. ")
    return pod


def stepless(**fields):
    """Return a Pod not one of whose containers has started."""
    return set_states(make_pod(0, "Pending", **fields), a=waiting())


def test_a_new_task_gets_its_first_pod():
    plan = plan_pods(make_task("a"), [])
    assert (plan.action, plan.attempt, plan.why) == ("created", Attempt(1, 0), "")


@pytest.mark.parametrize("pod", [running(), stepless(), failed(), set_states(make_pod(1, "Succeeded"), a=ended())])
def test_the_pod_of_the_present_spec_is_kept(pod):
    plan = plan_pods(make_task("a"), [pod])
    assert (plan.action, plan.current, plan.delete, plan.attempt) == ("kept", pod, (), None)


def test_the_pod_of_an_earlier_spec_goes_first():
    old, task = running(), make_task("a", generation=2)
    plan = plan_pods(task, [old])
    assert (plan.action, plan.delete, plan.attempt) == ("waiting", (old,), None)
    plan = plan_pods(task, [ending(old)])
    assert (plan.action, plan.delete, plan.attempt) == ("waiting", (), None)
    assert plan_pods(task, []).attempt == Attempt(1, 0)


def test_a_pod_that_has_ended_is_in_nobodys_way():
    old = failed()
    plan = plan_pods(make_task("a", generation=2), [old])
    assert (plan.action, plan.delete, plan.attempt) == ("created", (old,), Attempt(1, 0))


@pytest.mark.parametrize("control", [{"cancel": False}, {"suspend": False}, {"ttlSecondsAfterFinished": 9}])
def test_a_control_field_does_not_replace_the_run(control):
    task = make_task("a")
    pod = running(of=task)
    plan = plan_pods(changed(task, **control), [pod])
    assert (plan.action, plan.current) == ("kept", pod)


@pytest.mark.parametrize("change", [{"timeout": "1h"}, {"retries": 1}, {"steps": make_task("b")["spec"]["steps"]}])
def test_any_other_field_does(change):
    task = make_task("a")
    pod = running(of=task)
    plan = plan_pods(changed(task, **change), [pod])
    assert (plan.action, plan.current, plan.delete) == ("waiting", None, (pod,))


def test_the_last_attempts_pod_is_the_present_one_whatever_the_order_of_the_list():
    first, second = failed(name="z"), running(name="a", attempt=2)
    for pods in ([first, second], [second, first]):
        plan = plan_pods(make_task("a"), pods)
        assert (plan.current, plan.delete) == (second, ())


def test_a_second_live_pod_of_the_same_attempt_goes():
    first, second = running(name="p1"), running(name="p2")
    for pods in ([first, second], [second, first]):
        plan = plan_pods(make_task("a"), pods)
        assert (plan.current, plan.delete) == (second, (first,))


# A Task that has ended.


@pytest.mark.parametrize("word", ["Successful", "Failure", "Cancelled"])
def test_a_finished_task_gets_no_new_pod_until_its_spec_changes(word):
    task = make_task("a")
    task["status"] = {"status": word, "observedGeneration": 1, "attempts": 1, "specHash": spec_hash(task)}
    assert plan_pods(task, []).attempt is None
    assert plan_pods(task, []).action == "finished"
    assert plan_pods(changed(task, suspend=True), []).action == "finished"
    assert plan_pods(changed(task, timeout="1s"), []).attempt == Attempt(1, 0)


def test_a_finished_tasks_pods_stay_for_their_logs():
    task = make_task("a", retries=1)
    first, second = failed(of=task), failed(name="p2", attempt=2, retry=1, of=task)
    task = recorded(task, [first, second])
    assert verdict(task["status"]) == ("Failure", "StepFailed")
    plan = plan_pods(task, [first, second])
    assert (plan.action, plan.current, plan.delete) == ("finished", second, ())


def test_a_task_that_is_being_deleted_is_left_alone():
    plan = plan_pods(ending(make_task("a", generation=2)), [running()])
    assert (plan.action, plan.delete, plan.attempt) == ("finished", (), None)


# Losses.


@pytest.mark.parametrize("pods", [[], [ending(running())]])
def test_a_deleted_pod_is_replaced_when_it_is_gone(pods):
    task = recorded(make_task("a"), [running()])
    plan = plan_pods(task, pods)
    if pods:
        assert (plan.action, plan.current, plan.attempt) == ("waiting", None, None)
    else:
        assert (plan.action, plan.attempt) == ("created", Attempt(2, 0))
        assert plan.why == "the one before was lost: its Pod task-pod-demo-1 was removed before its end was known"


def test_an_evicted_pod_is_replaced_at_once_and_stays():
    plan = plan_pods(make_task("a"), [evicted()])
    assert (plan.action, plan.attempt, plan.delete) == ("created", Attempt(2, 0), ())
    assert plan.why == "the one before was lost: Evicted"


@pytest.mark.parametrize(
    ("attempt", "retry", "due"),
    [
        (1, 0, Attempt(2, 0)),
        (2, 0, Attempt(3, 0)),
        (3, 0, None),
        (3, 1, Attempt(4, 1)),
        (4, 1, None),
        (5, 4, Attempt(6, 4)),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_a_lost_pod_is_replaced_until_three_have_been_lost(attempt, retry, due, is_there):
    task, pods = make_task("a", retries=9), [evicted(attempt=attempt, retry=retry)]
    if not is_there:
        task, pods = recorded(task, [running(attempt=attempt, retry=retry)]), []
    if due:
        assert plan_pods(task, pods).attempt == due
        return
    with pytest.raises(TaskError, match="3 Pods of this Task") as caught:
        plan_pods(task, pods)
    assert (caught.value.reason, caught.value.permanent) == ("PodLost", True)
    cause = "Evicted: The node was low on resource: memory." if is_there else "deleted, or removed with its node"
    assert caught.value.message.endswith(f"The last one: {cause}")


def test_the_cause_of_the_last_loss_is_told_of_a_pod_that_somebody_deletes_as_well():
    """Its finalizer keeps it until the loss is recorded."""
    pod = evicted(attempt=3)
    task = recorded(make_task("a"), [pod])
    task["status"]["podUID"] = pod["metadata"]["uid"]
    pod["metadata"]["finalizers"] = ["api.practice.com/task-tracking"]
    with pytest.raises(TaskError, match="The last one: Evicted: The node was low on resource: memory"):
        plan_pods(task, [ending(pod)])


def on_a_node(pod):
    return {**pod, "spec": {"nodeName": "worker", "containers": [{"name": "a", "image": "i"}]}}


def test_a_lost_pod_is_replaced_when_its_containers_have_ended():
    task, pod = make_task("a"), on_a_node(evict(set_states(make_pod(1, "Failed"), a=RUNNING)))
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    status = recorded(task, [pod])["status"]
    assert verdict(status) == ("Pending", "Evicted")
    assert "another follows when its containers have ended" in condition(status)["message"]
    set_states(pod, a=ended(137, reported=False))
    assert plan_pods(task, [pod]).attempt == Attempt(2, 0)


def test_a_pod_that_failed_is_not_told_to_end_by_what_others_have_added():
    pod = on_a_node(set_states(make_pod(-1, "Failed"), a=ended(1), mesh=RUNNING))
    assert plan_pods(make_task("a", retries=1), [pod]) == Plan("waiting", pod)
    pod["status"]["phase"] = "Running"
    assert plan_pods(make_task("a", retries=1), [pod]).end == pod


def test_a_pod_that_is_deleted_after_its_last_step_is_not_lost():
    pod = ending(set_states(make_pod(1), a=ended()))
    plan = plan_pods(make_task("a"), [pod])
    assert (plan.action, plan.current) == ("kept", pod)


def test_failed_attempts_are_not_taken_for_the_last_ones_when_that_is_gone():
    task = make_task("a", retries=3)
    first, second = failed(of=task), running(name="p2", attempt=2, retry=1, of=task)
    task = recorded(task, [first, second])
    plan = plan_pods(task, [first])
    assert (plan.attempt, plan.delete) == (Attempt(3, 1), ())


# Retries.


def test_a_failed_attempt_is_kept_and_followed_by_a_retry():
    plan = plan_pods(make_task("a", retries=2), [failed()])
    assert (plan.action, plan.attempt, plan.why, plan.delete) == ("created", Attempt(2, 1), "retry 1 of 2", ())
    plan = plan_pods(make_task("a", retries=2), [failed(), failed(name="p2", attempt=2, retry=1)])
    assert (plan.attempt, plan.why, plan.delete) == (Attempt(3, 2), "retry 2 of 2", ())
    pods = [failed(), failed(name="p2", attempt=2, retry=1), failed(name="p3", attempt=3, retry=2)]
    plan = plan_pods(make_task("a", retries=2), pods)
    assert (plan.action, plan.attempt, plan.delete) == ("kept", None, ())


def test_a_retry_follows_only_when_all_of_the_pod_has_ended():
    pod = set_states(make_pod(-1), a=ended(1), b=RUNNING)
    plan = plan_pods(make_task("a", "b", retries=1), [pod])
    assert (plan.action, plan.attempt) == ("kept", None)


def test_a_retry_follows_only_when_no_other_pod_is_alive():
    other = running(name="p0", generation=0)
    plan = plan_pods(make_task("a", retries=1), [failed(), other])
    assert (plan.action, plan.attempt, plan.delete) == ("waiting", None, (other,))


def test_containers_that_others_added_do_not_keep_a_retry_from_following():
    pod = set_states(make_pod(-1), a=ended(1), mesh=RUNNING)
    task = make_task("a", retries=1)
    plan = plan_pods(task, [pod])
    # It is ended first, and stays for its logs.
    assert (plan.action, plan.attempt, plan.delete, plan.end, plan.fault) == ("waiting", None, (), pod, "")
    pod["spec"] = {"activeDeadlineSeconds": 1}
    assert plan_pods(task, [pod]).end is None
    # Ended so, it has still failed by its step, and not by the time that it took.
    pod["status"].update(phase="Failed", reason="DeadlineExceeded")
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.attempt, plan.delete) == ("created", Attempt(2, 1), ())


# The kubelet tells of the containers' ends before the phase is terminal.


def over(**fields):
    """Return a Pod whose containers have ended, which its phase does not say yet."""
    return set_states(make_pod(-1, "Running", **fields), a=ended(1))


def test_a_pod_that_is_over_stays_and_is_followed_by_a_retry_at_once():
    task = make_task("a", retries=2)
    first = over(of=task)
    plan = plan_pods(task, [first])
    assert (plan.action, plan.attempt, plan.delete, plan.end) == ("created", Attempt(2, 1), (), None)
    second = over(of=task, name="p2", attempt=2, retry=1)
    plan = plan_pods(task, [first, second])
    assert (plan.action, plan.attempt, plan.delete) == ("created", Attempt(3, 2), ())
    third = running(of=task, name="p3", attempt=3, retry=2)
    plan = plan_pods(task, [first, second, third])
    assert (plan.action, plan.current, plan.delete) == ("kept", third, ())


def test_a_pod_that_is_over_and_decides_the_task_stays():
    task = make_task("a")
    pod = over(of=task)
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    task = recorded(task, [pod])
    assert verdict(task["status"]) == ("Failure", "StepFailed")
    assert plan_pods(task, [pod]) == Plan("finished", pod)


@pytest.mark.parametrize("stop", [{"cancel": True}, {"timeout": "1s"}])
def test_a_pod_that_is_over_is_not_one_that_has_not_started(stop):
    task = make_task("a", **stop)
    pod = set_states(make_pod(-1, "Pending", of=task), a=ended(143, state="Cancelled"))
    task = recorded(task, [pod], startTime=CREATED)
    assert plan_pods(task, [pod], LATER).delete == ()


def test_a_native_sidecar_that_still_runs_is_awaited_and_its_pod_left_alone():
    task = make_task("a", retries=1, sidecars=[{"name": "s", "image": "i"}])
    pod = over(of=task)
    pod["spec"] = {"initContainers": [{"name": "s"}]}
    pod["status"]["initContainerStatuses"] = [{"name": "s", "state": RUNNING}]
    assert plan_pods(task, [pod]) == Plan("waiting", pod)
    # One that died beside the steps is not started again once they have ended.
    crashed = {"state": waiting("CrashLoopBackOff"), "lastState": ended(1, reported=False)}
    pod["status"]["initContainerStatuses"] = [{"name": "s", **crashed}]
    assert plan_pods(task, [pod]).attempt == Attempt(2, 1)


def test_a_pod_of_another_run_that_is_over_goes_but_nobody_waits_for_it():
    pod = over(name="old", generation=7)
    plan = plan_pods(make_task("a"), [pod])
    assert (plan.action, plan.attempt, plan.delete) == ("created", Attempt(1, 0), (pod,))


@pytest.mark.parametrize("killed", [ended(137, reported=False), ended(143, reason="Signal")])
def test_what_was_ended_from_outside_may_be_lost_until_the_phase_says_it(killed):
    task = make_task("a", retries=1)
    pod = set_states(make_pod(-1, "Running", of=task), a=killed)
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    assert verdict(recorded(task, [pod])["status"]) == ("Running", "Running")
    pod["status"].update(phase="Failed")
    assert plan_pods(task, [pod]).attempt == Attempt(2, 1)
    assert plan_pods(task, [evict(pod)]).attempt == Attempt(2, 0)


# A sidecar that fails before the first step's turn.


def sidecar_task(**spec):
    return make_task("a", sidecars=[{"name": "s", "image": "i", "command": ["c"]}], **spec)


def stuck(**fields):
    """Return a Pod that the kubelet holds back, for its native sidecar crashes."""
    pod = stepless(**fields)
    pod["spec"] = {"initContainers": [{"name": "taskflow-install"}, {"name": "s"}]}
    crashed = {"state": waiting("CrashLoopBackOff", "back-off 10s"), "lastState": ended(3, reported=False)}
    pod["status"]["initContainerStatuses"] = [{"name": "s", "restartCount": 1, **crashed}]
    return pod


def marked(pod):
    """Return the Pod as it is once it was told to end for its sidecar."""
    pod["metadata"]["annotations"].update({"taskorder": "-1", "api.practice.com/sidecar-failed": "sidecar s failed"})
    pod.setdefault("spec", {})["activeDeadlineSeconds"] = 1
    return pod


def test_a_pod_whose_sidecar_fails_is_ended_and_not_deleted():
    pod = stuck()
    plan = plan_pods(sidecar_task(), [pod])
    assert (plan.action, plan.current, plan.delete, plan.end) == ("kept", pod, (), pod)
    assert plan.fault == (
        'sidecar "s" ended before the first step began: exit code 3; its log: kubectl logs task-pod-demo-1 -c s'
    )


def test_a_sidecar_that_failed_is_the_tasks_failure_and_its_pod_stays():
    task = sidecar_task()
    pod = marked(stuck(of=task))
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    task = recorded(task, [pod])
    assert verdict(task["status"]) == ("Failure", "SidecarFailed")
    assert [step["state"] for step in task["status"]["steps"]] == ["Cancelled"]
    assert plan_pods(task, [pod]) == Plan("finished", pod)
    # Neither is it out of time.
    pod["status"].update(phase="Failed", reason="DeadlineExceeded")
    assert verdict(recorded(sidecar_task(), [pod])["status"]) == ("Failure", "SidecarFailed")


def test_a_sidecar_that_failed_is_retried_once_its_pod_has_ended():
    task = sidecar_task(retries=1)
    pod = marked(stuck(of=task))
    assert plan_pods(task, [pod]).action == "kept"
    assert verdict(recorded(task, [pod])["status"]) == ("Running", "Retrying")
    pod["status"].update(phase="Failed", reason="DeadlineExceeded")
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.attempt, plan.delete) == ("created", Attempt(2, 1), ())


@pytest.mark.parametrize("stop", [{"cancel": True}, {"suspend": True}])
def test_a_sidecar_that_fails_is_of_no_matter_to_a_task_that_shall_not_run(stop):
    pod = stuck()
    plan = plan_pods(sidecar_task(**stop), [pod])
    assert (plan.end, plan.delete) == (None, (pod,))


def test_a_pod_that_failed_by_its_sidecar_is_not_lost_when_somebody_deletes_it():
    task = sidecar_task()
    assert plan_pods(task, [ending(marked(stuck(of=task)))]).attempt is None


# A first step that did not begin, since a sidecar had failed by then.


def refused_pod(phase="Running", sidecar=None, **fields):
    """Return a Pod whose steps have ended without having begun; its sidecar is native."""
    report = {"reason": "SidecarFailed", "sidecar": "s", "message": 'sidecar "s" ended before the first step began'}
    pod = set_states(make_pod(0, phase, **fields), a=ended(1, "Skipped", **report))
    pod["spec"] = {"initContainers": [{"name": "taskflow-install"}, {"name": "s"}]}
    crashed = {"state": waiting("CrashLoopBackOff"), "lastState": ended(3, finishedAt="2024-01-06T22:19:30.500Z")}
    pod["status"]["initContainerStatuses"] = [{"name": "s", "restartCount": 1, **(sidecar or crashed)}]
    return pod


def test_steps_that_never_ran_for_a_sidecar_are_its_failure():
    task = sidecar_task()
    pod = refused_pod(of=task)
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    # The order goes with the verdict, and comes first.
    assert verdict(recorded(task, [pod])["status"]) == ("Running", "Running")
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    status = recorded(task, [pod])["status"]
    assert verdict(status) == ("Failure", "SidecarFailed")
    assert condition(status)["message"] == (
        'sidecar "s" ended before the first step began: exit code 3; its log: kubectl logs task-pod-demo-1 -c s'
    )
    assert ([step["state"] for step in status["steps"]], status["completionTime"]) == (["Skipped"], NOW)
    assert plan_pods({**task, "status": status}, [pod]) == Plan("finished", pod)


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"sidecar": "s", "message": "words"}, "words; its log: kubectl logs task-pod-demo-1 -c s"),
        ({"sidecar": "s"}, "a sidecar ended before the first step began; its log: kubectl logs task-pod-demo-1 -c s"),
        ({"message": "words"}, "words"),
        ({}, "a sidecar ended before the first step began"),
    ],
)
def test_the_first_steps_words_are_told_while_the_sidecars_end_is_not(report, words):
    pod = refused_pod(sidecar={"state": RUNNING})
    set_states(pod, a=ended(1, "Skipped", **report))
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    assert condition(recorded(sidecar_task(), [pod])["status"])["message"] == words


def test_they_are_retried_once_the_kubelet_has_stopped_the_native_sidecar():
    task = sidecar_task(retries=1)
    pod = refused_pod(of=task, sidecar={"state": RUNNING, "lastState": ended(3)})
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    assert plan_pods(task, [pod]) == Plan("waiting", pod)
    assert verdict(recorded(task, [pod])["status"]) == ("Running", "Retrying")
    pod["status"]["initContainerStatuses"][0]["state"] = ended(143)
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.attempt, plan.delete, plan.end) == ("created", Attempt(2, 1), (), None)


def test_a_pod_of_which_a_container_has_yet_to_start_is_ended():
    task = make_task("a", "b", sidecars=[{"name": "s", "image": "i", "command": ["c"]}])
    pod = refused_pod(of=task)
    pod["status"]["containerStatuses"].append({"name": "b", "state": waiting("ImagePullBackOff", "no such image")})
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.delete, plan.end) == ("kept", (), pod)
    assert plan.fault.startswith('sidecar "s" ended before the first step began: exit code 3')


@pytest.mark.parametrize(("report", "is_a_failure"), [({}, True), ({"told": 15}, False)])
def test_a_sidecar_of_a_pod_that_is_deleted_counts_as_failed_unless_it_was_told_to_end(report, is_a_failure):
    died = ended(3, **report)
    pod = ending(refused_pod(sidecar={"state": RUNNING, "lastState": died}), "2024-01-06T22:21:00Z")
    assert plan_pods(sidecar_task(), [pod]).current == (pod if is_a_failure else None)


def test_a_sidecar_that_was_ended_from_outside_may_have_been_lost_with_its_pod():
    task = sidecar_task(retries=1)
    pod = refused_pod(of=task)
    del pod["spec"], pod["status"]["initContainerStatuses"]
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    pod["status"]["containerStatuses"].append({"name": "s", "state": ended(143, reason="Signal")})
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    pod["status"].update(phase="Failed")
    assert plan_pods(task, [pod]).attempt == Attempt(2, 1)
    assert plan_pods(task, [evict(pod)]).attempt == Attempt(2, 0)


def test_a_retry_keeps_what_was_lost_in_mind():
    assert plan_pods(make_task("a", retries=1), [failed(attempt=3)]).attempt == Attempt(4, 1)


# Cancel, suspend, timeout.


def test_a_cancelled_task_gets_no_pod():
    plan = plan_pods(make_task("a", cancel=True), [])
    assert (plan.action, plan.attempt) == ("finished", None)


def test_a_cancelled_tasks_pod_is_kept_so_that_it_can_be_told():
    pod = running()
    plan = plan_pods(make_task("a", cancel=True), [pod])
    assert (plan.action, plan.current, plan.delete) == ("kept", pod, ())


@pytest.mark.parametrize("stop", ["cancel", "timeout"])
def test_a_pod_that_has_not_started_is_deleted_when_the_task_shall_stop(stop):
    task = make_task("a", **({"cancel": True} if stop == "cancel" else {"timeout": "1s"}))
    pod = stepless()
    task = recorded(task, [pod], startTime=CREATED) if stop == "timeout" else task
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.current, plan.delete) == ("finished", None, (pod,))
    found = compute_status(task, [ending(pod)], None, NOW)
    assert verdict(found) == (("Cancelled", "Cancelled") if stop == "cancel" else ("Failure", "TimedOut"))
    assert [s["state"] for s in found["steps"]] == ["Cancelled"]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_failed_pod_is_neither_retried_nor_replaced_once_the_task_shall_stop(retries):
    for pod in (failed(), evicted()):
        plan = plan_pods(make_task("a", cancel=True, retries=retries), [pod])
        assert (plan.action, plan.attempt, plan.delete) == ("kept", None, ())


def cancelled_run(**spec):
    """Return a Task that spec.cancel has ended, and its Pod."""
    task = make_task("a", cancel=True, **spec)
    pod = set_states(make_pod(-1, "Failed", of=task), a=ended(143, state="Cancelled"))
    pod["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    task = recorded(task, [pod])
    assert verdict(task["status"]) == ("Cancelled", "Cancelled")
    return task, pod


def test_a_cancelled_task_runs_again_from_the_start_when_cancel_is_false_again():
    task, pod = cancelled_run()
    assert plan_pods(task, [pod]).action == "finished"
    plan = plan_pods(changed(task, cancel=False), [pod])
    assert (plan.action, plan.current, plan.delete, plan.attempt) == ("created", None, (pod,), Attempt(1, 0))


def test_a_cancelled_runs_failed_attempts_are_not_those_of_the_next_run():
    task = make_task("a", cancel=True, retries=2)
    first = failed(of=task)
    second = set_states(make_pod(-1, "Failed", "p2", attempt=2, retry=1, of=task), a=ended(143, state="Cancelled"))
    second["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    task = recorded(task, [first, second])
    assert verdict(task["status"]) == ("Cancelled", "Cancelled")
    plan = plan_pods(changed(task, cancel=False), [first, second])
    assert plan.current is None
    assert plan.attempt in (None, Attempt(1, 0))


def test_a_failed_pod_that_was_cancelled_instead_of_retried_is_not_the_next_runs():
    task = make_task("a", cancel=True, retries=1)
    # Its order was -1 before cancel came.
    pod = failed(of=task)
    task = recorded(task, [pod])
    assert verdict(task["status"]) == ("Cancelled", "Cancelled")
    plan = plan_pods(changed(task, cancel=False), [pod])
    assert plan.current is None
    assert plan.attempt in (None, Attempt(1, 0))


def test_a_run_that_is_cancelled_and_at_once_not_cancelled_is_no_lost_pod():
    task = make_task("a", cancel=True)
    pod = running(of=task)
    task = recorded(task, [pod])
    pod["metadata"]["annotations"].update({"taskorder": "-1", "api.practice.com/cancelled": "true"})
    task = changed(task, cancel=False)
    assert plan_pods(task, [pod]).delete == (pod,)
    assert "lost" not in plan_pods(task, []).why


def test_a_suspended_task_has_no_pod():
    pods = [running(), failed(name="p0"), running(name="old", generation=7), ending(running(name="gone"))]
    plan = plan_pods(make_task("a", suspend=True), pods)
    assert (plan.action, plan.current, plan.delete, plan.attempt) == ("suspended", None, tuple(pods[:3]), None)


def test_cancel_counts_more_than_suspend():
    pod = running()
    plan = plan_pods(make_task("a", suspend=True, cancel=True), [pod])
    assert (plan.action, plan.current, plan.delete) == ("kept", pod, ())
    assert verdict(compute_status(make_task("a", suspend=True, cancel=True), [], None, NOW)) == (
        "Cancelled",
        "Cancelled",
    )


@pytest.mark.parametrize(
    ("pod", "word"),
    [(set_states(make_pod(1, "Succeeded"), a=ended()), "Successful"), (failed(), "Failure")],
)
def test_suspend_comes_too_late_for_a_task_that_has_ended_though_it_was_not_recorded(pod, word):
    task = make_task("a", suspend=True)
    plan = plan_pods(task, [pod])
    assert (plan.current, plan.delete) == (pod, ())
    assert compute_status(task, [pod], None, NOW)["status"] == word


def test_suspend_comes_in_time_for_a_task_that_would_be_tried_again():
    plan = plan_pods(make_task("a", suspend=True, retries=1), [failed()])
    assert (plan.action, plan.attempt) == ("suspended", None)


def test_a_suspended_task_starts_from_the_beginning_when_it_resumes():
    task = make_task("a")
    pod = running(of=task, attempt=2, retry=1)
    task = changed(recorded(task, [pod]), suspend=True)
    task = recorded(task, [ending(pod)])
    assert verdict(task["status"]) == ("Pending", "Suspended")
    task = changed(task, suspend=False)
    assert plan_pods(task, [pod]).action == "waiting"
    assert plan_pods(task, []).attempt == Attempt(1, 0)


def test_a_task_whose_time_is_up_gets_no_pod():
    task = recorded(make_task("a", timeout="1m"), startTime=CREATED)
    assert plan_pods(task, [], NOW).attempt == Attempt(1, 0)
    plan = plan_pods(task, [], LATER)
    assert (plan.action, plan.attempt) == ("finished", None)


PODS = st.builds(
    lambda g, n, r, kind, gone: (kind, {"generation": g, "attempt": n, "retry": min(r, n - 1)}, gone),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(0, 2),
    st.sampled_from([running, failed, evicted, stepless]),
    st.booleans(),
)


@given(
    st.lists(PODS, max_size=4),
    st.integers(1, 2),
    st.sampled_from([None, "Running", "Successful", "Failure"]),
    st.fixed_dictionaries({}, optional={"cancel": st.booleans(), "suspend": st.booleans(), "retries": st.just(2)}),
)
def test_no_pod_is_created_while_another_may_run(pods, generation, word, spec):
    task = make_task("a", generation=generation, **spec)
    if word:
        task["status"] = {"status": word, "observedGeneration": generation, "attempts": 1}
    made = [kind(name=f"p{i}", **fields) for i, (kind, fields, _) in enumerate(pods)]
    for pod, (_, _, gone) in zip(made, pods, strict=True):
        if gone:
            ending(pod)
    try:
        plan = plan_pods(task, made)
    except TaskError as error:
        assert error.reason == "PodLost"
        return
    alive = [p for p in made if p["status"]["phase"] not in ("Failed", "Succeeded")]
    assert plan.attempt is None or not alive
    assert plan.attempt is None or (not task["spec"].get("cancel") and not task["spec"].get("suspend"))
    assert (plan.attempt is not None) == (plan.action == "created")
    assert not [p for p in plan.delete if "deletionTimestamp" in p["metadata"]]
    assert plan.current not in plan.delete
    staying = [p for p in alive if "deletionTimestamp" not in p["metadata"] and p not in plan.delete]
    assert len(staying) <= 1
    if plan.action == "suspended":
        assert staying == []


def test_a_container_that_somebody_added_does_not_hold_up_a_retry():
    task = make_task("a", retries=1)
    pod = set_states(make_pod(-1, "Running", of=task), a=ended(1))
    pod["status"]["containerStatuses"].append({"name": "istio-proxy", "state": {"running": {}}})
    plan = plan_pods(task, [pod])
    # It is still alive, and has to end first.
    assert (plan.action, plan.delete, plan.end, plan.attempt) == ("waiting", (), pod, None)


def test_cancel_wins_over_suspend():
    task = make_task("a", suspend=True, cancel=True)
    assert plan_pods(task, [running(of=task)]).action == "kept"
    assert plan_pods(task, []).action == "finished"
    assert verdict(recorded(task, [])["status"]) == ("Cancelled", "Cancelled")


def test_suspend_does_not_take_away_a_pod_that_has_decided_the_task():
    task = make_task("a", suspend=True)
    pod = set_states(make_pod(0, "Succeeded", of=task), a=ended())
    assert plan_pods(task, [pod]).action == "kept"


def test_a_step_that_failed_by_itself_has_failed_though_its_pod_is_deleted():
    task = make_task("a")
    pod = ending(failed(of=task))
    assert plan_pods(task, [pod]).current is pod


@pytest.mark.parametrize(
    "reason, message",
    [
        ("Evicted", 'Usage of EmptyDir volume "x" exceeds the limit "1Mi". '),
        ("DeadlineExceeded", "was active too long"),
    ],
)
def test_a_pod_that_has_failed_and_is_deleted_is_followed_by_a_retry(reason, message):
    pod = set_states(make_pod(-1, "Failed"), a=ended(137, reported=False))
    pod["spec"] = {"activeDeadlineSeconds": 1} if reason == "DeadlineExceeded" else {}
    pod["status"].update(reason=reason, message=message)
    task = recorded(make_task("a", retries=2), [pod])
    assert verdict(task["status"]) == ("Running", "Retrying")
    pod["metadata"].update(deletionTimestamp=NOW, deletionGracePeriodSeconds=0)
    assert plan_pods(task, [pod]).attempt == Attempt(2, 1)
