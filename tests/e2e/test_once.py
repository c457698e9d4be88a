"""A step runs at most once in a Pod, whatever the container runtime loses."""

from __future__ import annotations

import pytest
from support import Cluster, Object, condition, make_task, step_states
from support.facts import needs_own_cluster
from support.nodes import crictl

pytestmark = needs_own_cluster
WITNESS = "/work/witness"


def witnessing(name: str, line: str = "true") -> Object:
    """A step that says when it begins and ends, in a file that outlives its container."""
    words = f"echo {name} begins >>{WITNESS}; {line}; echo {name} ends >>{WITNESS}; cat {WITNESS}"
    mounts = [{"name": "work", "mountPath": "/work"}]
    return {"name": name, "image": "busybox:1.28", "command": ["sh", "-c", words], "volumeMounts": mounts}


def until_told() -> str:
    """Wait in a step until the test says go on."""
    return "until [ -e /work/told ]; do sleep 0.2; done"


@pytest.fixture
def task(cluster: Cluster) -> Object:
    """Three steps, the second of which waits for a word."""
    steps = [witnessing("a"), witnessing("b", until_told()), witnessing("c")]
    made = make_task("once", *steps, volumes=[{"name": "work", "emptyDir": {}}])
    cluster.apply(made)
    return made


def second_runs(cluster: Cluster) -> Object:
    """Wait until the second step runs, and return the Pod."""

    def runs() -> Object | None:
        task = cluster.task("once")
        known = task.get("status") and step_states(task)
        return task if known == ["Succeeded", "Running", "Waiting"] else None

    cluster.wait("the second step", runs)
    (pod,) = cluster.pods_of("once")
    return pod


def container_of(pod: Object, step: str, *flags: str) -> str:
    """Return the id that the runtime gives a step's container."""
    name = ("--name", f"^{step}$", "--label", f"io.kubernetes.pod.uid={pod['metadata']['uid']}")
    return crictl(pod["spec"]["nodeName"], "ps", "--quiet", *flags, *name).split()[0]


def go_on(pod: Object, step: str) -> None:
    container = container_of(pod, step)
    crictl(pod["spec"]["nodeName"], "exec", container, "touch", "/work/told")


def made_again(cluster: Cluster, pod: Object, step: str, before: str) -> None:
    """Wait until the kubelet has made a step's container again."""

    def again() -> bool:
        statuses = cluster.get("pod", pod["metadata"]["name"])["status"]["containerStatuses"]
        return any(s["name"] == step and before not in s.get("containerID", before) for s in statuses)

    cluster.wait(f"another container of step {step}", again)


def test_a_container_that_has_ended_and_is_lost_does_not_run_again(cluster: Cluster, task: Object) -> None:
    pod = second_runs(cluster)
    lost = container_of(pod, "a", "--all")
    crictl(pod["spec"]["nodeName"], "rm", lost)
    made_again(cluster, pod, "a", lost)
    go_on(pod, "b")
    done = cluster.finished("once")
    assert done["status"]["status"] == "Successful", done["status"]
    log = cluster.logs(pod["metadata"]["name"], "c").split("\n")
    assert log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends", ""]


def test_a_container_that_is_lost_while_it_runs_fails_its_step(cluster: Cluster, task: Object) -> None:
    pod = second_runs(cluster)
    lost = container_of(pod, "b")
    crictl(pod["spec"]["nodeName"], "rm", "--force", lost)
    done = cluster.settled("once")
    assert done["status"]["status"] == "Failure", done["status"]
    assert condition(done)["reason"] == "StepFailed", done["status"]
    assert step_states(done) == ["Succeeded", "Failed", "Skipped"], done["status"]


def test_a_sandbox_that_is_lost_runs_nothing_twice(cluster: Cluster, task: Object) -> None:
    """The kubelet makes all containers again in another sandbox, or gives the Pod up, whose end it does not know."""
    pod = second_runs(cluster)
    node, uid = pod["spec"]["nodeName"], pod["metadata"]["uid"]
    sandbox = crictl(node, "pods", "--quiet", "--label", f"io.kubernetes.pod.uid={uid}").strip()
    crictl(node, "rmp", "--force", sandbox)

    def decided() -> Object | None:
        found = cluster.task("once")["status"]
        return found if found["status"] == "Failure" or found["attempts"] == 2 else None

    if cluster.wait("an end, or another attempt", decided)["attempts"] == 2:
        runs_once_in_another_pod(cluster, pod)
        return
    done = cluster.settled("once")
    assert (done["status"]["status"], done["status"]["attempts"]) == ("Failure", 1), done["status"]
    first, second, third = step_states(done)
    assert (first, second) == ("Succeeded", "Failed") and third in ("Failed", "Skipped"), done["status"]


def runs_once_in_another_pod(cluster: Cluster, lost: Object) -> None:
    """See that a Pod that was lost has ended, and that each step runs once in the one that follows it."""
    assert cluster.terminal_pod(lost["metadata"]["name"])["status"]["phase"] == "Failed"
    name = cluster.running("once", other_than=lost["metadata"]["name"])["status"]["podName"]
    cluster.wait("its second step", lambda: step_states(cluster.task("once")) == ["Succeeded", "Running", "Waiting"])
    go_on(cluster.get("pod", name), "b")
    done = cluster.finished("once")
    assert (done["status"]["status"], done["status"]["attempts"]) == ("Successful", 2), done["status"]
    log = cluster.logs(name, "c").split("\n")
    assert log == ["a begins", "a ends", "b begins", "b ends", "c begins", "c ends", ""]
