"""Builds are judged by their own containers, whatever others put into their Pods."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator

import pytest
from support import Cluster, Object, condition
from support.builds import make_build
from support.facts import needs_own_cluster

pytestmark = needs_own_cluster
FINAL = ("Successful", "Failure")
MUTATING = "mutatingadmissionpolicies.admissionregistration.k8s.io"


@pytest.fixture
def mesh(cluster: Cluster) -> Iterator[None]:
    """Have the API server add a container that never ends to each Pod of the namespace, as a service mesh does."""
    served = cluster.run("api-resources", "--api-group=admissionregistration.k8s.io", "-o", "name").stdout.split()
    version = cluster.run("api-versions").stdout.split()
    if MUTATING not in served or "admissionregistration.k8s.io/v1" not in version:
        pytest.skip("mutating admission policies are there from Kubernetes 1.36 on")
    name = f"mesh-{cluster.namespace}"
    try:
        for manifest in _policy(name, cluster.namespace):
            cluster.apply(manifest)
        cluster.wait("the policy to be in force", lambda: "proxy" in _containers_of_a_new_pod(cluster))
        yield
    finally:
        cluster.run("delete", "mutatingadmissionpolicybinding,mutatingadmissionpolicy", name, "--ignore-not-found")


def _policy(name: str, namespace: str) -> tuple[Object, Object]:
    """Return the policy, and what has it apply to one namespace."""
    # Without a handler for SIGTERM, the first process of a container ignores it.
    command = json.dumps(["sh", "-c", "trap 'exit 1' TERM; while :; do sleep 1; done"])
    proxy = f'Object.spec.containers{{name: "proxy", image: "busybox:1.28", command: {command}}}'
    patch = f'[JSONPatch{{op: "add", path: "/spec/containers/-", value: {proxy}}}]'
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }
    selector = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    kind, version = "MutatingAdmissionPolicy", "admissionregistration.k8s.io/v1"
    return (
        {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec},
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "matchResources": selector},
        },
    )


def _containers_of_a_new_pod(cluster: Cluster) -> list[str]:
    """Return the containers that a Pod would get; it is not made."""
    words = ("run", "probe", "--image=busybox:1.28", "--dry-run=server", "-o", "jsonpath={.spec.containers[*].name}")
    return cluster.run(*words).stdout.split()


def finished(cluster: Cluster, name: str) -> Object:
    def found() -> Object | None:
        build = cluster.get("build", name)
        return build if (build.get("status") or {}).get("phase") in FINAL else None

    wanted: Object = cluster.wait(f"Build {name}: the end", found)
    return wanted


def status_of(cluster: Cluster) -> Object:
    status: Object = cluster.get("build", "site").get("status") or {}
    return status


def pods_of(cluster: Cluster, name: str) -> list[Object]:
    return cluster.list("pods", f"build.taskflow/build={name}")


def wait_for_steps(cluster: Cluster, states: list[str]) -> None:
    """Wait until the steps of Build site have these states."""
    cluster.wait("the steps", lambda: [step["state"] for step in status_of(cluster).get("steps", [])] == states)


def let_time_run_out(cluster: Cluster, name: str) -> int:
    """Have a Job's time be up in a moment, and return the seconds that it then has had in all.

    So a test need not guess how long a machine takes until a step runs.
    """
    start = datetime.datetime.fromisoformat(cluster.get("job", name)["status"]["startTime"])
    limit = int((datetime.datetime.now(datetime.UTC) - start).total_seconds()) + 3
    patch = json.dumps({"spec": {"activeDeadlineSeconds": limit}})
    cluster.run("patch", "job", name, "--type=merge", "--patch", patch)
    return limit


def ended_job(cluster: Cluster, build: Object) -> Object:
    """Wait for the end of a Build's Job, and return the Job."""

    def found() -> Object | None:
        job = cluster.get("job", build["status"]["jobName"])
        ends = [x["type"] for x in job.get("status", {}).get("conditions", []) if x["type"] in ("Complete", "Failed")]
        return job if ends else None

    wanted: Object = cluster.wait("the Job's end", found)
    return wanted


