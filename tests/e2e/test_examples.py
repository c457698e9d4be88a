"""The example manifests, applied as they are."""

from __future__ import annotations

import itertools
import re

from support import ROOT, Cluster, OrderWatch, condition, example, step_states


def first_timestamps(cluster: Cluster, task: dict, *steps: str) -> list[str]:
    pod = task["status"]["podName"]
    return [cluster.logs(pod, step, "--timestamps").split(" ", 1)[0] for step in steps]


def assert_follows(orders: list[str], *end: str) -> None:
    """Check that the order went up from 0 to this end. With Local it may pass over what has ended already."""
    assert orders[0] == "0"
    assert orders[-len(end) :] == list(end)
    numbers = [order for order in orders if order != "-1"]
    assert numbers == sorted(numbers)


def test_the_normal_example_runs_step_by_step(cluster):
    watch = OrderWatch(cluster.namespace, "example-taskflow")
    cluster.apply(ROOT / "examples" / "task_example.yaml")
    task = cluster.settled("example-taskflow")
    assert task["status"]["status"] == "Successful"
    assert step_states(task) == ["Succeeded"] * 3
    assert (task["status"]["order"], task["status"]["progress"]) == ("3", "3/3")
    assert_follows(watch.stop(), "3")
    pod = task["status"]["podName"]
    assert cluster.logs(pod, "step1") == "step1\n"
    assert cluster.logs(pod, "step2") == "step2\n"
    assert len(cluster.logs(pod, "step3").splitlines()) == 100
    times = first_timestamps(cluster, task, "step1", "step2", "step3")
    assert times == sorted(times)
    steps = task["status"]["steps"]
    assert all(a["finishedAt"] <= b["startedAt"] for a, b in itertools.pairwise(steps))


def test_kubectl_get_tasks_reads_as_promised(cluster):
    cluster.apply(ROOT / "examples" / "task_example.yaml")
    cluster.settled("example-taskflow")
    header, line = cluster.run("get", "tasks").stdout.splitlines()
    assert header.split() == ["NAME", "STATUS", "STEP", "START", "DURATION", "AGE"]
    assert re.fullmatch(
        r"example-taskflow +Successful +3/3 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +(\d+m)?\d+s +(\d+m)?\d+s", line
    )
    header, line = cluster.run("get", "ta", "-o", "wide").stdout.splitlines()
    assert header.split()[-2:] == ["POD", "REASON"]
    assert re.search(r" task-pod-example-taskflow-\w+ +Succeeded$", line)


def test_the_error_example_ends_at_its_second_step(cluster):
    watch = OrderWatch(cluster.namespace, "example-taskflow-error-test")
    cluster.apply(ROOT / "examples" / "task_error_example.yaml")
    task = cluster.settled("example-taskflow-error-test")
    assert task["status"]["status"] == "Failure"
    assert step_states(task) == ["Succeeded", "Failed", "Skipped"]
    assert task["status"]["steps"][1]["exitCode"] == 1
    assert (condition(task)["status"], condition(task)["reason"]) == ("False", "StepFailed")
    assert 'step "step2" (2 of 3) failed: exit code 1' in condition(task)["message"]
    pod = cluster.get("pod", task["status"]["podName"])
    assert pod["metadata"]["annotations"]["taskorder"] == "-1"
    assert cluster.logs(task["status"]["podName"], "step2") == "step2\nerror\n"
    assert cluster.logs(task["status"]["podName"], "step3") == ""
    assert_follows(watch.stop(), "2", "-1")


def test_the_script_example(cluster):
    cluster.apply(ROOT / "examples" / "task_script_example.yaml")
    task = cluster.settled("example-taskflow-script-test")
    assert task["status"]["status"] == "Successful"
    pod = task["status"]["podName"]
    assert cluster.logs(pod, "step2").endswith("\"quoted\" 'single' \\n\n")
    assert cluster.logs(pod, "step3") == "step3\nstep3 again\n"
    assert len(cluster.logs(pod, "step4").splitlines()) == 10


def test_the_custom_image_example_finds_what_the_images_run(cluster):
    cluster.apply(ROOT / "examples" / "task_custom_image_example.yaml")
    task = cluster.settled("example-taskflow-custom-image-test")
    assert task["status"]["status"] == "Successful", condition(task)
    pod = cluster.get("pod", task["status"]["podName"])
    args = {c["name"]: c["args"] for c in pod["spec"]["containers"]}
    assert args["step1"][-3:] == ["--command", "echo", "step 1"]
    assert args["step2"][-3:] == ["--command", "/script.sh", "3"]
    assert cluster.logs(task["status"]["podName"], "step1") == "step 1\n"


def test_the_annotation_example_goes_through_every_order(cluster):
    watch = OrderWatch(cluster.namespace, "example-taskflow-annotation")
    cluster.apply(ROOT / "examples" / "task_annotation_example.yaml")
    task = cluster.settled("example-taskflow-annotation")
    assert task["status"]["status"] == "Successful"
    assert watch.stop() == ["0", "1", "2", "3"]
    times = first_timestamps(cluster, task, "zeta", "alpha", "mid")
    assert times == sorted(times)


def test_the_error_example_with_the_annotation_handoff(cluster):
    manifest = example("task_error_example.yaml")
    manifest["spec"]["handoff"] = "Annotation"
    watch = OrderWatch(cluster.namespace, "example-taskflow-error-test")
    cluster.apply(manifest)
    task = cluster.settled("example-taskflow-error-test")
    assert task["status"]["status"] == "Failure"
    assert watch.stop() == ["0", "1", "2", "-1"]
    states = step_states(task)
    assert states[:2] == ["Succeeded", "Failed"]
    assert states[2] in ("Skipped", "Cancelled")
    assert cluster.logs(task["status"]["podName"], "step3") == ""
