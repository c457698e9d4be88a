"""How a Build is judged: by its own containers, whatever others put into its Pod and whatever its Job says."""

from __future__ import annotations

import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._build.build import as_task, build_job
from ansible_collections.taskflow.operator.plugins.module_utils._build.observed import Seen, tries_to_allow
from ansible_collections.taskflow.operator.plugins.module_utils._build.status import (
    compute_events,
    compute_status,
    next_look,
)
from ansible_collections.taskflow.operator.plugins.module_utils._task.conditions import condition_of
from support.tasks import factory

NOW, BEGIN, END = "2024-01-06T22:30:00Z", "2024-01-06T22:19:24Z", "2024-01-06T22:20:44Z"
RUNS: dict = {"running": {}}
WAITS: dict = {"waiting": {"reason": "PodInitializing"}}


def make_build(**spec: object) -> dict:
    return {
        "metadata": {"name": "site", "namespace": "ci", "uid": "u-1", "generation": 1},
        "spec": {"source": {"git": {"url": "https://h/r"}}, "image": "tools:1", "command": ["make"], **spec},
    }


def make_job(build: dict, reason: str = "", kind: str = "Failed", **status: object) -> dict:
    """Return the Job of a Build; ``reason`` is that of its end."""
    job = build_job(build, factory.build(as_task(build, "git:1")))
    job["metadata"].update(uid="job-uid", creationTimestamp=BEGIN)
    end = {"type": kind, "status": "True", "reason": reason, "message": f"said {reason}", "lastTransitionTime": END}
    job["status"] = {"startTime": BEGIN, "conditions": [end] if reason else [], **status}
    return job


def make_pod(clone: dict, build: dict, phase: str = "Running", *, number: int = 1, **more: object) -> dict:
    """Return a Pod of the Job; ``more`` are the states of others' containers, and fields of its status."""
    others = {name: more.pop(name) for name in list(more) if name.startswith("other")}
    states = {"clone": clone, "build": build, **others}
    return {
        "metadata": {
            "name": f"site-{number}",
            "creationTimestamp": f"2024-01-06T22:19:{24 + number}Z",
            "annotations": {"taskorder": "0"},
            "ownerReferences": [{"kind": "Job", "name": "site", "uid": "job-uid"}],
        },
        "spec": {"containers": [{"name": name, "image": "i"} for name in states]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": name, "state": state} for name, state in states.items()],
            **more,
        },
    }


def ended(code: int = 0, state: str = "Succeeded", container_code: int | None = None, **report: object) -> dict:
    """Return the end of a step's container, with its agent's report."""
    message = json.dumps({"state": state, "exitCode": code, **report})
    return {"terminated": {"exitCode": code if container_code is None else container_code, "message": message}}


def killed() -> dict:
    return {"terminated": {"exitCode": 143, "reason": "Error"}}


def status(build: dict, *pods: dict, job: dict | None = None) -> dict:
    return compute_status(build, Seen(as_task(build, "git:1"), [job or make_job(build)], pods), NOW)


def recorded(build: dict, *pods: dict, job: dict | None = None) -> dict:
    """Return the Build with the status that it gets."""
    return {**build, "status": status(build, *pods, job=job)}


OK = ended()
FAILED = ended(3, "Failed")


@pytest.mark.parametrize("reason", ["", "DeadlineExceeded", "BackoffLimitExceeded"])
def test_a_container_of_others_that_goes_on_keeps_no_verdict_back_and_the_job_makes_no_failure_of_it(reason):
    build = make_build()
    found = status(build, make_pod(OK, OK, other=RUNS), job=make_job(build, reason))
    assert (found["phase"], found["podName"]) == ("Successful", "site-1")
    assert condition_of(found)["message"] == "all 2 steps succeeded"


def test_a_success_ends_when_its_last_step_does():
    build = make_build()
    last = ended(startedAt="2024-01-06T22:19:30.000Z", finishedAt="2024-01-06T22:19:34.500Z")
    found = status(build, make_pod(OK, last, other=RUNS), job=make_job(build, "DeadlineExceeded"))
    assert (found["completionTime"], found["duration"]) == ("2024-01-06T22:19:34Z", "10s")


@pytest.mark.parametrize("kind", ["", "Complete"])
def test_a_step_that_failed_and_was_continued_is_told_as_for_a_task(kind):
    build = make_build()
    went_on = ended(1, "Failed", container_code=0, continued=1)
    found = status(build, make_pod(OK, went_on), job=make_job(build, kind, kind=kind))
    assert found["phase"] == "Successful"
    assert condition_of(found)["message"] == "all 2 steps ended; failed, and continued: build"


