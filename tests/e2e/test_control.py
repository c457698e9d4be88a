"""What ends a Task, holds it back, or runs it again."""

from __future__ import annotations

import pytest
from support import (
    Cluster,
    PodWatch,
    alive_at_once,
    condition,
    make_task,
    shell,
    step_states,
    waiter,
)

BOTH = pytest.mark.parametrize("handoff", ["Local", "Annotation"])
# Says when it begins, and has something to say when it is told to end.
TALKER = "trap 'echo told to end; exit 0' TERM; echo begun; while :; do sleep 1; done"


def begun(cluster: Cluster, name: str, other_than: str = "") -> str:
    """Wait until the Task's step a has begun, in another Pod than the given one, and return its Pod."""
    pod: str = cluster.running(name, other_than)["status"]["podName"]
    cluster.wait("the step to say so", lambda: cluster.logs(pod, "a") == "begun\n")
    return pod


def log_of_talker(cluster: Cluster, pod: str) -> list[str]:
    """Return what step a said; not what its shell says of the sleep that was told to end with it."""
    return [line for line in cluster.logs(pod, "a").splitlines() if line != "Terminated"]


def phases_of(cluster: Cluster, task: str) -> dict[str, str]:
    """Return the phase of each of the Task's Pods."""
    return {pod["metadata"]["name"]: pod["status"]["phase"] for pod in cluster.pods_of(task)}


def uid_of(cluster: Cluster, task: str) -> str:
    """Return the UID of the Task's only Pod."""
    (pod,) = cluster.pods_of(task)
    uid: str = pod["metadata"]["uid"]
    return uid


def test_the_timeout_ends_what_runs_and_keeps_its_log(cluster):
    cluster.apply(make_task("slow", shell("a", TALKER), shell("b", "true"), timeout="25s"))
    task = cluster.settled("slow")
    assert (task["status"]["status"], condition(task)["status"]) == ("Failure", "False")
    assert condition(task)["reason"] == "TimedOut" and "timeout of 25s" in condition(task)["message"]
    assert step_states(task)[0] == "Cancelled" and step_states(task)[1] in ("Cancelled", "Skipped")
    assert task["status"]["order"] == "-1"
    assert log_of_talker(cluster, task["status"]["podName"]) == ["begun", "told to end"]
    assert "timeout of 25s" in cluster.event("slow", "Failed")
    # Should the operator be away, the kubelet would end it.
    assert cluster.get("pod", task["status"]["podName"])["spec"]["activeDeadlineSeconds"] > 25


def test_the_timeout_covers_the_time_that_a_task_is_pending(cluster):
    nowhere = {"nodeSelector": {"no": "such-node"}}
    cluster.apply(make_task("nowhere", shell("a", "true"), shell("b", "true"), timeout="25s", podTemplate=nowhere))
    assert "nodes are available" in cluster.event("nowhere", "Unschedulable")
    task = cluster.finished("nowhere")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "TimedOut")
    assert step_states(task) == ["Cancelled", "Cancelled"]
    cluster.wait("its Pod to go, for it could start yet", lambda: not cluster.pods_of("nowhere"))


@BOTH
def test_cancel_ends_what_runs_and_keeps_its_log_and_false_runs_it_again(cluster, handoff):
    watch = PodWatch(cluster.namespace, "stop")
    cluster.apply(make_task("stop", shell("a", TALKER), shell("b", "true"), handoff=handoff))
    pod = begun(cluster, "stop")
    cluster.patch("task", "stop", {"spec": {"cancel": True}})
    task = cluster.settled("stop")
    assert cluster.run("get", "task", "stop", "--no-headers").stdout.split()[1] == "Cancelled"
    assert (condition(task)["status"], condition(task)["reason"]) == ("False", "Cancelled")
    assert step_states(task)[0] == "Cancelled" and step_states(task)[1] in ("Cancelled", "Skipped")
    assert (task["status"]["podName"], task["status"]["order"]) == (pod, "-1")
    assert log_of_talker(cluster, pod) == ["begun", "told to end"]
    assert cluster.logs(pod, "b") == ""
    cluster.event("stop", "Cancelled")
    first = uid_of(cluster, "stop")

    cluster.patch("task", "stop", {"spec": {"cancel": False}})
    begun(cluster, "stop")
    cluster.wait("the first Pod to go", lambda: len(cluster.pods_of("stop")) == 1)
    assert uid_of(cluster, "stop") != first
    assert alive_at_once(watch.stop()) == {0, 1}


def test_a_task_that_is_cancelled_before_it_starts_gets_no_pod(cluster):
    watch = PodWatch(cluster.namespace, "early")
    cluster.apply(make_task("early", shell("a", "true"), shell("b", "true"), cancel=True))
    task = cluster.finished("early")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Cancelled", "Cancelled")
    assert step_states(task) == ["Cancelled", "Cancelled"]
    assert cluster.pods_of("early") == []
    cluster.patch("task", "early", {"spec": {"cancel": False}})
    task = cluster.finished("early")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
    # Nor does it change anything once the Task has ended.
    cluster.patch("task", "early", {"spec": {"cancel": True}})
    assert cluster.finished("early")["status"]["status"] == "Successful"
    assert len({change["object"]["metadata"]["uid"] for change in watch.stop()}) == 1


