"""A Task's Pods stay its own: only those that the operator made count, and none is lost sight of."""

from __future__ import annotations

import copy
import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from support.tasks.factory import condition, make_step, make_task, verdict
from support.tasks.simulation import FAILS, OK, World

LABELS = {"type": "taskpod", "taskname": "demo"}
RETRY = "api.practice.com/retry"


class Tracking(World):
    """A World whose operator has its Pods stay until their ends are recorded."""

    tracks = True


def world_of(kind=Tracking, outcomes=(OK,), **spec):
    return kind(make_task(make_step(), **spec), lambda _spec, _pod: list(outcomes))


def running(world, rounds=2):
    """Let the operator make the Pod, and its step begin."""
    world.round()
    (pod,) = world.made
    pod.start(pod.agents[0])
    pod.agents[0].runs_command = True
    pod.post()
    for _ in range(rounds):
        world.round()
    return pod


def succeed(world, pod):
    """Let all happen in the Pod that the kubelet will tell of, while nobody looks."""
    pod.start(pod.agents[0])
    pod.agents[0].runs_command = True
    pod.agents[0].end("Succeeded", 0, world.now)
    pod.post()
    pod.post()
    assert pod.api["status"]["phase"] == "Succeeded"


def reasons(world):
    return [reason for _, reason in world.events]


# Labels and owner.


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {}},
        {"labels": {"type": "taskpod"}},
        {"labels": {"taskname": "demo", "own": "x"}},
        {"labels": {**LABELS, "taskname": "another"}},
        {"ownerReferences": []},
    ],
)
@pytest.mark.parametrize("kind", [World, Tracking])
def test_what_makes_a_pod_the_tasks_is_put_back_and_no_second_one_is_made(change, kind):
    world = world_of(kind)
    pod = running(world)
    before = copy.deepcopy(pod.api["metadata"])
    pod.api["metadata"].update(change)
    world.round()
    assert LABELS.items() <= pod.api["metadata"]["labels"].items()
    assert pod.api["metadata"]["ownerReferences"] == before["ownerReferences"]
    assert reasons(world).count("PodReclaimed") == 1
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")
    assert reasons(world).count("PodReclaimed") == 1


def test_the_labels_of_a_pod_of_an_earlier_spec_come_back_before_another_follows():
    world = world_of()
    old = running(world)
    old.api["metadata"]["labels"] = {}
    world.change(params=[{"name": "x", "value": "y"}])
    world.round()
    assert old.api["metadata"].get("deletionTimestamp")
    assert world.made == [old]
    world.settle()
    assert (len(world.made), world.status["status"]) == (2, "Successful")


@pytest.mark.parametrize("mark", ["generation", "spec-hash", "attempt", "retry"])
def test_a_pod_that_is_recorded_is_the_tasks_whatever_its_annotations_say(mark):
    world = world_of()
    pod = running(world)
    pod.api["metadata"]["annotations"]["api.practice.com/" + mark] = "7"
    world.settle()
    assert (world.made, world.status["status"], world.status["attempts"]) == ([pod], "Successful", 1)


def test_nobody_else_cancels_a_run_by_the_operators_mark():
    """Each Pod of the Task's generation would be taken for one of a cancelled run, and be made again for ever."""
    world = world_of()
    pod = running(world)
    pod.api["metadata"]["annotations"]["api.practice.com/cancelled"] = "true"
    world.settle()
    assert (world.made, world.status["status"]) == ([pod], "Successful")
    assert "cancelledGeneration" not in world.status


