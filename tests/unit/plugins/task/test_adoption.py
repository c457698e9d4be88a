"""A Pod that the operator made and could not record is recognised; one that only looks like it decides nothing."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from support.tasks.factory import condition, verdict
from support.tasks.simulation import FAILS, World
from support.tasks.tracked import LABELS, Tracking, reasons, running, succeed, world_of


def unrecorded(world):
    """Let the operator make the Pod, and be killed before it has recorded that."""
    world.round(tasks=1)
    (pod,) = world.made
    assert not world.status
    return pod


@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_pod_that_was_made_and_not_recorded_is_recorded_by_the_next_look(kind):
    world = world_of(kind)
    pod = unrecorded(world)
    result = world.round()
    assert (result["action"], result["requeue_after"]) == ("kept", 1)
    assert (world.status["podName"], world.status["podUID"]) == (pod.name, pod.uid)
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")


def test_one_that_nobody_lists_is_found_by_its_name():
    world = world_of()
    pod = unrecorded(world)
    del pod.api["metadata"]["labels"]
    assert world.round()["action"] == "kept"
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")
    assert pod.api["metadata"]["labels"] == LABELS


def test_one_that_has_succeeded_and_was_deleted_decides_the_task():
    world = world_of()
    pod = unrecorded(world)
    succeed(world, pod)
    world.delete_pod(pod.api)
    world.settle()
    assert (world.made, world.status["status"], world.pods) == ([pod], "Successful", {})


@pytest.mark.parametrize("control", [{"ttlSecondsAfterFinished": 9}, {"cancel": False}])
def test_one_of_an_earlier_generation_of_the_same_spec_is_recorded_too(control):
    world = world_of()
    pod = unrecorded(world)
    world.change(**control)
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")


def test_one_of_a_suspended_task_is_deleted():
    world = world_of()
    pod = unrecorded(world)
    world.change(suspend=True)
    world.settle()
    assert (world.made, world.pods, verdict(world.status)) == ([pod], {}, ("Pending", "Suspended"))


def test_one_of_a_suspended_task_that_is_not_as_it_was_made_does_not_stay_either():
    world = world_of()
    pod = unrecorded(world)
    change_image(pod.api)
    world.change(suspend=True)
    world.settle()
    assert (world.made, world.pods, verdict(world.status)) == ([pod], {}, ("Pending", "Suspended"))


def test_a_task_that_goes_on_looks_now_and_then_at_the_pod_that_ends_for_its_suspension():
    world = world_of()
    pod = running(world)
    world.change(suspend=True)
    world.round()
    world.change(suspend=False)
    result = world.round()
    assert (result["action"], result["requeue_after"]) == ("waiting", 30)
    world.settle()
    assert (len(world.made), world.status["status"], pod.name in world.pods) == (2, "Successful", True)
    assert world.made[1].name == pod.name


def change_args(pod):
    pod["spec"]["containers"][0]["args"] = ["--command", "true"]


def change_image(pod):
    pod["spec"]["containers"][0]["image"] = "evil:1"


def change_agent(pod):
    pod["spec"]["initContainers"][0]["image"] = "evil:1"


def change_owner(pod):
    pod["metadata"]["ownerReferences"][0]["uid"] = "another"


def change_volume(pod):
    volume = next(v for v in pod["spec"]["volumes"] if v["name"] == "taskflow-agent")
    volume.pop("emptyDir")
    volume["configMap"] = {"name": "evil"}


def change_mounts(pod):
    mount = {"name": "evil", "mountPath": "/taskflow/bin/taskflow-agent", "subPath": "agent"}
    pod["spec"]["containers"][0]["volumeMounts"].append(mount)


def change_verdict(pod):
    pod["metadata"]["annotations"]["api.practice.com/sidecar-failed"] = "it says so"


def change_attempt(pod):
    pod["metadata"]["annotations"]["api.practice.com/retry"] = "5"
    pod["metadata"]["labels"] = {}


FORGERIES = [
    change_args,
    change_image,
    change_agent,
    change_owner,
    change_volume,
    change_mounts,
    change_verdict,
    change_attempt,
]


@pytest.mark.parametrize("forge", FORGERIES)
@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_pod_that_has_only_the_name_is_not_judged_and_said_to_be_in_the_way(forge, kind):
    world = world_of(kind)
    pod = unrecorded(world)
    forge(pod.api)
    succeed(world, pod)
    for _ in range(3):
        world.round()
    assert verdict(world.status) == ("Pending", "PodNameTaken")
    message = condition(world.status)["message"]
    assert pod.name in message and f"kubectl delete pod {pod.name} -n default" in message
    assert "podUID" not in world.status
    assert pod.name in world.pods and not pod.api["metadata"].get("deletionTimestamp")
    # Nobody has to take its finalizer off by hand.
    world.delete_pod(pod.api)
    if forge in (change_owner, change_attempt):
        pod.reap()  # no list shows it
    world.settle()
    assert (world.status["status"], len(world.made)) == ("Successful", 2)


@pytest.mark.parametrize("forge", [change_args, change_agent])
def test_it_is_not_judged_by_the_three_modules_either(forge):
    world = world_of(World)
    pod = unrecorded(world)
    forge(pod.api)
    succeed(world, pod)
    for _ in range(3):
        world.round_by_modules()
    assert verdict(world.status) == ("Pending", "PodNameTaken")


def test_what_others_add_to_a_pod_makes_it_nobody_elses():
    world = world_of()
    pod = unrecorded(world)
    spec = pod.api["spec"]
    spec["containers"][0]["image"] += "@sha256:" + "0" * 64
    spec["containers"][0]["env"] = [{"name": "ADDED", "value": "x"}]
    spec["containers"][0]["volumeMounts"].append({"name": "token", "mountPath": "/var/run/secrets/token"})
    spec["containers"].append({"name": "mesh", "image": "mesh:1"})
    spec["volumes"].append({"name": "token", "projected": {}})
    pod.api["metadata"]["annotations"]["added"] = "x"
    pod.api["metadata"]["annotations"]["taskorder"] = "1"
    assert world.round()["action"] == "kept"
    assert world.status["podUID"] == pod.uid


def mirror(pod):
    """Have all images come from a registry of the cluster's own, as an admission webhook does."""
    for container in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]):
        container["image"] = f"mirror.example/{container['image']}"


