"""The operator is away, or is killed, while others go on. Run alone: no other test may need it then."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import Cluster, Object, PodWatch, alive_at_once, condition, make_task, shell, waiter
from support.installation import come_back, go_away, kill, wait_ready

FINALIZER = "api.practice.com/task-tracking"


@pytest.fixture(autouse=True)
def operator_back() -> Iterator[None]:
    """Whatever a test does to the operator, it is there again afterwards."""
    yield
    come_back()


@pytest.fixture
def running(cluster: Cluster) -> Object:
    """A Task whose step runs, and waits for a word; its Pod."""
    cluster.apply(make_task("own", waiter("a")))
    return cluster.get("pod", cluster.running("own")["status"]["podName"])


def test_a_success_that_nobody_saw_is_not_run_again(cluster: Cluster, running: Object) -> None:
    name = running["metadata"]["name"]
    assert FINALIZER in running["metadata"]["finalizers"]
    go_away()
    cluster.tell(name, "a")
    assert cluster.terminal_pod(name)["status"]["phase"] == "Succeeded"
    cluster.run("delete", "pod", name, "--wait=false")
    assert cluster.get("pod", name)["metadata"]["deletionTimestamp"]
    come_back()
    done = cluster.finished("own")
    assert (done["status"]["status"], done["status"]["attempts"]) == ("Successful", 1), done["status"]
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", name))
    assert cluster.pods_of("own") == []


def test_a_forced_removal_is_told(cluster: Cluster, running: Object) -> None:
    name = running["metadata"]["name"]
    go_away()
    cluster.run("delete", "pod", name, "--force", "--grace-period=0", "--wait=false")
    cluster.patch("pod", name, {"metadata": {"finalizers": None}})
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", name))
    come_back()
    assert name in cluster.event("own", "PodRemoved")
    assert "removed before its end was known" in cluster.event("own", "Created", "attempt 2")


def test_a_pod_goes_with_a_task_that_was_deleted_while_the_operator_was_away(cluster: Cluster, running: Object) -> None:
    name = running["metadata"]["name"]
    go_away()
    cluster.run("delete", "task", "own")
    cluster.wait("the Pod's deletion", lambda: cluster.get("pod", name)["metadata"].get("deletionTimestamp"))
    come_back()
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", name))


def test_a_pod_without_its_labels_goes_with_such_a_task_too(cluster: Cluster, running: Object) -> None:
    name = running["metadata"]["name"]
    go_away()
    cluster.run("label", "pod", name, "type-", "taskname-")
    cluster.run("delete", "task", "own")
    cluster.wait("the Pod's deletion", lambda: cluster.get("pod", name)["metadata"].get("deletionTimestamp"))
    come_back()
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", name))


def test_a_task_goes_on_when_the_operator_is_restarted(cluster: Cluster) -> None:
    cluster.apply(make_task("steady", shell("a", "sleep 5"), shell("b", "echo b"), handoff="Annotation"))
    cluster.wait("the Task to run", lambda: cluster.task("steady").get("status", {}).get("status") == "Running")
    kill()
    task = cluster.finished("steady")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
    wait_ready()


def generation_of(pod: Object) -> str:
    """Return which generation of its Task's spec a Pod runs."""
    generation: str = pod["metadata"]["annotations"]["api.practice.com/generation"]
    return generation


def test_whatever_comes_one_pod_is_alive_at_most_and_the_last_spec_wins(cluster: Cluster) -> None:
    watch = PodWatch(cluster.namespace, "fire")

    def apply(number: int) -> None:
        # It takes its time to end, which is when a second Pod could come up beside it.
        seconds = 1 if number == 4 else 300
        line = f"trap 'sleep 2; exit 1' TERM; echo spec {number}; sleep {seconds} & wait $!"
        cluster.apply(make_task("fire", shell("a", line), shell("b", "true")))

    apply(1)
    cluster.running("fire")
    apply(2)
    cluster.run("delete", "pods", "-l", "taskname=fire", "--wait=false")
    apply(3)
    cluster.wait("the third spec's Pod", lambda: any(generation_of(pod) == "3" for pod in cluster.pods_of("fire")))
    kill()
    cluster.run("delete", "pods", "-l", "taskname=fire", "--wait=false")
    apply(4)
    task = cluster.finished("fire", generation=4)
    wait_ready()
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "a") == "spec 4\n"
    cluster.wait("the other Pods to go", lambda: len(cluster.pods_of("fire")) == 1)
    changes = watch.stop()
    assert {generation_of(change["object"]) for change in changes} >= {"1", "3", "4"}
    assert alive_at_once(changes) == {0, 1}
