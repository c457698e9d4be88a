"""Sidecars that fail: before the first step begins they fail the Task, beside the steps they decide nothing."""

from __future__ import annotations

import pytest
from support import Cluster, Object, PodWatch, alive_at_once, condition, ended_container, make_task, shell, step_states

BOTH = pytest.mark.parametrize("handoff", ["Local", "Annotation"])
# What steps and sidecars tell each other by.
SHARED = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
VOLUMES = [{"name": "shared", "emptyDir": {}}]


def sidecar(name: str, line: str) -> Object:
    """Return a sidecar that runs one line of shell."""
    return {**shell(name, line), "image": "busybox:1.28"}


def told_of_sidecars(task: Object) -> list[Object]:
    """Return what the Task's status tells of sidecars that died beside the steps."""
    return [found for found in task["status"]["conditions"] if found["type"] == "SidecarFailed"]


def ended_pod(cluster: Cluster, name: str) -> Object:
    """Wait until a Pod has failed with all that ran in it, and return it."""

    def failed() -> Object | None:
        pod = cluster.get("pod", name)
        status = pod["status"]
        containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
        runs = any("running" in container["state"] for container in containers)
        return pod if status["phase"] == "Failed" and not runs else None

    found: Object = cluster.wait(f"Pod {name} to fail, and nothing to run in it", failed)
    return found


@BOTH
def test_a_sidecar_that_dies_at_once_fails_the_task_with_its_words(cluster, handoff):
    steps = [shell("a", "echo a"), shell("b", "echo b")]
    crashes = sidecar("web", "echo 'no such port'; exit 3")
    cluster.apply(make_task("crash", *steps, sidecars=[sidecar("fine", "sleep 600"), crashes], handoff=handoff))
    task = cluster.settled("crash")
    pod = task["status"]["podName"]
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "SidecarFailed"), condition(task)
    message = condition(task)["message"]
    assert message.startswith('sidecar "web" ended before the first step began: exit code 3')
    assert f"kubectl logs {pod} -c web" in message
    assert cluster.event("crash", "Failed") == message
    assert set(step_states(task)) <= {"Cancelled", "Skipped"}
    assert (task["status"]["order"], told_of_sidecars(task)) == ("-1", [])
    # The Pod is ended, not deleted: the log is there.
    ended_pod(cluster, pod)
    assert cluster.logs(pod, "web") == "no such port\n"
    # Nor is it taken for one that was too slow.
    assert condition(cluster.task("crash"))["reason"] == "SidecarFailed"


@pytest.mark.parametrize("runs", [{"command": ["no-such-program"]}, {"args": ["no-such-program"]}])
def test_a_sidecar_whose_program_is_missing_fails_the_task(cluster, runs):
    # Without a command it is the runtime that does not find it, and not the agent.
    missing = {"name": "missing", "image": "busybox:1.28", **runs}
    cluster.apply(make_task("missing", shell("a", "true"), sidecars=[missing]))
    task = cluster.settled("missing")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "SidecarFailed"), condition(task)
    assert 'sidecar "missing" ended before the first step began: exit code 12' in condition(task)["message"]
    assert "no-such-program" in condition(task)["message"]
    ended_pod(cluster, task["status"]["podName"])


def test_a_sidecar_that_fails_is_retried_like_a_step_and_each_log_stays(cluster):
    watch = PodWatch(cluster.namespace, "tries")
    crashes = sidecar("web", "echo I am $HOSTNAME; exit 3")
    cluster.apply(make_task("tries", shell("a", "true"), sidecars=[crashes], retries=1))
    task = cluster.settled("tries")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "SidecarFailed")
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)
    assert "attempt 2, retry 1 of 1" in cluster.event("tries", "Created", "attempt 2")
    pods = [pod["metadata"]["name"] for pod in cluster.pods_of("tries")]
    assert len(pods) == 2
    for pod in pods:
        ended_pod(cluster, pod)
        assert cluster.logs(pod, "web") == f"I am {pod}\n"
    assert alive_at_once(watch.stop()) == {0, 1}