def mirrored(kind=World):
    world = world_of(kind)
    world.admit = mirror
    return world, unrecorded(world)


@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_pod_whose_images_the_cluster_changes_as_it_admits_it_is_the_operators(kind):
    world, pod = mirrored(kind)
    assert pod.api["spec"]["containers"][0]["image"].startswith("mirror.example/")
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")


def test_one_with_an_image_that_the_cluster_would_not_give_it_is_not():
    world, pod = mirrored()
    change_image(pod.api)
    succeed(world, pod)
    world.round()
    assert verdict(world.status) == ("Pending", "PodNameTaken")


def test_one_with_other_arguments_is_not_and_admission_is_not_asked():
    world, pod = mirrored()
    change_args(pod.api)
    world.admit = None
    world.round()
    assert verdict(world.status) == ("Pending", "PodNameTaken")


def test_where_the_cluster_takes_no_such_pod_now_it_says_why():
    world, pod = mirrored()

    def refuse(_pod):
        raise TaskError("QuotaExceeded", "no room")

    world.admit = refuse
    world.round()
    assert verdict(world.status) == ("Pending", "QuotaExceeded")
    world.admit = mirror
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")


def refused(error):
    """A Pod that was made and not recorded, and a cluster that refuses the dry run."""
    world, pod = mirrored()

    def refuse(_pod):
        raise error

    world.admit = refuse
    return world, pod


def test_a_refusal_for_good_is_none_for_the_pod_that_is_there():
    world, pod = refused(TaskError("Refused", "no dry run", permanent=True))
    for _ in range(3):
        world.round()
    assert verdict(world.status) == ("Pending", "Refused")
    assert not pod.api["metadata"].get("deletionTimestamp")
    world.admit = mirror
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")


def test_a_task_is_cancelled_whatever_a_dry_run_says():
    world, _ = refused(TaskError("QuotaExceeded", "no room"))
    world.round()
    world.change(cancel=True)
    world.round()
    world.round()
    assert world.status["status"] == "Cancelled"


def stranger(world, pod, name="looks-like-it", **metadata):
    """Have somebody make a Pod with all that a Pod of the Task's has, but its name."""
    api = copy.deepcopy(pod.api)
    api["metadata"].update(name=name, uid="uid-of-a-stranger", **metadata)
    api["metadata"]["annotations"]["api.practice.com/attempt"] = "2"
    other = copy.copy(pod)
    other.api, other.agents = api, copy.deepcopy(pod.agents)
    world.pods[name] = other
    return other


@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_pod_with_labels_owner_and_annotations_alone_is_no_attempt(kind):
    world = world_of(kind, outcomes=[FAILS])
    pod = running(world)
    other = stranger(world, pod)
    succeed(world, other)
    before = copy.deepcopy({**other.api, "metadata": {**other.api["metadata"], "finalizers": []}})
    for _ in range(5):
        world.round()
    assert world.status["podUID"] == pod.uid
    assert reasons(world).count("ForeignPod") == 1
    while pod.is_alive:
        world.round()
        next(iter(pod.actions()))()
    for _ in range(3):
        pod.post()
        world.round()
    assert verdict(world.status) == ("Failure", "StepFailed")
    assert {**other.api, "metadata": {**other.api["metadata"], "finalizers": []}} == before


def test_a_pod_that_takes_the_name_of_one_that_is_gone_is_not_judged():
    world = world_of()
    pod = running(world)
    pod.reap()
    other = stranger(world, pod, name=pod.name)
    other.api["metadata"]["annotations"]["api.practice.com/attempt"] = "1"
    succeed(world, other)
    world.round()
    assert world.status["status"] == "Pending" or world.status["podUID"] != "uid-of-a-stranger"
    world.settle()
    assert world.status["attempts"] == 2
    assert {"ForeignPod", "PodRemoved"} <= set(reasons(world))
