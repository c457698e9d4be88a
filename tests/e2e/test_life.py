"""A Task's life: changed, deleted, refused, kept waiting, its Pod lost."""

from __future__ import annotations

import json

import pytest
from support import condition, example, make_task, shell, step_states


def test_a_changed_task_runs_again(cluster):
    manifest = example("task_example.yaml")
    cluster.apply(manifest)
    first = cluster.finished("example-taskflow")
    assert first["status"]["status"] == "Successful"
    manifest["spec"]["steps"][1]["args"] = ["exit 1"]
    cluster.apply(manifest)
    second = cluster.finished("example-taskflow", generation=first["metadata"]["generation"] + 1)
    assert second["status"]["status"] == "Failure"
    assert second["status"]["podName"] != first["status"]["podName"]
    pods = cluster.wait("the old Pod to go", lambda: len(p := cluster.pods_of("example-taskflow")) == 1 and p)
    assert pods[0]["metadata"]["name"] == second["status"]["podName"]


def test_a_task_changed_while_it_runs_is_replaced_and_two_pods_are_never_alive(cluster):
    cluster.apply(make_task("busy", shell("a", "sleep 600")))
    cluster.wait("the Task to run", lambda: cluster.task("busy").get("status", {}).get("status") == "Running")
    cluster.apply(make_task("busy", shell("a", "echo new")))

    def verdict() -> dict | None:
        alive = [p for p in cluster.pods_of("busy") if "deletionTimestamp" not in p["metadata"]]
        assert len(alive) <= 1
        status = cluster.task("busy")["status"]
        return status if (status["observedGeneration"], status["status"]) == (2, "Successful") else None

    status = cluster.wait("the new spec to end", verdict)
    assert cluster.logs(status["podName"], "a") == "new\n"


def test_a_label_does_not_run_a_task_again(cluster):
    cluster.apply(make_task("label", shell("a", "true")))
    first = cluster.finished("label")
    cluster.run("label", "task", "label", "team=x")
    cluster.apply(make_task("other", shell("a", "true")))
    cluster.finished("other")
    assert cluster.task("label")["status"]["podName"] == first["status"]["podName"]
    assert len(cluster.pods_of("label")) == 1


def test_a_deleted_task_takes_its_pod_along(cluster):
    cluster.apply(make_task("gone", shell("a", "sleep 600")))
    cluster.wait("its Pod", lambda: cluster.pods_of("gone"))
    cluster.run("delete", "task", "gone", "--wait=false")
    cluster.wait("its Pod to go", lambda: not cluster.pods_of("gone"))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"steps": []}, "spec.steps"),
        ({}, "spec.steps"),
        ({"steps": [{"name": "a"}]}, "spec.steps.image"),
        ({"steps": [{"image": "x"}]}, "spec.steps.name"),
        ({"steps": [{"name": "a", "image": "x"}, {"name": "a", "image": "y"}]}, "spec.steps[1]"),
        ({"steps": [{"name": "a", "image": "x", "command": ["c"], "script": "s"}]}, "spec.steps.command"),
        ({"steps": [{"name": "A_b", "image": "x"}]}, "spec.steps.name"),
        ({"steps": [{"name": "a", "image": "x"}], "handoff": "Telepathy"}, "spec.handoff"),
    ],
)
def test_bad_manifests_are_refused_with_the_field(cluster, spec, field):
    manifest = {"apiVersion": "api.practice.com/v1alpha1", "kind": "Task", "metadata": {"name": "bad"}, "spec": spec}
    result = cluster.run("create", "--validate=false", "-f", "-", stdin=json.dumps(manifest), check=False)
    assert result.returncode != 0
    assert field in result.stderr.replace("[0]", "")


def test_a_reserved_name_fails_the_task_with_the_field(cluster):
    cluster.apply(make_task("reserved", shell("a", "true"), volumes=[{"name": "taskflow-x", "emptyDir": {}}]))
    task = cluster.finished("reserved")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "InvalidSpec")
    assert "spec.volumes[0].name" in condition(task)["message"]
    assert cluster.pods_of("reserved") == []


def test_a_pod_that_the_api_refuses_fails_the_task_with_its_words(cluster):
    step = {**shell("a", "true"), "volumeMounts": [{"name": "missing", "mountPath": "/m"}]}
    cluster.apply(make_task("refused", step))
    task = cluster.finished("refused")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "Refused")
    assert "missing" in condition(task)["message"]


def test_an_image_that_no_registry_has_keeps_the_task_pending_and_says_so(cluster):
    cluster.apply(make_task("lookup", {"name": "a", "image": "localhost:5000/no/such:1"}))
    pending = cluster.wait(
        "the reason", lambda: (t := cluster.task("lookup")).get("status", {}).get("conditions") and t
    )
    assert (pending["status"]["status"], condition(pending)["reason"]) == ("Pending", "ImageLookupFailed")
    assert "localhost:5000/no/such:1" in condition(pending)["message"]
    assert "ImageLookupFailed" in cluster.run("describe", "task", "lookup").stdout


def test_an_image_that_can_not_be_pulled_is_named_with_its_step(cluster):
    cluster.apply(make_task("pull", shell("a", "true"), {**shell("b", "true"), "image": "no-such-image:9"}))

    def reason() -> dict | None:
        conditions = cluster.task("pull").get("status", {}).get("conditions")
        return conditions[0] if conditions and "Image" in conditions[0]["reason"] else None

    found = cluster.wait("the reason", reason)
    assert 'step "b", image no-such-image:9' in found["message"]
    assert cluster.task("pull")["status"]["status"] == "Pending"
    # The first step must not have run, for the Task could never have ended.
    assert step_states(cluster.task("pull"))[0] == "Waiting"


def test_a_lost_pod_is_replaced_and_it_is_said(cluster):
    cluster.apply(make_task("lost", shell("a", "sleep 8; echo end")))
    task = cluster.wait("the Task to run", lambda: (t := cluster.task("lost")).get("status", {}).get("podName") and t)
    cluster.run("delete", "pod", task["status"]["podName"], "--grace-period=0", "--force")
    task = cluster.finished("lost")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 2)
    assert "attempt 2, the one before was lost" in cluster.run("describe", "task", "lost").stdout


def test_events_tell_a_tasks_story(cluster):
    cluster.apply(make_task("story", shell("a", "sleep 3"), shell("b", "exit 2"), shell("c", "true")))
    cluster.settled("story")

    def told() -> list[str] | None:
        events = [e for e in cluster.list("events") if e["involvedObject"]["kind"] == "Task"]
        reasons = [e["reason"] for e in events]
        return reasons if "Failed" in reasons else None

    reasons = cluster.wait("the events", told)
    assert {"Created", "Started", "StepSucceeded", "StepFailed", "Failed"} <= set(reasons)
    assert len(reasons) == len(set(reasons)) + reasons.count("StepStarted") - bool(reasons.count("StepStarted"))


def test_many_tasks_at_once_all_end(cluster):
    for number in range(6):
        cluster.apply(make_task(f"many-{number}", shell("a", "true"), shell("b", f"exit {number % 2}")))
    verdicts = [cluster.finished(f"many-{number}")["status"]["status"] for number in range(6)]
    assert verdicts == ["Successful", "Failure"] * 3