def test_a_job_that_is_complete_makes_no_success_of_steps_that_did_not_succeed():
    build = make_build()
    cancelled = ended(0, "Cancelled")
    found = status(build, make_pod(OK, cancelled, "Succeeded"), job=make_job(build, "Completed", kind="Complete"))
    assert (found["phase"], condition_of(found)["reason"]) == ("Failure", "CancelledByOrder")


def test_a_success_that_nobody_saw_is_told_by_the_job_and_no_step_goes_on_in_it():
    build = recorded(make_build(), make_pod(OK, RUNS))
    found = status(build, job=make_job(build, "Completed", kind="Complete"))
    assert (found["phase"], found["podName"]) == ("Successful", "site-1")
    assert [step["state"] for step in found["steps"]] == ["Succeeded", "Succeeded"]
    assert condition_of(found)["message"].startswith("the Job is complete; its Pod was gone")


def test_an_end_that_is_recorded_stays_though_the_container_was_made_again():
    build = recorded(make_build(), make_pod(OK, RUNS))
    again = make_pod(killed(), OK)
    again["status"]["containerStatuses"][0]["restartCount"] = 1
    found = status(build, again)
    assert found["phase"] == "Successful"
    assert (found["steps"][0]["state"], found["steps"][0]["restarts"]) == ("Succeeded", 1)
    other_pod = status(build, make_pod(killed(), OK, number=2))
    assert (other_pod["phase"], other_pod["steps"][0]["state"]) == ("Running", "Failed")


def test_a_failure_waits_for_the_jobs_end_and_tells_of_the_next_try():
    build = make_build(backoffLimit=1)
    pods = [make_pod(OK, FAILED, "Failed")]
    first = recorded(build, *pods)
    assert (first["status"]["phase"], condition_of(first["status"])["reason"]) == ("Running", "Retrying")
    words = 'step "build" (2 of 2) failed: exit code 3; retry 1 of 1 follows'
    assert condition_of(first["status"])["message"] == words
    (told,) = compute_events(status(build, make_pod(OK, RUNS)), first["status"])
    assert (told.type, told.reason, told.message) == ("Warning", "Retrying", words)
    second = make_pod(OK, FAILED, "Failed", number=2)
    assert condition_of(status(first, *pods, second))["reason"] == "Running"
    last = status(first, *pods, second, job=make_job(build, "BackoffLimitExceeded"))
    assert (last["phase"], condition_of(last)["reason"], last["podName"]) == ("Failure", "StepFailed", "site-2")


LOST = {"reason": "Evicted", "message": "The node was low on resource: memory. "}


def test_a_lost_pod_is_told_as_such_and_is_no_fault_of_a_step():
    build, pod = make_build(), make_pod(OK, killed(), "Failed", **LOST)
    found = condition_of(status(build, pod, job=make_job(build, "BackoffLimitExceeded")))
    assert (found["status"], found["reason"]) == ("False", "PodLost")
    assert found["message"] == (
        "Pod site-1 was lost before its steps had ended: The node was low on resource: memory.; "
        "spec.backoffLimit is 0, which allows no other try"
    )
    build = make_build(backoffLimit=1)
    found = condition_of(status(build, pod))
    words = (
        "Pod site-1 was lost before its steps had ended: The node was low on resource: memory.; retry 1 of 1 follows"
    )
    assert (found["reason"], found["message"]) == ("PodLost", words)


def ending(pod: dict, due: str = NOW) -> dict:
    pod["metadata"]["deletionTimestamp"] = due
    return pod


