"""Which Job a Build has, which goes, whether one is due; and what its status says."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._build.build import (
    as_task,
    build_hash,
    build_job,
    job_name,
)
from ansible_collections.taskflow.operator.plugins.module_utils._build.observed import Seen
from ansible_collections.taskflow.operator.plugins.module_utils._build.plan import KEPT_JOBS, plan_jobs
from ansible_collections.taskflow.operator.plugins.module_utils._build.status import (
    HISTORY_MAX,
    compute_events,
    compute_status,
    next_look,
)
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._task.conditions import condition_of
from support.tasks import factory

NOW = "2024-01-06T22:30:00Z"
BEGIN, END = "2024-01-06T22:19:24Z", "2024-01-06T22:20:44Z"


def make_build(status: dict | None = None, **spec: object) -> dict:
    """Return a Build as the API server would."""
    return {
        "metadata": {"name": "site", "namespace": "ci", "uid": "u-1", "generation": 1},
        "spec": {"source": {"git": {"url": "https://h/r"}}, "image": "tools:1", "command": ["make"], **spec},
        **({"status": status} if status else {}),
    }


def make_job(build: dict, end: str = "", ending: bool = False, **condition: str) -> dict:
    """Return the Job of a Build's wanted state. ``end`` is Complete or Failed."""
    job = build_job(build, factory.build(as_task(build, "git:1")))
    job["metadata"].update(uid=f"uid-of-{job['metadata']['name']}", creationTimestamp=BEGIN)
    if ending:
        job["metadata"]["deletionTimestamp"] = NOW
    conditions = [{"type": end, "status": "True", "lastTransitionTime": END, **condition}] if end else []
    job["status"] = {"startTime": BEGIN, "conditions": conditions}
    return job


