"""Every verdict is true: whoever ended a step, and whatever it left behind."""

from __future__ import annotations

import pytest
from support import Cluster, Object, condition, make_task, shell, step_states, waiter
from support.killing import kill_from_outside


def ends_badly(cluster: Cluster, name: str, words: str) -> Object:
    """Wait until the Task is a Failure for a step, with these words, and return it."""
    task = cluster.finished(name)
    said = condition(task)
    assert (task["status"]["status"], said["reason"]) == ("Failure", "StepFailed"), task["status"]
    assert words in said["message"]
    assert cluster.event(name, "Failed") == said["message"]
    return task


def test_a_step_whose_probe_fails_while_it_waits_ends_no_other_and_fails_the_task(cluster: Cluster) -> None:
    # Not before all containers have started: the first step would not begin.
    probe = {"exec": {"command": ["false"]}, "initialDelaySeconds": 10, "periodSeconds": 1, "failureThreshold": 1}
    steps = [waiter("a"), {**shell("b", "echo b"), "livenessProbe": probe}, shell("c", "echo c")]
    cluster.apply(make_task("probed", *steps))

    def b_has_ended() -> bool:
        task = cluster.task("probed")
        return bool(task.get("status")) and step_states(task) == ["Running", "Failed", "Skipped"]

    cluster.wait("the second step's end", b_has_ended)
    (pod,) = cluster.pods_of("probed")
    assert pod["metadata"]["annotations"]["taskorder"] != "-1"
    cluster.tell(pod["metadata"]["name"], "a")
    task = ends_badly(cluster, "probed", 'step "b" (2 of 3) was ended from outside before its turn')
    assert step_states(task) == ["Succeeded", "Failed", "Skipped"]
    assert (task["status"]["order"], task["status"]["progress"]) == ("-1", "1/3")
    assert cluster.logs(pod["metadata"]["name"], "b") == ""


def test_a_hook_that_fails_while_its_step_waits_is_a_failure_and_retried(cluster: Cluster) -> None:
    hook = {"postStart": {"exec": {"command": ["false"]}}}
    steps = [shell("a", "sleep 10"), {**shell("b", "echo b"), "lifecycle": hook}]
    cluster.apply(make_task("hooked", *steps, retries=1))
    task = ends_badly(cluster, "hooked", 'step "b" (2 of 2) was ended from outside before its turn')
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("nonsense", "echo nonsense >{0}; sleep 60", "the done file /taskflow/run/1/done is damaged"),
        ("directory", "mkdir {0}; sleep 60", "/taskflow/run/1/done"),
        (
            "forged",
            """printf '{{"state":"Succeeded","exitCode":0}}' >{0}""",
            "/taskflow/run/1/done was written while the command ran",
        ),
    ],
)
def test_a_step_that_damages_its_done_file_fails_the_task(cluster: Cluster, name: str, line: str, words: str) -> None:
    cluster.apply(make_task(name, shell("a", line.format("/taskflow/run/1/done")), shell("b", "sleep 5"), retries=1))
    task = ends_badly(cluster, name, words)
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 1)


def test_a_success_without_the_agents_report_is_none(cluster: Cluster) -> None:
    """The kubelet does not find the report: the file that it reads is no longer where the agent writes."""
    step = {**shell("a", "umount /dev/termination-log"), "securityContext": {"privileged": True}}
    cluster.apply(make_task("unreported", step))
    task = ends_badly(cluster, "unreported", "exit code 0, NoReport: the agent left no report")
    assert step_states(task) == ["Failed"]


@pytest.mark.parametrize("state", ["Skipped", "Cancelled", "Succeeded"])
def test_a_killed_container_is_what_it_is_whatever_its_command_has_written(cluster: Cluster, state: str) -> None:
    line = f"""printf '{{"state":"{state}"}}' >/dev/termination-log; sleep 600"""
    name = f"killed-{state.lower()}"
    cluster.apply(make_task(name, shell("a", line), shell("b", "echo b")))
    pod: str = cluster.running(name)["status"]["podName"]
    written = ("exec", pod, "-c", "a", "--", "test", "-s", "/dev/termination-log")
    cluster.wait("the step's words", lambda: cluster.run(*written, check=False).returncode == 0)
    kill_from_outside(cluster, pod, "a")
    task = ends_badly(cluster, name, "the container was ended from outside, with its agent")
    assert step_states(task)[0] == "Failed"


@pytest.mark.parametrize("end", ["exit 3", "exec sleep 1000"])
def test_a_step_that_ends_because_its_pod_is_deleted_is_lost_with_it(cluster: Cluster, end: str) -> None:
    name = f"deleted-{len(end)}"
    line = f"trap '{end}' TERM; until test -s /tmp/told; do sleep 0.1; done; exit $(cat /tmp/told)"
    template = {"terminationGracePeriodSeconds": 3}
    cluster.apply(make_task(name, shell("a", line), shell("b", "echo b"), podTemplate=template, retries=1))
    first: str = cluster.running(name)["status"]["podName"]
    cluster.run("delete", "pod", first, "--wait=false")
    second: str = cluster.running(name, other_than=first)["status"]["podName"]
    cluster.tell(second, "a")
    task = cluster.finished(name)
    assert task["status"]["status"] == "Successful", condition(task)
    assert (task["status"]["attempts"], task["status"]["retries"]) == (2, 0)
    assert "the one before was lost" in cluster.event(name, "Created", "attempt 2")
    assert [event for event in cluster.events(name) if event["reason"] == "StepFailed"] == []


def test_a_container_that_can_not_be_started_was_never_started(cluster: Cluster) -> None:
    """The kubelet fills the variable in: the arguments are more than Linux takes."""
    step = {**shell("a", "true"), "env": [{"name": "LONG", "value": "x" * 100_000}], "args": ["$(LONG)"] * 30}
    cluster.apply(make_task("long", step))
    task = ends_badly(cluster, "long", "the container could not be started")
    told = [condition(task)["message"], cluster.logs(task["status"]["podName"], "a")]
    assert any("argument list too long" in words for words in told), told


def test_the_place_of_the_termination_message_is_taken_as_it_is_written(cluster: Cluster) -> None:
    variable = {"env": [{"name": "FOO", "value": "elsewhere"}], "terminationMessagePath": "/tmp/$(FOO)"}
    cluster.apply(make_task("placed", {**shell("a", "exit 3"), **variable}))
    ends_badly(cluster, "placed", "failed: exit code 3")


@pytest.mark.parametrize(
    ("name", "fields", "field"),
    [
        ("nul", {"args": ["a\0b"]}, "spec.steps[0].args[0]"),
        ("reserved", {"terminationMessagePath": "/taskflow/run/1/done"}, "spec.steps[0].terminationMessagePath"),
    ],
)
def test_what_no_container_can_have_makes_no_pod(cluster: Cluster, name: str, fields: Object, field: str) -> None:
    cluster.apply(make_task(name, {**shell("a", "true"), **fields}))
    task = cluster.finished(name)
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "InvalidSpec")
    assert condition(task)["message"].startswith(field)
    assert cluster.pods_of(name) == []
