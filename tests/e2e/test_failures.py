"""What goes wrong around the steps. Each has a reason, a condition and an Event that a person understands."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import yaml
from support import Cluster, condition, make_task, shell, step_states
from support.killing import kill_from_outside

BUSYBOX = {"image": "busybox:1.28"}


def test_a_step_that_is_out_of_memory(cluster):
    eater = shell("eater", "x=0123456789abcdef; while :; do x=$x$x; done")
    eater["resources"] = {"limits": {"memory": "32Mi"}}
    cluster.apply(make_task("memory", shell("a", "true"), eater, shell("c", "true")))
    task = cluster.settled("memory")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "StepFailed")
    step = task["status"]["steps"][1]
    assert (step["state"], step["exitCode"], step["reason"]) == ("Failed", 137, "OOMKilled")
    assert "resources.limits.memory" in step["message"]
    assert 'step "eater" (2 of 3) failed: exit code 137, OOMKilled' in condition(task)["message"]
    assert "OOMKilled" in cluster.event("memory", "StepFailed")
    assert step_states(task)[2] in ("Skipped", "Cancelled")


@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_an_agent_that_is_killed(cluster, handoff):
    sidecars = [{**shell("beside", "sleep 600"), **BUSYBOX}]
    steps = [shell("a", "sleep 600"), shell("b", "echo b"), shell("c", "echo c")]
    cluster.apply(make_task("killed", *steps, sidecars=sidecars, handoff=handoff))
    pod = cluster.running("killed")["status"]["podName"]
    kill_from_outside(cluster, pod, "a")
    task = cluster.settled("killed")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "StepFailed")
    step = task["status"]["steps"][0]
    assert (step["state"], step["exitCode"], step["reason"]) == ("Failed", 137, "Killed")
    assert "with its agent" in condition(task)["message"] and "with its agent" in cluster.event("killed", "StepFailed")
    # The order frees those that wait.
    assert task["status"]["order"] == "-1"
    assert set(step_states(task)[1:]) <= {"Cancelled", "Skipped"}
    assert (cluster.logs(pod, "b"), cluster.logs(pod, "c")) == ("", "")
    cluster.wait("the Pod to end", lambda: cluster.get("pod", pod)["status"]["phase"] == "Failed")


def test_a_step_over_its_limit_of_storage_is_a_failure_with_the_kubelets_words(cluster):
    writer = shell("a", "dd if=/dev/zero of=/file bs=1M count=8 2>/dev/null; sleep 600")
    writer["resources"] = {"limits": {"ephemeral-storage": "1Mi"}}
    cluster.apply(make_task("evicted", writer))
    task = cluster.finished("evicted")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "PodFailed")
    # The Pod's limit is the sum of its containers'.
    assert condition(task)["message"].startswith("Evicted: ") and "storage" in condition(task)["message"]
    assert (task["status"]["attempts"], task["status"]["retries"]) == (1, 0)
    assert cluster.event("evicted", "Failed") == condition(task)["message"]
    (pod,) = cluster.pods_of("evicted")
    assert pod["status"]["reason"] == "Evicted"


def test_a_quota_keeps_the_task_pending_until_it_goes(cluster):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    cluster.apply(quota)
    cluster.wait("the quota", lambda: cluster.get("resourcequota", "none").get("status", {}).get("hard"))
    cluster.apply(make_task("quota", shell("a", "true")))
    task = cluster.pending("quota", "QuotaExceeded")
    assert "exceeded quota: none" in condition(task)["message"]
    assert "exceeded quota: none" in cluster.event("quota", "QuotaExceeded")
    assert cluster.pods_of("quota") == []
    # Nothing tells the operator that there is room now: it tries again.
    cluster.run("delete", "resourcequota", "none")
    task = cluster.finished("quota")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)


def test_a_limit_range_keeps_the_task_pending_with_the_apis_words(cluster):
    limits = {"limits": [{"type": "Container", "max": {"cpu": "100m"}}]}
    cluster.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}, "spec": limits})
    cluster.apply(make_task("limits", {**shell("a", "true"), "resources": {"limits": {"cpu": "1"}}}))
    task = cluster.pending("limits", "Forbidden")
    assert "maximum cpu usage per Container is 100m, but limit is 1" in condition(task)["message"]
    assert "maximum cpu usage per Container" in cluster.event("limits", "Forbidden")
    assert cluster.pods_of("limits") == []


def test_the_image_of_a_sidecar_that_can_not_be_pulled(cluster):
    sidecars = [{"name": "web", "image": "no-such-image:9", "command": ["httpd"]}]
    cluster.apply(make_task("pull", shell("a", "true"), sidecars=sidecars))
    task = cluster.pending("pull", "ErrImagePull", "ImagePullBackOff")
    assert 'sidecar "web", image no-such-image:9: ' in condition(task)["message"]
    assert 'sidecar "web", image no-such-image:9: ' in cluster.event("pull", condition(task)["reason"])
    assert step_states(task) == ["Waiting"]


def test_an_init_container_that_fails(cluster):
    # No scheduler takes the Pod, so that there is time to spoil it: this image has no agent to install.
    template = {"schedulerName": "nobody", "securityContext": {"runAsUser": 1000}}
    cluster.apply(make_task("init", shell("a", "true"), podTemplate=template))
    name = cluster.wait("its Pod", lambda: cluster.pods_of("init"))[0]["metadata"]["name"]
    other = {"name": "taskflow-install", "image": "busybox:1.28"}
    cluster.run("patch", "pod", name, "-p", yaml.safe_dump({"spec": {"initContainers": [other]}}))
    target = {"apiVersion": "v1", "kind": "Node", "name": real_node(cluster)}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    cluster.post(f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/binding", binding)
    task = cluster.finished("init")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "AgentInstallFailed")
    assert "init container taskflow-install ended with exit code" in condition(task)["message"]
    assert cluster.event("init", "Failed") == condition(task)["message"]
    assert task["status"]["order"] == "-1"


@pytest.fixture
def lost_node(cluster: Cluster) -> Iterator[str]:
    """A node that nobody runs, ready until the cluster sees that; its label and its taint are its name."""
    name = f"lost-{cluster.namespace}"
    room = {"cpu": "1", "memory": "1Gi", "pods": "10", "ephemeral-storage": "1Gi"}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {name: "here"}},
        "spec": {"taints": [{"key": name, "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room, "conditions": [ready]},
    }
    cluster.post("/api/v1/nodes", node)
    yield name
    cluster.run("delete", "node", name, "--ignore-not-found", "--wait=false")
    cluster.run("label", "nodes", "--all", f"{name}-")


def test_a_pod_on_a_node_that_is_lost(cluster, lost_node):
    template = {
        "nodeSelector": {lost_node: "here"},
        "tolerations": [
            {"key": lost_node, "operator": "Exists"},
            {
                "key": "node.kubernetes.io/unreachable",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 0,
            },
            {
                "key": "node.kubernetes.io/not-ready",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 0,
            },
        ],
        "terminationGracePeriodSeconds": 1,
    }
    cluster.apply(make_task("lost", shell("a", "echo a"), shell("b", "echo b"), podTemplate=template))

    def on_node() -> str | None:
        return next((p["metadata"]["name"] for p in cluster.pods_of("lost") if p["spec"].get("nodeName")), None)

    pod = cluster.wait("a Pod on the node", on_node)
    # What the node's kubelet said before it was lost.
    running = {"running": {"startedAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}
    fields = {"image": "", "imageID": "", "ready": True, "restartCount": 0, "started": True, "state": running}
    statuses = [{"name": name, **fields} for name in ("a", "b")]
    cluster.patch("pod", pod, {"status": {"phase": "Running", "containerStatuses": statuses}}, "--subresource=status")
    assert cluster.running("lost")["status"]["podName"] == pod

    task = cluster.pending("lost", "WaitingForPod", "PodStuck")
    assert f"Pod {pod} on node {lost_node}" in condition(task)["message"]
    stuck = cluster.pending("lost", "PodStuck")
    assert lost_node in condition(stuck)["message"] and "kubectl delete node" in condition(stuck)["message"]
    assert "kubectl delete node" in cluster.event("lost", "PodStuck")
    # It may still run there, so that there is no other.
    assert [found["metadata"]["name"] for found in cluster.pods_of("lost")] == [pod]

    cluster.run("label", "node", real_node(cluster), f"{lost_node}=here")
    cluster.run("delete", "node", lost_node, "--wait=false")
    task = cluster.finished("lost")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 2)
    assert "the one before was lost" in cluster.event("lost", "Created", "attempt 2")


def real_node(cluster: Cluster) -> str:
    """Return the name of a node that takes anybody's Pods."""
    names: list[str] = [node["metadata"]["name"] for node in cluster.list("nodes") if "taints" not in node["spec"]]
    return names[0]
