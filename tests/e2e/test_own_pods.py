"""A Task's Pods stay its own, and no end of one is lost."""

from __future__ import annotations

import copy
import uuid

import pytest
from support import Cluster, Object, condition, make_task, shell, waiter
from support.installation import OPERATOR


@pytest.fixture
def running(cluster: Cluster) -> Object:
    """A Task whose step runs, and waits for a word; its Pod."""
    cluster.apply(make_task("own", waiter("a")))
    return cluster.get("pod", cluster.running("own")["status"]["podName"])


def succeeds_in_its_only_pod(cluster: Cluster, pod: Object) -> Object:
    """Let the step end, and see that nothing ran beside or after it."""
    cluster.tell(pod["metadata"]["name"], "a")
    done = cluster.finished("own")
    assert done["status"]["status"] == "Successful", done["status"]
    assert (done["status"]["podUID"], done["status"]["attempts"]) == (pod["metadata"]["uid"], 1)
    assert [each["metadata"]["uid"] for each in cluster.pods_of("own")] == [pod["metadata"]["uid"]]
    return done


@pytest.mark.parametrize("label", ["type-", "taskname-", "taskname=another"])
def test_a_label_that_somebody_changes_is_put_back_and_no_second_pod_is_made(
    cluster: Cluster, running: Object, label: str
) -> None:
    name = running["metadata"]["name"]
    cluster.run("label", "pod", name, "--overwrite", label)
    labels = {"type": "taskpod", "taskname": "own"}
    cluster.wait("the labels", lambda: labels.items() <= cluster.get("pod", name)["metadata"]["labels"].items())
    assert name in cluster.event("own", "PodReclaimed")
    succeeds_in_its_only_pod(cluster, running)


def test_an_owner_that_somebody_takes_off_is_put_back_and_no_second_pod_is_made(
    cluster: Cluster, running: Object
) -> None:
    metadata = running["metadata"]
    cluster.patch("pod", metadata["name"], {"metadata": {"ownerReferences": None}})

    def owners() -> bool:
        found: Object = cluster.get("pod", metadata["name"])["metadata"]
        return bool(found.get("ownerReferences") == metadata["ownerReferences"])

    cluster.wait("the owner", owners)
    assert metadata["name"] in cluster.event("own", "PodReclaimed")
    succeeds_in_its_only_pod(cluster, running)
    cluster.run("delete", "task", "own")
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", metadata["name"]))


def forged(pod: Object, name: str) -> Object:
    """A Pod with the labels, the owner and the annotations of a Task's, which succeeds at once."""
    metadata = copy.deepcopy(pod["metadata"])
    kept = {key: metadata[key] for key in ("labels", "annotations", "ownerReferences", "namespace")}
    report = '{"state": "Succeeded", "exitCode": 0}'
    line = f"echo '{report}' > /dev/termination-log"
    container = {"name": "a", "image": "busybox:1.28", "command": ["sh", "-c", line]}
    spec = {"restartPolicy": "Never", "containers": [container], "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**kept, "name": name}, "spec": spec}


def test_a_pod_that_looks_like_the_tasks_decides_nothing(cluster: Cluster, running: Object) -> None:
    pod = forged(running, "looks-like-it")
    pod["metadata"]["annotations"]["api.practice.com/attempt"] = "2"
    cluster.apply(pod)
    assert "looks-like-it" in cluster.event("own", "ForeignPod")
    assert cluster.terminal_pod("looks-like-it")["status"]["phase"] == "Succeeded"
    assert cluster.task("own")["status"]["status"] == "Running"
    cluster.tell(running["metadata"]["name"], "a", 3)
    done = cluster.finished("own")
    assert (done["status"]["status"], condition(done)["reason"]) == ("Failure", "StepFailed"), done["status"]
    assert not cluster.is_gone("pod", "looks-like-it")
    told = [event for event in cluster.events("own") if event["reason"] == "ForeignPod"]
    assert len(told) == 1


def test_a_pod_with_the_name_of_the_tasks_next_one_is_not_judged(cluster: Cluster) -> None:
    """Its name is known before it is made: that of the same spec without suspend."""
    cluster.apply(make_task("own", shell("a", "exit 3")))
    failed = cluster.finished("own")
    pod = cluster.get("pod", failed["status"]["podName"])
    # The spec that follows has the same steps, and another name; suspended, it has no Pod yet.
    cluster.patch("task", "own", {"spec": {"suspend": True, "params": [{"name": "x", "value": "1"}]}})
    cluster.pending("own", "Suspended")
    cluster.patch("task", "own", {"spec": {"suspend": False}})
    cluster.finished("own", 3)
    second = cluster.get("pod", cluster.task("own")["status"]["podName"])
    # Back to it, once the real Pod of that name is gone.
    cluster.patch("task", "own", {"spec": {"suspend": True, "params": None}})
    cluster.pending("own", "Suspended")
    cluster.run("delete", "pod", pod["metadata"]["name"], second["metadata"]["name"], "--ignore-not-found")
    taken = forged(pod, pod["metadata"]["name"])
    taken["metadata"].pop("labels")
    cluster.apply(taken)
    cluster.terminal_pod(pod["metadata"]["name"])
    cluster.patch("task", "own", {"spec": {"suspend": False}})
    waits = cluster.pending("own", "PodNameTaken")
    assert f"kubectl delete pod {pod['metadata']['name']}" in condition(waits)["message"]
    cluster.run("delete", "pod", pod["metadata"]["name"])
    done = cluster.finished("own")
    assert (done["status"]["status"], condition(done)["reason"]) == ("Failure", "StepFailed"), done["status"]


def test_a_pod_is_free_when_its_task_has_its_verdict(cluster: Cluster, running: Object) -> None:
    succeeds_in_its_only_pod(cluster, running)
    cluster.wait(
        "the finalizer's end",
        lambda: not cluster.get("pod", running["metadata"]["name"])["metadata"].get("finalizers"),
    )


def test_a_pod_goes_with_its_task_while_it_runs(cluster: Cluster, running: Object) -> None:
    cluster.run("delete", "task", "own")
    cluster.wait("the Pod's end", lambda: cluster.is_gone("pod", running["metadata"]["name"]))


def test_a_namespace_goes_with_what_runs_in_it() -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster = Cluster(name)
    cluster.run("create", "namespace", name)
    cluster.apply(make_task("own", waiter("a")))
    cluster.running("own")
    cluster.run("delete", "namespace", name, "--wait=false")
    OPERATOR.wait("the namespace's end", lambda: OPERATOR.is_gone("namespace", name))


def test_pods_in_the_operators_own_namespace_are_not_kept() -> None:
    """It could not be deleted: the operator would go first."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    OPERATOR.apply(make_task("own-namespace", {**shell("a", "true"), "securityContext": security}))
    try:
        done = OPERATOR.finished("own-namespace")
        assert done["status"]["status"] == "Successful", done["status"]
        pod = OPERATOR.get("pod", done["status"]["podName"])
        assert not pod["metadata"].get("finalizers")
    finally:
        OPERATOR.run("delete", "task", "own-namespace")
