"""Who was at fault for the end of a Pod that was lost, and what its agents have said of that."""

from __future__ import annotations

import pytest
from support.tasks.factory import NOW, ended, make_pod, make_task, set_states, verdict
from support.tasks.looks import compute_status

SKIPPED = ended(1, state="Skipped")
LOW = "The node was low on resource: memory."


def lost(pod, reason):
    """Have the kubelet say why the Pod has ended."""
    pod["status"].update(phase="Failed", reason=reason, message=LOW)
    return pod


def judged(task, pod):
    return verdict(compute_status(task, [pod], None, NOW))


def forgotten(state):
    """Return how a container ended, after containerd has lost its exit code."""
    return {"terminated": {**state["terminated"], "exitCode": 255, "reason": "Unknown"}}


CONTINUED = ended(0, "Failed", exitCode=7, continued=1)


@pytest.mark.parametrize(
    ("a", "b", "found"),
    [
        (ended(), ended(), ("Successful", "Succeeded")),
        (CONTINUED, ended(), ("Successful", "Succeeded")),
        (ended(), ended(3), ("Failure", "StepFailed")),
        (ended(3), SKIPPED, ("Failure", "StepFailed")),
        (ended(), ended(143, reason="Signal", signal=15, told=15), ("Failure", "StepFailed")),
        (ended(), ended(137, reported=False), ("Pending", "ContainerStatusUnknown")),
    ],
)
def test_what_the_agents_have_said_counts_though_the_exit_codes_are_lost(a, b, found):
    pod = set_states(make_pod(-1, "Failed"), a=forgotten(a), b=forgotten(b))
    assert judged(make_task("a", "b"), pod) == found


@pytest.mark.parametrize("message", ["Failed", '{"state":"Succeeded"}', '{"state":"Succeeded","exitCode":"0"}', "["])
def test_what_is_no_report_makes_no_success_of_an_exit_code_that_is_lost(message):
    state = forgotten(ended(0, reported=False, message=message))
    assert judged(make_task("a"), set_states(make_pod(-1, "Failed"), a=state))[0] == "Pending"


OOM = ended(137, reported=False, reason="OOMKilled")


@pytest.mark.parametrize(
    "killed", [OOM, ended(137, reason="Signal", signal=9, told=0)], ids=["with its agent", "the command"]
)
def test_what_a_node_without_memory_has_killed_was_lost_with_its_pod(killed):
    pod = set_states(make_pod(-1, "Failed"), a=killed, b=SKIPPED)
    assert judged(make_task("a", "b"), pod) == ("Failure", "StepFailed")
    assert judged(make_task("a", "b"), lost(pod, "Evicted")) == ("Pending", "Evicted")
    # No node is without memory since it shuts down.
    assert judged(make_task("a", "b"), lost(pod, "Terminated")) == ("Failure", "StepFailed")


@pytest.mark.parametrize("reason", ["Evicted", "Terminated"])
def test_a_hook_may_have_ended_the_command_of_a_pod_that_was_lost(reason):
    pod = lost(set_states(make_pod(-1), a=ended(1), b=SKIPPED), reason)
    assert judged(make_task("a", "b"), pod) == ("Failure", "StepFailed")
    pod["spec"] = {"containers": [{"name": "a", "lifecycle": {"preStop": {"exec": {"command": ["stop"]}}}}]}
    assert judged(make_task("a", "b"), pod) == ("Pending", reason)


@pytest.mark.parametrize(
    ("reason", "found"),
    [("Unknown", ("Pending", "ContainerStatusUnknown")), ("Error", ("Failure", "AgentInstallFailed"))],
)
def test_an_init_container_whose_exit_code_is_lost_is_a_loss_too(reason, found):
    pod = set_states(make_pod(-1, "Failed"))
    end = {"terminated": {"exitCode": 255, "reason": reason}}
    pod["status"]["initContainerStatuses"] = [{"name": "taskflow-install", "state": end}]
    assert judged(make_task("a"), pod) == found
