"""Builds in a simulated cluster, whatever happens in whichever order: never two Pods, and the newest state is built."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.build_world import FINAL, BuildWorld
from support.tasks.lives import draw_events

SOURCE = {"git": {"url": "https://h/r", "revision": "main"}}
# By the image that is wanted: how the steps clone and build end.
VARIANTS = {
    "good:1": ["ok", "ok"],
    "bad:1": ["ok", "fails"],
    "no-source:1": ["fails", "ok"],
    "killed:1": ["killed", "ok"],
    "goes-on:1": ["continues", "ok"],
}
GOOD = ("good:1", "goes-on:1")
WAYS = ("background", "foreground", "orphan")


def spec_of(image: str, **more: object) -> dict:
    return {"source": SOURCE, "image": image, "command": ["make"], **more}


def outcomes(pod_spec: dict) -> list[str]:
    return VARIANTS[pod_spec["containers"][1]["image"]]


def make_world(image: str = "good:1", with_proxy: bool = False, **spec: object) -> BuildWorld:
    return BuildWorld(spec_of(image, **spec), outcomes, with_proxy)


class Life:
    """A Build whose spec, Job and cluster change all the time. Each event takes a number that says how."""

    def __init__(self, with_proxy: bool) -> None:
        self.world, self.deadlines, self.losses = make_world(with_proxy=with_proxy), 0, 0

    def cluster_goes_on(self, number: int) -> None:
        for _ in range(number % 7 + 1):
            actions = self.world.actions()
            if actions:
                actions[number % len(actions)]()

    def operator_looks(self, _number: int) -> None:
        self.world.round()

    def operator_is_killed(self, number: int) -> None:
        self.world.round(writes=number % 3)

    def operator_is_late(self, number: int) -> None:
        self.world.round(meanwhile=lambda: self.state_changes(number))

    def state_changes(self, number: int) -> None:
        images = sorted(VARIANTS)
        self.world.change(image=images[number % len(images)], backoffLimit=number % 2)

    def request_comes(self, number: int) -> None:
        self.world.request(str(number % 3))

    def control_field_changes(self, number: int) -> None:
        self.world.change(suspend=number % 2 == 0, ttlSecondsAfterFinished=None if number % 3 else number)

    def build_is_made_anew(self, _number: int) -> None:
        self.world.recreate(self.world.build["spec"])

    def job_is_deleted(self, number: int) -> None:
        jobs = list(self.world.jobs.values())
        if jobs:
            self.world.delete_by_hand(jobs[number % len(jobs)], WAYS[number % len(WAYS)])

    def job_is_out_of_time(self, number: int) -> None:
        jobs = [job for job in self.world.jobs.values() if not job["status"].get("conditions")]
        if jobs:
            self.deadlines += 1
            self.world.run_out_of_time(jobs[number % len(jobs)])

    def pod_is_lost(self, number: int) -> None:
        pods = [pod for pod in self.world.pods.values() if pod["status"]["phase"] == "Running"]
        if pods:
            self.losses += 1
            self.world.lose_pod(pods[number % len(pods)])

    def time_passes(self, number: int) -> None:
        self.world.clock += datetime.timedelta(seconds=number)

    def check_end(self) -> None:
        self.world.settle()
        status, wanted = self.world.status, self.world.build["spec"]
        assert self.world.is_current()
        assert not [pod for pod in self.world.pods.values() if pod["status"]["phase"] in ("Pending", "Running")]
        reason = status["conditions"][-1]["reason"]
        if status["phase"] not in FINAL:
            assert wanted["suspend"] and reason == "Suspended", f"{status['phase']}, {reason}"
            assert (status["steps"], "jobName" in status) == ([], False)
            return
        assert (status["phase"] == "Successful") == (wanted["image"] in GOOD) or self.deadlines or self.losses
        assert status["phase"] == "Failure" or wanted["image"] in GOOD
        assert reason in ("Succeeded", "StepFailed", "DeadlineExceeded", "PodLost")
        assert reason != "DeadlineExceeded" or self.deadlines
        assert reason != "PodLost" or self.losses
        assert {entry["phase"] for entry in status.get("history", [])} <= {*FINAL, "Replaced"}


WEIGHTS = {
    Life.cluster_goes_on: 20,
    Life.operator_looks: 14,
    Life.operator_is_killed: 3,
    Life.operator_is_late: 2,
    Life.state_changes: 4,
    Life.request_comes: 2,
    Life.control_field_changes: 2,
    Life.build_is_made_anew: 1,
    Life.job_is_deleted: 3,
    Life.job_is_out_of_time: 3,
    Life.pod_is_lost: 1,
    Life.time_passes: 1,
}


@given(st.booleans(), draw_events(WEIGHTS, 60))
def test_whatever_happens_to_a_build_its_newest_state_is_built_by_one_pod_at_a_time(with_proxy, events):
    life = Life(with_proxy)
    for event, number in events:
        event(life, number)
    life.check_end()


def run(world: BuildWorld) -> None:
    """Have a Pod whose first step runs."""
    world.round()
    world.actions()[0]()
    world.actions()[0]()
    world.round()
    assert world.status["phase"] == "Running"


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_somebody_deletes_is_made_again_when_its_pod_is_gone(way):
    world = make_world()
    run(world)
    (job,), (pod,) = world.jobs.values(), world.pods.values()
    world.delete_by_hand(job, way)
    assert world.round()["action"] == "waiting"
    assert world.status["conditions"][-1]["reason"] == "WaitingForJob"
    world.settle()
    assert (world.status["phase"], pod["metadata"]["name"] in world.pods) == ("Successful", False)


@pytest.mark.parametrize("begin", [BuildWorld.round, run], ids=["a Job", "a Pod"])
def test_a_build_that_is_made_anew_waits_for_what_is_left_of_the_one_before(begin):
    world = make_world()
    begin(world)
    world.recreate(world.build["spec"])
    assert world.round()["action"] == "waiting"
    world.settle()
    assert (world.status["phase"], len(world.jobs)) == ("Successful", 1)


def test_a_job_that_is_made_again_shows_no_steps_of_the_one_before():
    world = make_world()
    run(world)
    (job,) = world.jobs.values()
    world.delete_by_hand(job, "background")
    world.pods.clear()
    assert world.round()["action"] == "created"
    assert world.status["steps"] == []


def test_a_step_that_is_killed_with_its_agent_ends_the_build():
    world = make_world("killed:1")
    world.settle()
    assert world.status["conditions"][-1]["message"].startswith('step "clone" (1 of 2) failed: exit code 137, Killed')
    assert [step["state"] for step in world.status["steps"]] == ["Failed", "Skipped"]


def test_a_state_that_is_wanted_again_is_built_again():
    world = make_world()
    world.settle()
    (first,) = world.jobs.values()
    for image in ("bad:1", "good:1"):
        world.change(image=image)
        world.settle()
    assert world.status["phase"] == "Successful"
    again = world.jobs[first["metadata"]["name"]]
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert [entry["phase"] for entry in world.status["history"]] == ["Failure", "Successful"]


def test_a_state_that_is_wanted_again_is_built_again_though_it_was_suspended_first():
    world = make_world()
    world.settle()
    world.change(image="bad:1")
    world.settle()
    world.change(image="good:1", suspend=True)
    world.settle()
    assert world.status["conditions"][-1]["reason"] == "Suspended"
    world.change(suspend=False)
    world.settle()
    assert world.status["phase"] == "Successful"
    assert [entry["phase"] for entry in world.status["history"]] == ["Failure", "Successful"]


def test_the_job_of_somebody_else_in_its_place_is_told_and_looked_at_again():
    world = make_world()
    world.round()
    (job,) = world.jobs.values()
    del world.build["status"]
    job["metadata"].update(ownerReferences=[], annotations={})
    result = world.round()
    assert (result["action"], result["requeue_after"]) == ("failed", 10)
    assert world.status["conditions"][-1]["reason"] == "AlreadyExists"


def test_a_look_between_the_end_of_a_pod_and_that_of_its_job_forgets_nothing():
    world = make_world(activeDeadlineSeconds=60)
    run(world)
    (pod,), (job,) = world.pods.values(), world.jobs.values()
    world.run_out_of_time(job)
    world.round()
    del world.pods[pod["metadata"]["name"]]
    world.round()
    world.settle()
    assert world.status["conditions"][-1]["reason"] == "DeadlineExceeded"
    assert world.status["conditions"][-1]["message"].startswith('step "clone" (1 of 2) was still running')


def test_a_build_that_is_out_of_time_says_so_though_its_steps_were_ended():
    world = make_world(activeDeadlineSeconds=60)
    run(world)
    (pod,), (job,) = world.pods.values(), world.jobs.values()
    for container in pod["status"]["containerStatuses"]:
        container.update(end="fails", state={"terminated": {"exitCode": 143, "reason": "Error"}})
    world.run_out_of_time(job)
    world.settle()
    assert world.status["conditions"][-1]["reason"] == "DeadlineExceeded"


def test_with_no_time_to_live_the_job_goes_at_once():
    world = make_world(ttlSecondsAfterFinished=0)
    while world.status.get("phase") not in FINAL:
        result = world.round()
        for action in world.actions()[:1]:
            action()
    assert result["deleted"] == [world.status["jobName"]]
    world.settle()
    assert (world.jobs, world.pods) == ({}, {})
    assert "requeue_after" not in world.round()


def test_a_suspended_build_shows_no_steps_of_the_job_that_went():
    world = make_world()
    run(world)
    world.change(suspend=True)
    world.settle()
    assert (world.status["conditions"][-1]["reason"], world.status["steps"]) == ("Suspended", [])


def failed_create(words: str, second: int) -> dict:
    """Return an Event as the Job controller records it."""
    return {"reason": "FailedCreate", "message": words, "lastTimestamp": f"2024-01-06T22:20:{second:02}Z"}


def test_what_keeps_a_job_from_having_its_pod_is_told_until_it_has_one():
    world = make_world()
    assert world.round()["requeue_after"] == 5
    world.job_events = [
        failed_create('pods "site-b" is forbidden: exceeded quota: none', 2),
        failed_create('pods "site-a" is forbidden: violates PodSecurity "restricted"', 1),
    ]
    assert world.round()["requeue_after"] == 30
    condition = world.status["conditions"][-1]
    assert (world.status["phase"], condition["reason"]) == ("Pending", "QuotaExceeded")
    assert condition["message"] == "the Job can't make its Pod: the Pod is forbidden: exceeded quota: none"
    assert world.events[-1] == "QuotaExceeded"
    world.job_events.append(failed_create('Error creating: pods "site-c" is forbidden: violates PodSecurity', 2))
    world.job_events.append({"reason": "PolicyViolation", "message": "", "lastTimestamp": "2024-01-06T22:20:09Z"})
    world.round()
    assert world.status["conditions"][-1]["reason"] == "PodRefused"
    world.actions()[0]()
    assert "requeue_after" not in world.round()
    assert world.status["conditions"][-1]["reason"] == "Pending"
    world.settle()
    assert world.status["phase"] == "Successful"


def test_a_refusal_is_over_once_the_job_has_made_a_pod():
    world = make_world()
    world.round()
    made = {"reason": "SuccessfulCreate", "message": "", "lastTimestamp": "2024-01-06T22:20:02Z"}
    world.job_events = [failed_create("no", 1), made]
    world.round()
    assert world.status["conditions"][-1]["reason"] == "Pending"


def test_a_job_without_a_pod_is_looked_at_again_while_it_is_new():
    world = make_world()
    world.round()
    world.clock += datetime.timedelta(seconds=61)
    assert "requeue_after" not in world.round()


def test_a_build_that_changes_while_it_is_looked_at_is_read_afresh():
    world = make_world()
    result = world.round(meanwhile=lambda: world.change(ttlSecondsAfterFinished=5))
    assert (result["action"], result["changed"], len(world.jobs)) == ("created", True, 1)
    result = world.round(meanwhile=lambda: world.change(image="bad:1"))
    assert world.is_current()
    assert result["deleted"] == [job for job in world.jobs if job != world.status.get("jobName")]


def test_an_order_that_somebody_else_sets_is_no_problem_of_the_build():
    world = make_world(image="killed:1")
    run(world)
    (pod,) = world.pods.values()
    set_order = world.set_order

    def set_by_another_first(*arguments) -> None:
        world.set_order = set_order
        raise TaskError("OrderConflict", "somebody else was faster")

    while pod["metadata"]["annotations"]["taskorder"] != "-1":
        world.actions()[0]()
        world.set_order = set_by_another_first
        world.round()
        world.set_order = set_order
        assert world.status["conditions"][-1]["reason"] != "OrderConflict"
    world.settle()
    assert world.status["phase"] == "Failure"
