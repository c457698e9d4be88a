"""What becomes of Tasks when nodes go and come. These tests disturb all others: run this file alone.

Each leaves the nodes as it found them. No node that the operator is on is taken away, but one test drains it.
"""

from __future__ import annotations

import pytest
from support import (
    OPERATOR_NAMESPACE,
    Cluster,
    PodWatch,
    alive_at_once,
    condition,
    make_task,
    shell,
    step_states,
    waiter,
)
from support.facts import needs_own_cluster
from support.installation import operator_pods, wait_ready
from support.nodes import (
    containerd_stopped,
    crictl,
    kubelet_stopped,
    leaving_after,
    node_cordoned,
    node_drained,
    node_paused,
    node_removed,
    node_stopped,
    on_node,
    quiet_workers,
    running_containers,
    wait_for,
    wait_not_ready,
    workers,
)

pytestmark = needs_own_cluster


@pytest.fixture
def node() -> str:
    """A worker that the operator is not on."""
    wait_ready()
    return quiet_workers(OPERATOR_NAMESPACE)[0]


def node_of(cluster: Cluster, pod: str) -> str:
    """Return the node that a Pod is on."""
    name: str = cluster.get("pod", pod)["spec"]["nodeName"]
    return name


def begin(cluster: Cluster, name: str, node: str, must: bool = True, **template: object) -> str:
    """Start a Task of two steps on a node, of which the first runs until it is told to end, and return its Pod."""
    cluster.apply(make_task(name, waiter("a"), shell("b", "echo b"), podTemplate=on_node(node, must, **template)))
    pod: str = cluster.running(name)["status"]["podName"]
    assert node_of(cluster, pod) == node
    return pod


def assert_succeeds(cluster: Cluster, name: str, pod: str, attempts: int) -> None:
    """Let the Task's first step end, and check that the Task then succeeds with this Pod."""
    cluster.tell(pod, "a")
    assert_succeeded(cluster, name, pod, attempts)


def assert_succeeded(cluster: Cluster, name: str, pod: str, attempts: int) -> None:
    """Check that the Task succeeds with this Pod, its so manieth. No failure was counted."""
    task = cluster.settled(name)
    assert task["status"]["status"] == "Successful", condition(task)
    assert (task["status"]["podName"], task["status"]["attempts"], task["status"]["retries"]) == (pod, attempts, 0)
    assert cluster.logs(pod, "b") == "b\n"


def test_the_pod_of_a_drained_node_is_replaced_on_another(cluster, node):
    watch = PodWatch(cluster.namespace, "moves")
    first = begin(cluster, "moves", node, must=False)
    with node_drained(node):
        second = cluster.running("moves", other_than=first)["status"]["podName"]
        assert node_of(cluster, second) in set(workers()) - {node}
        assert_succeeds(cluster, "moves", second, attempts=2)
    assert "the one before was lost" in cluster.event("moves", "Created", "attempt 2")
    assert alive_at_once(watch.stop()) == {0, 1}


def test_a_cordoned_node_keeps_its_task_and_takes_no_other(cluster, node):
    pod = begin(cluster, "stays", node)
    with node_cordoned(node):
        cluster.apply(make_task("waits", shell("a", "true"), podTemplate=on_node(node)))
        waiting = cluster.pending("waits", "Unschedulable")
        assert "unschedulable" in condition(waiting)["message"]
        assert_succeeds(cluster, "stays", pod, attempts=1)
    task = cluster.finished("waits")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)


def test_a_task_goes_on_when_the_operator_is_drained_to_another_node(cluster, node):
    (operator,) = operator_pods()
    steady = make_task("steady", waiter("a"), shell("b", "echo b"), handoff="Annotation", podTemplate=on_node(node))
    cluster.apply(steady)
    pod = cluster.running("steady")["status"]["podName"]
    with node_drained(operator["spec"]["nodeName"]):
        # The order of its steps waits for the operator.
        assert_succeeds(cluster, "steady", pod, attempts=1)
    wait_ready()


def test_steps_go_on_without_the_kubelet_which_tells_of_them_when_it_is_back(cluster, node):
    pod = begin(cluster, "unseen", node)
    with kubelet_stopped(node):
        container = crictl(node, "ps", "--quiet", "--name", "^a$", "--label", f"io.kubernetes.pod.name={pod}").strip()
        crictl(node, "exec", container, "sh", "-c", "echo 0 > /tmp/told")
        wait_for("the steps to end", lambda: not running_containers(node, pod))
        assert step_states(cluster.task("unseen")) == ["Running", "Waiting"]
    assert_succeeded(cluster, "unseen", pod, attempts=1)


def test_steps_go_on_while_containerd_is_started_anew(cluster, node):
    pod = begin(cluster, "contained", node)
    with containerd_stopped(node):
        pass
    assert_succeeds(cluster, "contained", pod, attempts=1)


def test_the_pod_of_a_node_that_had_a_power_cut_is_replaced(cluster, node):
    first = begin(cluster, "dark", node)
    with node_stopped(node, at_once=True):
        pass
    second = cluster.running("dark", other_than=first)["status"]["podName"]
    assert_succeeds(cluster, "dark", second, attempts=2)
    assert "the one before was lost: ContainerStatusUnknown" in cluster.event("dark", "Created", "attempt 2")


def test_the_pod_of_a_node_that_is_cut_off_has_no_second_beside_it(cluster, node):
    watch = PodWatch(cluster.namespace, "far")
    first = begin(cluster, "far", node, must=False, **leaving_after(0))
    with node_paused(node):
        wait_not_ready(node)
        waiting = cluster.pending("far", "WaitingForPod", "PodStuck")
        assert f"Pod {first} on node {node}" in condition(waiting)["message"]
        # It may still run there.
        assert [pod["metadata"]["name"] for pod in cluster.pods_of("far")] == [first]
    second = cluster.running("far", other_than=first)["status"]["podName"]
    assert_succeeds(cluster, "far", second, attempts=2)
    assert alive_at_once(watch.stop()) == {0, 1}


def test_the_pod_of_a_removed_node_is_replaced_and_the_node_is_of_use_again(cluster, node):
    first = begin(cluster, "removed", node, must=False)
    with node_removed(node):
        # Kubernetes takes Pods of nodes that are gone away after a minute.
        second = cluster.running("removed", other_than=first)["status"]["podName"]
        assert node_of(cluster, second) in set(workers()) - {node}
        assert_succeeds(cluster, "removed", second, attempts=2)
    assert "the one before was lost" in cluster.event("removed", "Created", "attempt 2")
    assert_succeeds(cluster, "back", begin(cluster, "back", node), attempts=1)