# A Pod goes as soon as its Job has counted it. Somebody may look before the Job says that it has ended.
SEEN = "seen before the Job ends"
IS_GONE = (False, True, SEEN)
STOPPED = ended(143, "Failed", reason="Signal")


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([ending(make_pod(OK, RUNS))], "PodLost"),
        ([ending(make_pod(OK, RUNS)), ending(make_pod(OK, STOPPED))], "PodLost"),
        ([ending(make_pod(OK, STOPPED, "Failed"))], "PodLost"),
        ([make_pod(OK, FAILED), ending(make_pod(OK, FAILED))], "StepFailed"),
        ([make_pod(OK, STOPPED, "Failed"), ending(make_pod(OK, STOPPED, "Failed"))], "StepFailed"),
        ([ending(make_pod(OK, FAILED))], "StepFailed"),
    ],
    ids=["runs", "then stopped", "stopped", "failed first", "killed first", "failed"],
)
@pytest.mark.parametrize("is_gone", IS_GONE, ids=map(str, IS_GONE))
def test_a_pod_that_somebody_deletes_is_told_as_such_unless_a_step_had_failed_before(looks, reason, is_gone):
    build = make_build()
    for pod in looks:
        build = recorded(build, pod)
    if is_gone == SEEN:
        build = recorded(build)
    found = status(build, *([] if is_gone else [pod]), job=make_job(build, "BackoffLimitExceeded"))
    assert (found["phase"], condition_of(found)["reason"]) == ("Failure", reason)
    if reason == "PodLost":
        words = "Pod site-1 was deleted before its steps had ended; spec.backoffLimit is 0, which allows no other try"
        assert condition_of(found)["message"] == words


@pytest.mark.parametrize("is_told", [False, True])
def test_a_pod_that_the_job_deletes_as_its_time_is_up_is_not_told_as_lost(is_told):
    build = make_build(activeDeadlineSeconds=60 if not is_told else 6000)
    job = make_job(build, "DeadlineExceeded" if is_told else "", kind="FailureTarget")
    found = status(build, ending(make_pod(OK, STOPPED)), job=job)
    assert (found["phase"], condition_of(found)["reason"]) == ("Running", "Running")


def test_what_is_known_of_a_pod_that_is_gone_stays_until_its_job_makes_another():
    build = recorded(make_build(backoffLimit=1), make_pod(OK, RUNS))
    kept = status(build)
    assert {**kept, "conditions": []} == {**build["status"], "conditions": []}
    assert condition_of(kept) == condition_of(build["status"])
    build = {**build, "status": kept}
    assert status(build, make_pod(RUNS, WAITS, number=2))["podName"] == "site-2"


def test_nothing_is_known_of_the_pod_of_a_job_that_was_made_again():
    build = recorded(make_build(), make_pod(OK, RUNS))
    job = make_job(build)
    job["metadata"]["creationTimestamp"] = job["status"]["startTime"] = END
    found = status(build, job=job)
    assert (found["steps"], "podName" in found) == ([], False)
    assert condition_of(found)["message"].startswith("the Job is about to make its Pod")


def test_a_try_whose_pod_is_gone_counts():
    build = make_build(backoffLimit=1)
    pod = make_pod(OK, FAILED, "Failed")
    pod["metadata"].update(uid="p", finalizers=["batch.kubernetes.io/job-tracking"])
    for counted, reason in (({}, "Retrying"), ({"failed": 1}, "Running")):
        found = status(build, pod, job=make_job(build, **counted))
        assert condition_of(found)["reason"] == reason
    pod["metadata"]["finalizers"] = []
    named = {"uncountedTerminatedPods": {"failed": ["p"]}}
    assert condition_of(status(build, pod, job=make_job(build, **named)))["reason"] == "Retrying"


def test_a_pod_that_does_not_end_on_a_lost_node_is_told_with_what_to_do():
    build = make_build(backoffLimit=1)
    pod = ending(make_pod(OK, RUNS), "2024-01-06T22:28:00Z")
    pod["spec"]["nodeName"] = "n1"
    found = status(build, pod)
    assert (found["phase"], condition_of(found)["reason"]) == ("Pending", "PodStuck")
    assert "on node n1" in condition_of(found)["message"]
    assert condition_of(found)["message"].endswith("the Build then goes on")
    seen = Seen(as_task(build, "git:1"), [make_job(build)], [pod])
    assert next_look({**build, "status": found}, seen.jobs[0], False, seen, NOW) == 30
    other_state = make_build(image="tools:2")
    assert condition_of(compute_status(other_state, Seen(pods=[pod]), NOW))["reason"] == "PodStuck"


def test_an_earlier_pod_whose_steps_had_passed_before_it_was_lost_decides():
    build = make_build(backoffLimit=1)
    pods = [make_pod(OK, OK, "Failed", other=killed(), **LOST), make_pod(RUNS, RUNS, number=2)]
    found = status(build, *pods)
    assert (found["phase"], found["podName"]) == ("Successful", "site-1")
    assert tries_to_allow(build, Seen(as_task(build, "git:1"), [make_job(build, failed=1)], pods)) == 0