def test_a_pod_that_changes_while_it_is_put_back_is_read_once_more():
    world = world_of()
    pod = running(world)
    del pod.api["metadata"]["labels"]
    put_back, calls = world.reclaim_pod, []

    def conflict(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise TaskError("OrderConflict", "it has another version")
        return put_back(*arguments)

    world.reclaim_pod = conflict
    world.round()
    assert pod.api["metadata"]["labels"] == LABELS
    assert (len(calls), world.status["status"]) == (2, "Running")


def test_nobody_is_asked_for_a_pod_that_the_list_shows():
    world = world_of()
    world.settle()
    assert (world.status["status"], world.reads) == ("Successful", [])


def test_the_pod_of_a_task_that_has_its_verdict_is_put_back_as_well():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    pod.api["metadata"]["labels"] = {}
    world.round()
    assert world.reads == [pod.name]
    assert pod.api["metadata"]["labels"] == LABELS


def test_it_is_not_if_the_task_is_being_deleted():
    """Somebody may want to keep the Pod: kubectl delete --cascade=orphan."""
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    world.task["metadata"]["deletionTimestamp"] = world.now
    pod.api["metadata"]["ownerReferences"] = []
    world.round()
    assert pod.api["metadata"]["ownerReferences"] == []


def test_it_may_be_gone():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    pod.reap()
    world.round()
    assert (world.reads, world.status["status"], len(world.made)) == ([pod.name], "Successful", 1)


# The Pod that was made, and not recorded.


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


# Ends that nobody has seen.


def test_a_pod_that_succeeded_and_was_deleted_while_nobody_looked_is_a_success():
    world = world_of()
    pod = running(world)
    succeed(world, pod)
    world.delete_pod(pod.api)
    assert pod.name in world.pods
    world.settle()
    assert (world.made, world.status["status"], world.status["attempts"]) == ([pod], "Successful", 1)
    assert world.pods == {}


def test_a_pod_that_has_ended_is_let_go_with_the_verdict_and_stays_for_its_logs():
    world = world_of()
    world.settle()
    (pod,) = world.pods.values()
    assert not pod.is_tracked


def test_that_is_one_request_and_nothing_else_is_asked():
    world = world_of()
    let_go, calls = world.release_pod, []

    def count(pod):
        calls.append(pod["metadata"]["uid"])
        let_go(pod)

    world.release_pod, world.reclaim_pod = count, None
    world.settle()
    assert (calls, world.reads) == ([world.status["podUID"]], [])


def test_a_pod_whose_end_can_not_be_recorded_stays():
    """Without it, nobody would know of its success."""
    world = world_of()
    pod = running(world)
    succeed(world, pod)

    def refuse(_task, _status):
        raise TaskError("TooLarge", "there is no room")

    world.set_status = refuse
    world.round()
    assert pod.is_tracked


def test_a_failed_attempt_is_let_go_when_the_next_one_is_there():
    world = world_of(outcomes=[FAILS], retries=1)
    world.settle()
    assert [pod.is_tracked for pod in world.pods.values()] == [False, False]
    assert world.status["status"] == "Failure"


def test_a_pod_that_is_deleted_while_it_runs_is_lost_and_the_next_one_waits_for_its_end():
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)
    world.round()
    assert (world.made, verdict(world.status)) == ([pod], ("Pending", "WaitingForPod"))
    pod.agents[0].kill()
    pod.post()
    pod.post()
    world.settle()
    _first, second = world.made
    assert list(world.pods) == [second.name]
    assert (world.status["status"], world.status["attempts"]) == ("Successful", 2)
    assert "PodRemoved" not in reasons(world)


def test_a_pod_is_no_obstacle_for_the_end_of_its_namespace():
    """Its Task goes after it, and can have no other Pod."""
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)

    def refuse(_pod, dry_run=False):
        raise TaskError("NamespaceTerminating", "unable to create new content")

    world.create_pod = refuse
    world.round()
    assert pod.is_tracked
    while pod.is_alive:
        next(iter(pod.actions()))()
        pod.post()
    world.round()
    assert world.pods == {} and world.status["status"] == "Pending"


def test_a_pod_that_never_got_a_node_goes_at_once():
    world = world_of()
    world.round()
    (pod,) = world.made
    assert pod.is_tracked
    world.delete_pod(pod.api)
    world.round()
    assert pod.name not in world.pods


def test_a_pod_whose_node_is_gone_has_ended_whatever_its_containers_say():
    world = world_of()
    pod = running(world)
    pod.api["spec"]["nodeName"] = "node-1"
    told = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "no node"}
    pod.api["status"].update(phase="Failed", conditions=[told])
    pod.is_lost = True
    world.delete_pod(pod.api)
    world.settle()
    assert (len(world.made), world.status["status"]) == (2, "Successful")
    assert pod.name not in world.pods