@BOTH
def test_a_sidecar_that_dies_beside_the_steps_is_told_of_and_decides_nothing(cluster, handoff):
    begins = "touch /shared/begun; until test -e /shared/go; do sleep 0.1; done"
    dies = {**sidecar("web", "until test -e /shared/begun; do sleep 0.1; done; echo 'no more'; exit 7"), **SHARED}
    steps = [{**shell("a", begins), **SHARED}, shell("b", "echo b")]
    cluster.apply(make_task("dies", *steps, sidecars=[dies], volumes=VOLUMES, handoff=handoff))
    message = cluster.event("dies", "SidecarFailed")
    assert message.startswith('sidecar "web" ended while the steps ran: exit code 7')
    task = cluster.running("dies")
    pod = task["status"]["podName"]
    assert f"kubectl logs {pod} -c web" in message
    (told,) = told_of_sidecars(cluster.wait("the condition", lambda: _with_condition(cluster, "dies")))
    assert (told["status"], told["reason"], told["message"]) == ("True", "SidecarFailed", message)
    assert "no more" in cluster.logs(pod, "web")
    # The later step runs all the same, however often the sidecar is started again.
    cluster.run("exec", pod, "-c", "a", "--", "touch", "/shared/go")
    task = cluster.settled("dies")
    assert task["status"]["status"] == "Successful", condition(task)
    assert [found["message"] for found in told_of_sidecars(task)] == [message]
    assert cluster.logs(pod, "b") == "b\n"
    cluster.wait("the sidecar to be stopped", lambda: _is_terminal(cluster, pod))


def _with_condition(cluster: Cluster, name: str) -> Object | None:
    task = cluster.task(name)
    return task if told_of_sidecars(task) else None


def _is_terminal(cluster: Cluster, pod: str) -> bool:
    return bool(cluster.get("pod", pod)["status"]["phase"] in ("Succeeded", "Failed"))


@BOTH
def test_a_sidecar_that_ends_with_0_is_fine(cluster, handoff):
    script = {"name": "script", "image": "busybox:1.28", "script": "#!/bin/sh\necho done\n"}
    sidecars = [sidecar("quick", "true"), script, sidecar("soon", "sleep 2")]
    steps = [shell("a", "sleep 4"), shell("b", "echo b")]
    cluster.apply(make_task("done", *steps, sidecars=sidecars, handoff=handoff))
    task = cluster.settled("done")
    assert task["status"]["status"] == "Successful", condition(task)
    assert (told_of_sidecars(task), task["status"]["attempts"]) == ([], 1)
    pod = task["status"]["podName"]
    assert cluster.logs(pod, "script") == "done\n"
    cluster.wait("the Pod to end", lambda: _is_terminal(cluster, pod))
    assert cluster.get("pod", pod)["status"]["phase"] == "Succeeded"
    assert {ended_container(cluster.get("pod", pod), name)["exitCode"] for name in ("quick", "script", "soon")} == {0}


def test_a_sidecar_that_stays_on_is_awaited_before_the_next_attempt(cluster):
    watch = PodWatch(cluster.namespace, "deaf")
    deaf = sidecar("deaf", "trap '' TERM; while :; do sleep 1; done")
    template = {"terminationGracePeriodSeconds": 4}
    fails = shell("a", "echo I am $HOSTNAME; exit 4")
    cluster.apply(make_task("deaf", fails, sidecars=[deaf], retries=1, podTemplate=template))
    task = cluster.settled("deaf")
    assert (condition(task)["reason"], task["status"]["attempts"]) == ("StepFailed", 2)
    pods = [pod["metadata"]["name"] for pod in cluster.pods_of("deaf")]
    assert len(pods) == 2
    for pod in pods:
        ended_pod(cluster, pod)
        assert cluster.logs(pod, "a") == f"I am {pod}\n"
    changes = watch.stop()
    assert alive_at_once(changes) == {0, 1}
    assert not any(change["object"]["metadata"].get("deletionTimestamp") for change in changes)