def test_the_success_of_a_pod_whose_job_somebody_deletes_counts_where_the_status_names_the_pod():
    build, done = make_build(), make_pod(OK, OK)
    seen = Seen(as_task(build, "git:1"), [], [done])
    assert compute_status(build, seen, NOW)["phase"] == "Pending"
    build = recorded(build, make_pod(OK, RUNS))
    found = compute_status(build, seen, NOW)
    assert (found["phase"], found["jobName"], found["startTime"]) == ("Successful", build["status"]["jobName"], BEGIN)
    assert compute_status(build, Seen(seen.task, [], [make_pod(OK, killed())]), NOW)["steps"] == []


def test_a_job_without_a_pod_that_tells_why_it_failed_says_so():
    build = make_build()
    found = condition_of(status(build, job=make_job(build, "BackoffLimitExceeded")))
    assert found["reason"] == "BackoffLimitExceeded"
    assert found["message"].startswith("said BackoffLimitExceeded; none of its Pods is left")


RULE = "spec.activeDeadlineSeconds allows 60 s for the whole Build, its retries included"
CLONED = ended(finishedAt="2024-01-06T22:19:54.000Z")
PULLING = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ((CLONED, RUNS), 'step "build" (2 of 2) was still running when the time was up, after 30s; '),
        ((CLONED, killed()), 'step "build" (2 of 2) was still running when the time was up, after 30s; '),
        ((OK, ended(143, "Failed", reason="Signal")), 'step "build" (2 of 2) was still running when the time was up; '),
        ((RUNS, RUNS), 'step "clone" (1 of 2) was still running when the time was up; '),
        ((RUNS, PULLING), 'no step had begun when the time was up (step "build", image i: no such image); '),
        ((OK, FAILED), 'step "build" (2 of 2) failed: exit code 3; no time was left for another try: '),
    ],
    ids=["runs", "killed", "ended", "clone", "pulling", "failed"],
)
@pytest.mark.parametrize("is_gone", IS_GONE, ids=map(str, IS_GONE))
def test_a_build_that_is_out_of_time_says_what_still_ran_which_field_says_so_and_what_to_do(states, words, is_gone):
    build = make_build(activeDeadlineSeconds=60)
    pod = make_pod(*states)
    build = recorded(build, pod)
    if is_gone == SEEN:
        build = recorded(build)
    found = status(build, *([] if is_gone else [pod]), job=make_job(build, "DeadlineExceeded"))
    assert condition_of(found)["reason"] == "DeadlineExceeded"
    assert condition_of(found)["message"].startswith(words + RULE)
    assert not {"Running", "Waiting"} & {step["state"] for step in found["steps"]}


def test_a_limit_of_the_pod_is_told_with_its_field():
    build = make_build(podTemplate={"activeDeadlineSeconds": 60})
    pod = make_pod(OK, killed(), "Failed", reason="DeadlineExceeded")
    pod["spec"]["activeDeadlineSeconds"] = 60
    found = condition_of(status(build, pod, job=make_job(build, "BackoffLimitExceeded")))
    assert found["reason"] == "DeadlineExceeded"
    assert "spec.podTemplate.activeDeadlineSeconds" in found["message"]


@pytest.mark.parametrize(
    ("pods", "job", "allowed"),
    [
        ([make_pod(OK, OK, other=RUNS)], {}, 0),
        ([make_pod(OK, FAILED, "Failed"), make_pod(OK, OK, number=2, other=RUNS)], {}, 1),
        ([make_pod(OK, OK, number=3)], {"failed": 1, "uncountedTerminatedPods": {"failed": ["x"]}}, 2),
        ([make_pod(OK, OK, "Failed", number=3)], {"failed": 2}, 0),
        ([make_pod(OK, OK, "Succeeded")], {}, None),
        ([make_pod(OK, RUNS, other=RUNS)], {}, None),
        ([make_pod(OK, OK, other=RUNS)], {"reason": "BackoffLimitExceeded"}, None),
        ([], {}, None),
    ],
    ids=["first", "second", "counted", "lost", "succeeded", "runs", "over", "no Pod"],
)
def test_a_job_whose_work_is_done_is_kept_from_another_try(pods, job, allowed):
    build = make_build(backoffLimit=3)
    assert tries_to_allow(build, Seen(as_task(build, "git:1"), [make_job(build, **job)], pods)) == allowed


def test_a_job_that_would_not_try_again_is_left_as_it_is():
    build = make_build()
    seen = Seen(as_task(build, "git:1"), [make_job(build)], [make_pod(OK, OK, other=RUNS)])
    assert tries_to_allow(build, seen) is None