def test_suspend_holds_a_task_back_and_takes_away_the_pod_of_one_that_runs(cluster):
    watch = PodWatch(cluster.namespace, "later")
    cluster.apply(make_task("later", waiter("a"), shell("b", "true"), suspend=True))
    task = cluster.pending("later", "Suspended")
    assert (condition(task)["status"], step_states(task)) == ("Unknown", ["Waiting", "Waiting"])
    assert cluster.pods_of("later") == []
    cluster.event("later", "Suspended")

    cluster.patch("task", "later", {"spec": {"suspend": False}})
    cluster.running("later")
    first = uid_of(cluster, "later")
    cluster.patch("task", "later", {"spec": {"suspend": True}})
    task = cluster.pending("later", "Suspended")
    assert "podName" not in task["status"] and step_states(task) == ["Waiting", "Waiting"]
    cluster.wait("its Pod to go", lambda: not cluster.pods_of("later"))

    cluster.patch("task", "later", {"spec": {"suspend": False}})
    task = cluster.running("later")
    assert uid_of(cluster, "later") != first
    cluster.tell(task["status"]["podName"], "a")
    task = cluster.finished("later")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
    assert alive_at_once(watch.stop()) == {0, 1}


def test_retries_run_a_failed_task_again_in_a_new_pod(cluster):
    watch = PodWatch(cluster.namespace, "again")
    cluster.apply(make_task("again", waiter("a"), shell("b", "echo b"), retries=2))
    first = cluster.running("again")["status"]["podName"]
    cluster.tell(first, "a", 4)
    task = cluster.running("again", other_than=first)
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)
    cluster.tell(task["status"]["podName"], "a")
    task = cluster.settled("again")
    assert task["status"]["status"] == "Successful", condition(task)
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)
    assert "attempt 2, retry 1 of 2" in cluster.event("again", "Created", "attempt 2")
    assert alive_at_once(watch.stop()) == {0, 1}
    # Both Pods stay for their logs. The kubelet tells of a Pod's phase after its containers' ends.
    phases = {first: "Failed", task["status"]["podName"]: "Succeeded"}
    cluster.wait("the Pods to end", lambda: phases_of(cluster, "again") == phases)


def test_a_task_whose_retries_all_fail_is_a_failure(cluster):
    watch = PodWatch(cluster.namespace, "hopeless")
    cluster.apply(make_task("hopeless", shell("a", "echo try; exit 4"), shell("b", "true"), retries=1))
    task = cluster.settled("hopeless")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "StepFailed")
    assert 'step "a" (1 of 2) failed: exit code 4' in condition(task)["message"]
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)
    pods = [pod["metadata"]["name"] for pod in cluster.pods_of("hopeless")]
    assert [cluster.logs(pod, "a") for pod in pods] == ["try\n"] * 2
    # They stay, although the kubelet tells of a Pod's phase only after its containers' ends.
    cluster.wait("the Pods to end", lambda: phases_of(cluster, "hopeless") == dict.fromkeys(pods, "Failed"))
    changes = watch.stop()
    assert alive_at_once(changes) == {0, 1}
    assert not any(change["object"]["metadata"].get("deletionTimestamp") for change in changes)


def test_labels_annotations_and_the_time_to_live_may_change_while_a_task_runs(cluster):
    cluster.apply(make_task("mortal", waiter("a"), shell("b", "true"), ttlSecondsAfterFinished=3600))
    pod = cluster.running("mortal")["status"]["podName"]
    before = uid_of(cluster, "mortal")
    cluster.run("label", "task", "mortal", "team=x")
    cluster.run("annotate", "task", "mortal", "example.com/note=y")
    cluster.patch("task", "mortal", {"spec": {"ttlSecondsAfterFinished": 7200}})
    cluster.wait("the operator to see it", lambda: cluster.task("mortal")["status"]["observedGeneration"] == 2)
    cluster.tell(pod, "a")
    task = cluster.finished("mortal")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
    assert uid_of(cluster, "mortal") == before

    cluster.patch("task", "mortal", {"spec": {"ttlSecondsAfterFinished": 2}})
    cluster.wait("the Task to go", lambda: cluster.run("get", "task", "mortal", check=False).returncode)
    cluster.wait("its Pod to go", lambda: not cluster.pods_of("mortal"))


def test_the_time_to_live_begins_when_the_task_has_ended(cluster):
    cluster.apply(make_task("brief", waiter("a"), ttlSecondsAfterFinished=15))
    pod = cluster.running("brief")["status"]["podName"]
    cluster.tell(pod, "a", 3)
    assert cluster.finished("brief")["status"]["status"] == "Failure"
    cluster.wait("the Task to go", lambda: cluster.run("get", "task", "brief", check=False).returncode)
    cluster.wait("its Pod to go", lambda: not cluster.pods_of("brief"))