def test_a_pod_that_is_deleted_by_force_has_a_minute_to_end():
    """Nobody may tell of it any more: its node may be lost."""
    world = world_of()
    pod = running(world)
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)
    assert world.round()["requeue_after"] <= 30
    assert (world.made, verdict(world.status)) == ([pod], ("Pending", "WaitingForPod"))
    world.clock += datetime.timedelta(seconds=45)
    assert world.round()["requeue_after"] <= 15
    pod.is_lost = True
    world.clock += datetime.timedelta(seconds=15)
    world.round()
    assert len(world.made) == 2
    assert pod.name not in world.pods


def test_one_of_a_task_that_has_its_verdict_goes_after_that_minute_too():
    world = world_of(timeout="1s")
    pod = running(world)
    world.clock += datetime.timedelta(seconds=100)
    world.round()
    world.round()
    assert verdict(world.status) == ("Failure", "TimedOut")
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)
    assert 50 < world.round()["requeue_after"] <= 60
    assert pod.is_tracked
    pod.is_lost = True
    world.clock += datetime.timedelta(seconds=60)
    world.round()
    assert pod.name not in world.pods


def lost_by_force(world, pod):
    """Lose the Pod's node, and have somebody delete the Pod by force."""
    pod.is_lost = True
    world.delete_pod(pod.api)
    pod.api["metadata"].update(deletionTimestamp=world.now, deletionGracePeriodSeconds=0)


def test_a_failed_attempt_on_a_lost_node_is_retried_a_minute_after_it_was_deleted_by_force():
    """Its other step is said to run for ever."""
    task = make_task(make_step("a"), make_step("b"), retries=1)
    world = Tracking(task, lambda _spec, pod: [OK if pod["metadata"]["annotations"][RETRY] == "1" else FAILS, OK])
    world.round()
    (pod,) = world.made
    for agent in pod.agents:
        pod.start(agent)
    pod.agents[0].runs_command = True
    pod.agents[0].end("Failed", 3, world.now)
    pod.post()
    world.round()
    world.round()
    assert verdict(world.status) == ("Running", "Retrying")
    lost_by_force(world, pod)
    assert 50 < world.round()["requeue_after"] <= 60
    assert world.made == [pod]
    world.clock += datetime.timedelta(seconds=60)
    world.settle()
    assert (len(world.made), world.status["status"], world.status["retries"]) == (2, "Successful", 1)
    assert pod.name not in world.pods


def test_one_that_is_deleted_by_force_as_its_node_evicts_it_has_that_minute_too():
    world = world_of()
    pod = running(world)
    running_state = copy.deepcopy(pod.api["status"]["containerStatuses"])
    lost_by_force(world, pod)
    pod.api["status"] = {"phase": "Failed", "reason": "Shutdown", "containerStatuses": running_state}
    for _ in range(3):
        world.round()
    assert (world.made, pod.is_tracked) == ([pod], True)
    world.clock += datetime.timedelta(seconds=60)
    world.round()
    assert len(world.made) == 2
    assert pod.name not in world.pods


@pytest.mark.parametrize("kind", [World, Tracking])
def test_a_forced_removal_is_told(kind):
    world = world_of(kind)
    pod = running(world)
    pod.reap()
    told = []
    world.emit = lambda _task, event, once="": told.append((event.reason, event.message))
    world.settle()
    messages = dict(told)
    assert pod.name in messages["PodRemoved"] and "before its end was known" in messages["PodRemoved"]
    assert f"its Pod {pod.name} was removed before its end was known" in messages["Created"]
    assert [reason for reason, _ in told].count("PodRemoved") == 1
    assert (world.status["status"], world.status["attempts"]) == ("Successful", 2)


def test_the_pods_of_a_task_that_is_being_deleted_are_let_go():
    world = world_of()
    pod = running(world)
    world.task["metadata"]["deletionTimestamp"] = world.now
    pod.agents[0].kill()
    world.round()
    assert not pod.is_tracked


@pytest.mark.parametrize(("own", "tracked"), [("default", False), ("operators", True), ("", True)])
def test_pods_in_the_operators_own_namespace_are_not_kept(own, tracked):
    world = world_of()
    world.own_namespace = own
    world.round()
    assert world.made[0].is_tracked is tracked