def reasons(cluster: Cluster) -> list[str]:
    """Return the reasons of the Events of Build site."""
    objects = [(event["involvedObject"], event["reason"]) for event in cluster.list("events")]
    return [reason for about, reason in objects if (about["kind"], about["name"]) == ("Build", "site")]


@pytest.mark.usefixtures("mesh")
def test_a_container_of_a_service_mesh_keeps_no_build_running_and_makes_no_failure_of_it(cluster, url):
    cluster.apply(make_build("site", url, backoffLimit=2, activeDeadlineSeconds=600))
    build = finished(cluster, "site")
    assert build["status"]["phase"] == "Successful", condition(build)
    assert condition(build)["message"] == "all 3 steps succeeded"
    # Kubernetes counts the Pod that is ended as failed; it makes no other.
    job = ended_job(cluster, build)
    assert (job["spec"]["backoffLimit"], job["status"].get("failed")) == (0, 1)
    (pod,) = pods_of(cluster, "site")
    assert pod["status"]["phase"] == "Failed"
    assert "proxy" in [container["name"] for container in pod["spec"]["containers"]]
    assert cluster.logs(pod["metadata"]["name"], "show") == "one\n"
    assert reasons(cluster).count("PodEnded") == 1
    assert cluster.get("build", "site")["status"] == build["status"]


@pytest.mark.usefixtures("mesh")
def test_a_try_that_failed_beside_such_a_container_is_followed_by_another(cluster, url):
    steps = [{"name": "bad", "command": ["sh", "-c", "exit 3"]}]
    cluster.apply(make_build("site", url, steps=steps, backoffLimit=1))
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "StepFailed")
    assert condition(build)["message"] == 'step "bad" (2 of 2) failed: exit code 3'
    assert [pod["status"]["phase"] for pod in pods_of(cluster, "site")] == ["Failed", "Failed"]
    assert "Retrying" in reasons(cluster)


def test_a_step_that_failed_and_was_continued_is_named(cluster, url):
    steps = [
        {"name": "lint", "command": ["sh", "-c", "exit 3"], "onError": "continue"},
        {"name": "make", "command": ["true"]},
    ]
    cluster.apply(make_build("site", url, steps=steps))
    build = finished(cluster, "site")
    assert build["status"]["phase"] == "Successful"
    assert condition(build)["message"] == "all 3 steps ended; failed, and continued: lint"


def test_a_build_that_is_out_of_time_names_the_step_and_the_field(cluster, url):
    steps = [{"name": "wait", "command": ["sleep", "600"]}]
    cluster.apply(make_build("site", url, steps=steps, activeDeadlineSeconds=3600))
    wait_for_steps(cluster, ["Succeeded", "Running"])
    limit = let_time_run_out(cluster, status_of(cluster)["jobName"])
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "DeadlineExceeded")
    words = condition(build)["message"]
    assert words.startswith('step "wait" (2 of 2) was still running when the time was up, after ')
    assert f"spec.activeDeadlineSeconds allows {limit} s" in words
    assert {step["state"] for step in build["status"]["steps"]} <= {"Succeeded", "Failed", "Cancelled"}


def test_a_pod_that_somebody_deletes_is_no_fault_of_a_step(cluster, url):
    # It takes its time to end, and then fails by itself.
    line = "trap 'sleep 5; exit 3' TERM; while :; do sleep 0.2; done"
    cluster.apply(make_build("site", url, steps=[{"name": "wait", "command": ["sh", "-c", line]}]))
    wait_for_steps(cluster, ["Succeeded", "Running"])
    (pod,) = pods_of(cluster, "site")
    cluster.run("delete", "pod", pod["metadata"]["name"], "--wait=false")
    build = finished(cluster, "site")
    assert (build["status"]["phase"], condition(build)["reason"]) == ("Failure", "PodLost")
    words = f"Pod {pod['metadata']['name']} was deleted before its steps had ended; spec.backoffLimit is 0"
    assert condition(build)["message"].startswith(words)
