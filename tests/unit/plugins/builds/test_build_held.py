"""Pods that others' containers keep alive, in a simulated cluster: they are ended, and nothing is built twice."""

from __future__ import annotations

import pytest
from support.tasks.build_world import NO_IMAGE, PROXY, BuildWorld

ENDS = {"good:1": ["ok", "ok"], "bad:1": ["ok", "fails"], NO_IMAGE: ["ok", "ok"]}


def make_world(image: str = "good:1", **spec: object) -> BuildWorld:
    """Return a world in which each Pod gets a container that never ends."""
    source = {"git": {"url": "https://h/r", "revision": "main"}}
    return BuildWorld(
        {"source": source, "image": image, "command": ["make"], **spec},
        lambda pod_spec: ENDS[pod_spec["containers"][1]["image"]],
        with_proxy=True,
    )


def run_steps(world: BuildWorld) -> dict:
    """Have a Pod whose steps have ended while nobody looked, and return it."""
    world.round()
    while actions := world.actions():
        actions[0]()
    (pod,) = world.pods.values()
    states = {status["name"]: status["state"] for status in pod["status"]["containerStatuses"]}
    assert [name for name, state in states.items() if "running" in state] == [PROXY]
    return pod


@pytest.mark.parametrize("limit", [0, 2])
def test_a_pod_that_others_keep_alive_is_ended_once_its_success_is_recorded(limit):
    world = make_world(backoffLimit=limit)
    world.settle()
    (pod,), (job,) = world.pods.values(), world.jobs.values()
    assert (world.status["phase"], world.status["podName"]) == ("Successful", pod["metadata"]["name"])
    assert (pod["status"]["phase"], "deletionTimestamp" in pod["metadata"]) == ("Failed", False)
    assert [end["type"] for end in job["status"]["conditions"]] == ["Failed"]
    assert world.events.index("Completed") < world.events.index("PodEnded")
    assert world.events.count("PodEnded") == 1


def test_a_pod_of_a_failed_try_is_ended_and_the_job_tries_again():
    world = make_world("bad:1", backoffLimit=1)
    world.settle()
    assert [pod["status"]["phase"] for pod in world.pods.values()] == ["Failed", "Failed"]
    assert (world.status["phase"], world.status["conditions"][-1]["reason"]) == ("Failure", "StepFailed")
    assert (world.events.count("PodEnded"), world.events.count("Retrying")) == (2, 1)


@pytest.mark.parametrize("writes", range(4))
@pytest.mark.parametrize("is_seen_late", [False, True], ids=["at once", "late"])
def test_a_success_is_never_tried_again_whenever_the_operator_is_killed_and_the_pod_is_lost(writes, is_seen_late):
    world = make_world(backoffLimit=2)
    pod = run_steps(world)
    world.round(writes=writes)
    world.lose_pod(pod)
    if is_seen_late:
        for action in world.actions():
            action()
    world.settle()
    assert (world.status["phase"], world.status["podName"]) == ("Successful", pod["metadata"]["name"])
    assert [p for p in world.pods.values() if p["status"]["phase"] in ("Pending", "Running")] == []
    # Only a Pod that was lost before anybody knew of its success may have been followed by one; it is gone.
    assert list(world.pods) == [pod["metadata"]["name"]]


def test_a_success_counts_though_the_job_runs_out_of_time_before_anybody_looks():
    world = make_world(activeDeadlineSeconds=60)
    run_steps(world)
    (job,) = world.jobs.values()
    world.run_out_of_time(job)
    world.settle()
    assert world.status["phase"] == "Successful"


def test_a_job_that_is_deleted_after_its_pod_has_succeeded_is_not_made_again():
    world = make_world()
    world.round()
    for _ in range(2):
        world.actions()[0]()
    world.round()
    while actions := world.actions():
        actions[0]()
    (job,) = world.jobs.values()
    world.delete_by_hand(job, "background")
    world.settle()
    assert (world.status["phase"], world.jobs, world.pods) == ("Successful", {}, {})


def test_in_check_mode_nothing_is_ended():
    world = make_world(backoffLimit=2)
    pod = run_steps(world)
    result = world.round(check_mode=True)
    assert (result["changed"], result["status"]["phase"]) == (True, "Successful")
    assert (world.status["phase"], "activeDeadlineSeconds" in pod["spec"]) == ("Pending", False)
    assert [job["spec"]["backoffLimit"] for job in world.jobs.values()] == [2]


@pytest.mark.parametrize("limit", [0, 2])
@pytest.mark.parametrize("writes", range(5))
def test_an_image_that_the_kubelet_cannot_name_fails_the_build_and_is_not_tried_again(limit, writes):
    world = make_world(NO_IMAGE, backoffLimit=limit)
    world.round()
    while actions := world.actions():
        actions[0]()
    world.round(writes=writes)
    world.settle()
    ((condition,),) = [world.status["conditions"]]
    assert (world.status["phase"], condition["reason"]) == ("Failure", "InvalidImageName")
    words = f"step \"build\": spec.image: '{NO_IMAGE}' is no name of an image: couldn't parse image name"
    assert condition["message"] == words
    assert [pod["status"]["phase"] for pod in world.pods.values()] == ["Failed"]
    (job,) = world.jobs.values()
    assert [end["type"] for end in job["status"]["conditions"]] == ["Failed"]


def test_the_operators_own_image_is_called_so():
    source = {"git": {"url": "https://h/r", "revision": "main"}}
    world = BuildWorld({"source": source, "image": "good:1", "command": ["make"]}, lambda _spec: ["ok", "ok"])
    world.git_image = NO_IMAGE
    world.settle()
    message = world.status["conditions"][0]["message"]
    assert message.startswith(f"step \"clone\": the operator's TASKFLOW_GIT_IMAGE: '{NO_IMAGE}' is no name")
