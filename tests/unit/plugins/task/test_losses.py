"""Which Pods are lost through no fault of their own, and what is said of those that are not."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.losses import loss_of
from support.tasks.factory import NOW, RUNNING, condition, ended, make_pod, make_task, set_states, verdict
from support.tasks.looks import compute_status

KILLED, STOPPED = ended(137, reported=False), ended(143, reason="Signal")
SKIPPED = ended(1, state="Skipped")
GONE = {"reason": "ContainerStatusUnknown", "message": "The container could not be located when the pod was terminated"}
# The kubelet's words, which end with a space.
OVERUSES = [
    'Usage of EmptyDir volume "work" exceeds the limit "1Mi". ',
    'Container a exceeded its local ephemeral storage limit "1Mi". ',
    "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
]
LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 94Mi. "


def failed_pod(reason, message, disruption=None, order=-1, **states):
    pod = set_states(make_pod(order, "Failed"), **(states or {"a": KILLED, "b": SKIPPED}))
    pod["status"].update(reason=reason, message=message)
    if disruption:
        pod["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": disruption}]
    return pod


def judged(pod, **spec):
    status = compute_status(make_task("a", "b", **spec), [pod], None, NOW)
    return (*verdict(status), condition(status)["message"])


@pytest.mark.parametrize("message", OVERUSES)
@pytest.mark.parametrize("states", [{"a": KILLED, "b": SKIPPED}, {"a": STOPPED, "b": KILLED}, {"a": RUNNING}])
def test_a_pod_that_was_over_its_own_limit_has_failed_with_the_kubelets_words(message, states):
    pod = failed_pod("Evicted", message, **states)
    assert judged(pod) == ("Failure", "PodFailed", f"Evicted: {message.strip()}")
    assert judged(pod, retries=1)[:2] == ("Running", "Retrying")


def test_a_step_that_failed_by_itself_comes_before_the_eviction_of_its_pod():
    pod = failed_pod("Evicted", OVERUSES[0], a=ended(3), b=SKIPPED)
    assert judged(pod)[:2] == ("Failure", "StepFailed")


def test_what_had_succeeded_is_a_success_though_its_pod_is_evicted():
    assert judged(failed_pod("Evicted", OVERUSES[0], order=2, a=ended(), b=ended()))[0] == "Successful"


@pytest.mark.parametrize(
    ("message", "disruption"),
    [
        (LOW, "TerminationByKubelet"),
        # Before Kubernetes 1.26, and where the kubelet has not admitted the Pod.
        (LOW, None),
        ("Pod was rejected: The node had condition: [DiskPressure]. ", None),
        ("the words of a kubelet to come", "TerminationByKubelet"),
    ],
)
def test_a_pod_that_was_evicted_for_its_nodes_sake_is_lost(message, disruption):
    pod = failed_pod("Evicted", message, disruption)
    words = f"Pod task-pod-demo-1 was lost, another follows: {message.strip()}"
    assert judged(pod) == ("Pending", "Evicted", words)


@pytest.mark.parametrize(
    "reason",
    [
        *("OutOfephemeral-storage", "OutOfnvidia.com/gpu", "TopologyAffinityError", "UnexpectedAdmissionError"),
        *("NodePorts", "TaintToleration", "VolumeAttachmentLimitExceeded", "InvalidNodeInfo", "Preempting"),
    ],
)
def test_another_node_may_admit_what_this_one_has_not(reason):
    pod = {**make_pod(0), "status": {"phase": "Failed", "reason": reason, "message": "Pod was rejected: no"}}
    assert judged(pod)[:2] == ("Pending", reason)


@pytest.mark.parametrize("reason", ["SMTAlignmentError", "SysctlForbidden", "AppArmor", "PodOSNotSupported"])
def test_what_no_node_admits_is_a_failure_with_the_kubelets_words(reason):
    pod = {**make_pod(-1), "status": {"phase": "Failed", "reason": reason, "message": "Pod was rejected: no"}}
    assert judged(pod) == ("Failure", "PodFailed", f"{reason}: Pod was rejected: no")


@pytest.mark.parametrize("reason", ["Evicted", "DeadlineExceeded"])
def test_what_the_kubelet_forgets_as_it_ends_a_pod_is_no_loss(reason):
    gone = ended(137, reported=False, **GONE)
    assert loss_of(failed_pod(reason, OVERUSES[0], a=gone, b=gone)) is None


@pytest.mark.parametrize(
    ("states", "lost"),
    [
        ({"a": ended(), "b": ended(137, reported=False, **GONE)}, True),
        # What did not begin, or was told to end, has not failed beside it.
        ({"a": ended(137, reported=False, **GONE), "b": SKIPPED}, True),
        ({"a": ended(137, reported=False, **GONE), "b": ended(143, state="Cancelled")}, True),
        ({"a": ended(137, reported=False, **GONE), "b": ended(3)}, False),
        ({"a": ended(), "b": KILLED}, False),
    ],
)
def test_a_container_that_the_kubelet_has_forgotten_is_told_by_its_reason(states, lost):
    found = loss_of(set_states(make_pod(-1, "Failed"), **states))
    assert (found is not None and found[0] == "ContainerStatusUnknown") == lost