def make_pod(job: dict, phase: str = "Running", **states: dict) -> dict:
    """Return a Pod of a Job, with its containers' states by their names."""
    return {
        "metadata": {
            "name": job["metadata"]["name"] + "-abcde",
            "creationTimestamp": BEGIN,
            "annotations": {"taskorder": "0"},
            "ownerReferences": [{"uid": job["metadata"]["uid"]}],
        },
        "spec": {"containers": [{"name": "clone", "image": "git:1"}, {"name": "build", "image": "tools:1"}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": name, "state": state} for name, state in states.items()],
        },
    }


def ended(code: int = 0, message: str = "") -> dict:
    return {"terminated": {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else "Error"}}


def other(build: dict) -> dict:
    """Return the same Build with another wanted state."""
    return {**build, "spec": {**build["spec"], "image": "tools:2"}}


def plan(build: dict, *jobs: dict, pods: tuple[dict, ...] = ()):
    return plan_jobs(build, jobs, pods, NOW)


def status(build: dict, *jobs: dict, pods: tuple[dict, ...] = (), problem: TaskError | None = None) -> dict:
    return compute_status(build, Seen(as_task(build, "git:1"), jobs, pods, problem), NOW)


def test_a_new_build_gets_a_job_and_keeps_it():
    build = make_build()
    assert plan(build).action == "created"
    assert plan(build, make_job(build)).action == "kept"
    assert plan(build, make_job(build, "Complete")).action == "kept"


def test_a_job_of_another_state_goes_and_is_awaited():
    build = make_build()
    old = make_job(other(build))
    first = plan(build, old)
    assert (first.action, first.delete) == ("waiting", (old,))
    ending = make_job(other(build), ending=True)
    second = plan(build, ending)
    assert (second.action, second.delete) == ("waiting", ())


def test_one_that_has_ended_is_not_in_the_way_but_its_living_pods_are():
    build = make_build()
    old = make_job(other(build), "Failed")
    assert plan(build, old).action == "created"
    assert plan(build, old, pods=(make_pod(old, "Failed"),)).action == "created"
    assert plan(build, old, pods=(make_pod(old, "Running"),)).action == "waiting"


def test_the_last_jobs_stay_for_their_logs():
    build = make_build()
    jobs = []
    for number in range(KEPT_JOBS + 2):
        job = make_job(make_build(image=f"old:{number}"), "Complete")
        job["metadata"]["creationTimestamp"] = f"2024-01-0{number + 1}T00:00:00Z"
        jobs.append(job)
    current = make_job(build)
    assert plan(build, current, *jobs).delete == tuple(jobs[:2])


def test_a_job_that_somebody_deletes_is_made_again_once_it_is_gone():
    build = make_build()
    assert plan(build, make_job(build, ending=True)).action == "waiting"
    assert plan(build).action == "created"


def test_what_has_been_built_is_not_built_again():
    build = make_build()
    build["status"] = status(build, make_job(build, "Complete"))
    assert plan(build).action == "finished"
    assert plan(other(build)).action == "created"
    build["metadata"]["annotations"] = {"build.taskflow/request": "2"}
    assert plan(build).action == "created"


def test_a_suspended_build_has_no_job_unless_it_has_ended():
    build = make_build(suspend=True)
    job = make_job(build)
    assert (plan(build, job).action, plan(build, job).delete) == ("suspended", (job,))
    assert plan(build, make_job(build, "Complete")).action == "kept"
    assert condition_of(status(build))["reason"] == "Suspended"


def test_the_job_goes_when_its_time_to_live_has_passed():
    build = make_build(ttlSecondsAfterFinished=60)
    job = make_job(build, "Complete")
    build["status"] = status(build, job)
    expired = plan(build, job)
    assert (expired.action, expired.delete) == ("finished", (job,))
    build["spec"]["ttlSecondsAfterFinished"] = 3600
    assert plan(build, job).delete == ()
    assert next_look(build, make_job(build, "Complete"), False, Seen(), NOW) == 3600 - 556


def test_a_build_that_is_being_deleted_is_left_alone():
    build = make_build()
    build["metadata"]["deletionTimestamp"] = NOW
    assert plan(build).action == "finished"


def test_the_status_follows_the_pod_and_then_the_job():
    build = make_build()
    assert (status(build)["phase"], condition_of(status(build))["reason"]) == ("Pending", "Pending")
    job = make_job(build)
    assert status(build, job)["jobName"] == job_name(build)
    report = '{"state":"Succeeded","exitCode":0,"result.revision":"8d3f"}'
    pod = make_pod(job, clone=ended(0, report), build={"running": {}})
    running = status(build, job, pods=(pod,))
    assert (running["phase"], running["revision"]) == ("Running", "8d3f")
    assert [step["state"] for step in running["steps"]] == ["Succeeded", "Running"]
    done = status(build, make_job(build, "Complete"), pods=(pod,))
    assert (done["phase"], done["startTime"], done["completionTime"], done["duration"]) == (
        "Successful",
        BEGIN,
        END,
        "1m20s",
    )


def test_a_failure_says_which_step_and_why():
    build = make_build()
    job = make_job(build, "Failed", reason="BackoffLimitExceeded", message="Job has reached the limit")
    report = '{"state":"Failed","exitCode":1,"message":"fatal: no such thing"}'
    pod = make_pod(job, "Failed", clone=ended(1, report), build=ended(0, '{"state":"Skipped","exitCode":0}'))
    found = condition_of(status(build, job, pods=(pod,)))
    assert (found["status"], found["reason"]) == ("False", "StepFailed")
    assert found["message"] == 'step "clone" (1 of 2) failed: exit code 1: fatal: no such thing'
    assert condition_of(status(build, job))["reason"] == "BackoffLimitExceeded"


def test_an_image_that_can_not_be_pulled_is_told_with_its_step():
    build = make_build()
    job = make_job(build)
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    found = condition_of(status(build, job, pods=(make_pod(job, "Pending", clone=waiting),)))
    assert (found["reason"], found["message"]) == ("ErrImagePull", 'step "clone", image git:1: no such image')


def test_a_problem_is_final_only_where_the_spec_has_to_change():
    build = make_build()
    passing = TaskError("QuotaExceeded", "too much", retry_after=7)
    assert status(build, problem=passing)["phase"] == "Pending"
    assert next_look(build, None, False, Seen(problem=passing), NOW) == 7
    final = status(build, problem=InvalidSpec("spec.image", "is no image"))
    assert (final["phase"], condition_of(final)["message"]) == ("Failure", "spec.image: is no image")


def test_a_verdict_does_not_change():
    build = make_build()
    build["status"] = status(build, make_job(build, "Complete"))
    assert status(build) == build["status"]


def test_the_history_has_the_builds_before_the_latest_first():
    build = make_build()
    for number in range(HISTORY_MAX + 3):
        build["spec"]["image"] = f"tools:{number}"
        for end in ("", "Complete")[: number % 2 + 1]:
            build["status"] = status(build, make_job(build, end))
    history = build["status"]["history"]
    assert len(history) == HISTORY_MAX
    assert history[0]["phase"] == "Successful" and history[1]["phase"] == "Replaced"
    assert history[1]["completionTime"] == NOW
    assert build["status"]["buildHash"] == build_hash(build)
    assert build["status"]["jobName"] not in [entry["jobName"] for entry in history]


@pytest.mark.parametrize(
    ("end", "reason"),
    [("Complete", "Completed"), ("Failed", "Failed")],
)
def test_events_tell_of_each_change_once(end, reason):
    build = make_build()
    pending = status(build)
    ended_status = status(build, make_job(build, end))
    assert [event.reason for event in compute_events({}, pending)] == []
    assert [event.reason for event in compute_events(pending, ended_status)] == [reason]
    assert compute_events(ended_status, ended_status) == []


def test_a_pod_that_is_over_though_its_phase_does_not_say_so_yet_stays_and_is_not_waited_for():
    build = make_build()
    pod = make_pod(make_job(build), clone=ended(), build=ended(3))
    plan = plan_jobs(build, [], [pod], NOW)
    assert (plan.action, plan.orphans) == ("created", ())
    assert condition_of(compute_status(build, Seen(pods=[pod]), NOW))["reason"] == "Pending"
    pod["status"]["containerStatuses"][1]["state"] = {"running": {}}
    plan = plan_jobs(build, [], [pod], NOW)
    assert (plan.action, plan.orphans) == ("waiting", (pod,))
    assert condition_of(compute_status(build, Seen(pods=[pod]), NOW))["reason"] == "WaitingForJob"
