"""A container that can never be started ends its Task."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import next_order
from support.tasks.factory import NOW, RUNNING, condition, ended, make_pod, make_step, make_task, set_states, waiting
from support.tasks.looks import compute_status, orders_to_come, plan_pods

INVALID = waiting("InvalidImageName", 'Failed to apply default image tag "Bad": invalid reference format')
IMAGES = [{"name": name, "image": "Bad"} for name in ("a", "b", "s", "taskflow-install", "mesh")]


def pod_of(order, **states):
    pod = set_states(make_pod(order, "Pending"), **states)
    return {**pod, "spec": {"nodeName": "worker", "containers": IMAGES[:3], "initContainers": IMAGES[3:]}}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("a", 'step "a": spec.stepTemplate.image: '),
        ("b", 'step "b": spec.steps[1].image: '),
        ("s", 'sidecar "s": spec.sidecars[0].image: '),
        ("taskflow-install", "the agent: the operator's TASKFLOW_AGENT_IMAGE: "),
    ],
)
def test_an_image_name_that_the_kubelet_can_not_read_is_a_failure_that_names_the_field(where, words):
    steps = [{"name": "a", "command": ["c"]}, make_step("b")]
    task = make_task(*steps, sidecars=[make_step("s")], stepTemplate={"image": "Bad"}, retries=3)
    states = {"a": RUNNING, "b": RUNNING, "s": RUNNING}
    pod = pod_of(0, **{**states, **({where: INVALID} if where in states else {})})
    if where not in states:
        set_states(pod, **dict.fromkeys(states, waiting("PodInitializing")))
        pod["status"]["initContainerStatuses"] = [{"name": where, "state": INVALID}]
    # Those that wait are told to end before the verdict.
    assert orders_to_come(task, pod) == [-1]
    status = compute_status(task, [pod], None, NOW)
    assert (status["status"], condition(status)["reason"]) == ("Pending", "InvalidImageName")
    pod["metadata"]["annotations"]["taskorder"] = "-1"
    status = compute_status(task, [pod], None, NOW)
    assert (status["status"], condition(status)["reason"]) == ("Failure", "InvalidImageName")
    message = condition(status)["message"]
    assert message == f"{words}'Bad' is no name of an image: {INVALID['waiting']['message']}"


def test_the_pod_goes_once_what_waits_in_it_has_ended():
    task = make_task("a", "b")
    pod = pod_of(-1, a=RUNNING, b=INVALID)
    task["status"] = compute_status(task, [pod], None, NOW)
    assert [step["state"] for step in task["status"]["steps"]] == ["Cancelled", "Cancelled"]
    assert plan_pods(task, [pod], NOW).delete == ()
    set_states(pod, a=ended(1, state="Cancelled"), b=INVALID)
    assert plan_pods(task, [pod], NOW).delete == (pod,)


@pytest.mark.parametrize(
    "reason", ["ErrImageNeverPull", "ErrImagePull", "CreateContainerConfigError", "CreateContainerError"]
)
def test_what_may_heal_stays_pending_with_the_kubelets_words(reason):
    task, pod = make_task("a", "b"), pod_of(0, a=waiting(reason, "so it says"), b=RUNNING)
    assert orders_to_come(task, pod) == []
    status = compute_status(task, [pod], None, NOW)
    assert (status["status"], condition(status)["reason"]) == ("Pending", reason)
    assert condition(status)["message"] == 'step "a", image Bad: so it says'


def test_a_container_that_others_have_added_does_not_fail_the_task():
    task, pod = make_task("a"), pod_of(0, a=RUNNING)
    pod["status"]["initContainerStatuses"] = [{"name": "mesh", "state": INVALID}]
    assert next_order(0, ObservedPod(task, pod)) == 1
    pod = pod_of(0, a=waiting())
    pod["status"]["initContainerStatuses"] = [{"name": "mesh", "state": INVALID}]
    message = condition(compute_status(task, [pod], None, NOW))["message"]
    assert message.startswith('container "mesh", image Bad: ')
