"""An order that somebody sets by hand, limits of the Pod and of the API server, and what can never start."""

from __future__ import annotations

import json
import time

import pytest
from support import OPERATOR_NAMESPACE, Cluster, Object, condition, make_task, shell, step_states, waiter

BOTH = pytest.mark.parametrize("handoff", ["Local", "Annotation"])
# Two forms that only a kubelet refuses: to a registry they may be names.
IDENTIFIER = "0123456789abcdef" * 4
# What etcd takes in one request.
ETCD_BYTES = 1536 * 1024
LOW = "The node was low on resource: memory. "


def order_of(cluster: Cluster, pod: str) -> str | None:
    annotations = cluster.get("pod", pod)["metadata"]["annotations"]
    order: str | None = annotations.get("taskorder")
    return order


def outcome(task: Object) -> tuple[str, str]:
    return task["status"]["status"], condition(task)["reason"]


def padded(name: str, size: int, **spec: object) -> Object:
    """Return a Task of this many bytes, for the most part in the arguments of its only step."""
    step = {**shell("a", "true"), "args": []}
    task = make_task(name, step, **spec)
    left = size - len(json.dumps(task, separators=(",", ":")))
    (made,) = task["spec"]["steps"]
    while left > 3:
        length = min(left - 3, 100_000)
        made["args"].append("x" * length)
        left -= length + 3
    return task


def create(cluster: Cluster, task: Object) -> bool:
    """Create a Task that is too large for kubectl apply, and tell whether the API server took it."""
    return cluster.run("create", "-f", "-", stdin=json.dumps(task), check=False).returncode == 0


def runs_of(cluster: Cluster, name: str) -> int:
    """Return how many runs the operator has begun for a Task."""
    log = Cluster(OPERATOR_NAMESPACE).run("logs", "deployment/taskflow-operator").stdout
    return sum(f"Task {cluster.namespace}/{name}" in line and "run started" in line for line in log.splitlines())


def assert_quiet(cluster: Cluster, name: str) -> None:
    """Check that the operator leaves a Task alone."""
    time.sleep(5)
    before = runs_of(cluster, name)
    time.sleep(15)
    assert runs_of(cluster, name) == before > 0


# The order by hand.


@BOTH
@pytest.mark.parametrize("value", ["99", "+2", "\uff11", "1_0", "-5", ""])
def test_what_is_no_order_is_put_back(cluster, handoff, value):
    cluster.apply(make_task("hand", waiter("a"), shell("b", "true"), handoff=handoff))
    pod = cluster.running("hand")["status"]["podName"]
    cluster.wait("the order 1", lambda: order_of(cluster, pod) == "1")
    cluster.run("annotate", "pod", pod, f"taskorder={value}", "--overwrite")
    words = cluster.event("hand", "OrderPutBack")
    assert "which is neither a number from 0 to 2 nor -1" in words and words.endswith("; it is 1 now")
    assert (order_of(cluster, pod), cluster.task("hand")["status"]["order"]) == ("1", "1")
    cluster.tell(pod, "a")
    task = cluster.finished("hand")
    assert (task["status"]["status"], task["status"]["order"], order_of(cluster, pod)) == ("Successful", "2", "2")


def test_an_order_that_is_gone_too_high_or_too_low_is_put_back(cluster):
    cluster.apply(make_task("hand", shell("a", "true"), waiter("b"), shell("c", "true"), handoff="Annotation"))
    pod = cluster.running("hand")["status"]["podName"]
    cluster.wait("the order 2", lambda: cluster.task("hand")["status"].get("order") == "2")
    words = {
        "taskorder-": "was gone",
        "taskorder=1": "it had been 2 before",
        "taskorder=3": "the steps before number 3 have not all passed",
    }
    for change, said in words.items():
        cluster.run("annotate", "pod", pod, change, "--overwrite")
        cluster.event("hand", "OrderPutBack", said)
        cluster.wait("the order 2", lambda: order_of(cluster, pod) == "2")
        assert cluster.logs(pod, "c") == ""
    cluster.tell(pod, "b")
    task = cluster.finished("hand")
    assert (task["status"]["status"], task["status"]["order"]) == ("Successful", "3")


# Losses, and what is none.


def test_an_emptydir_over_its_limit_is_a_failure_with_the_kubelets_words(cluster):
    writer = shell("a", "dd if=/dev/zero of=/work/file bs=1M count=8 2>/dev/null; sleep 600")
    writer["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
    volumes = [{"name": "work", "emptyDir": {"sizeLimit": "1Mi"}}]
    cluster.apply(make_task("full", writer, shell("b", "true"), volumes=volumes))
    task = cluster.finished("full")
    assert outcome(task) == ("Failure", "PodFailed")
    assert condition(task)["message"] == 'Evicted: Usage of EmptyDir volume "work" exceeds the limit "1Mi".'
    assert cluster.event("full", "Failed") == condition(task)["message"]
    assert (task["status"]["attempts"], len(cluster.pods_of("full"))) == (1, 1)


def test_a_pod_that_is_said_to_have_failed_is_replaced_when_its_containers_have_ended(cluster):
    """The status is what a kubelet would write too early. The one here may write over it before anybody looks."""
    cluster.apply(make_task("low", shell("a", "trap 'sleep 3; exit 3' TERM; while :; do sleep 1; done")))
    disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": LOW}
    status = {"phase": "Failed", "reason": "Evicted", "message": LOW, "conditions": [disrupted]}
    patch = json.dumps({"status": status})

    def is_lost():
        found = cluster.get("pod", pod)
        if found["status"]["phase"] == "Running":
            cluster.run("patch", "pod", pod, "--subresource=status", "--type=strategic", "-p", patch)
        return found["metadata"]["annotations"]["taskorder"] == "-1"

    pod = ""
    for _ in range(3):
        pod = cluster.running("low", pod)["status"]["podName"]
        cluster.wait("the Pod to be taken for a lost one", is_lost)
    task = cluster.finished("low")
    assert outcome(task) == ("Failure", "PodLost")
    assert "The last one: " in condition(task)["message"]
    assert condition(task)["message"].endswith(LOW.strip())
    pods = sorted(cluster.pods_of("low"), key=lambda found: found["metadata"]["creationTimestamp"])
    ends = [found["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"] for found in pods]
    assert len(pods) == 3
    assert all(end <= after["metadata"]["creationTimestamp"] for end, after in zip(ends, pods[1:], strict=False))


# What can never start.


@pytest.mark.parametrize("runs", [{"command": ["true"]}, {"script": "true"}])
def test_an_image_that_is_no_name_is_refused_before_there_is_a_pod(cluster, runs):
    cluster.apply(make_task("name", shell("a", "true"), {"name": "b", "image": "UPPER", **runs}))
    task = cluster.finished("name")
    assert outcome(task) == ("Failure", "InvalidSpec")
    assert condition(task)["message"].startswith("spec.steps[1].image: image 'UPPER' is not an image reference")
    assert cluster.pods_of("name") == []


def test_an_image_name_that_only_the_kubelet_refuses_is_a_failure_that_names_the_field(cluster):
    cluster.apply(make_task("name", shell("a", "true"), {**shell("b", "true"), "image": IDENTIFIER}))
    task = cluster.finished("name")
    assert outcome(task) == ("Failure", "InvalidImageName")
    assert condition(task)["message"].startswith(f"step \"b\": spec.steps[1].image: '{IDENTIFIER}' is no name")
    assert task["status"]["order"] == "-1" and "Succeeded" not in step_states(task)
    cluster.wait("its Pod to go", lambda: not cluster.pods_of("name"))


def test_an_image_that_may_be_loaded_yet_is_waited_for(cluster):
    absent = {**shell("a", "true"), "image": "absent.example/x:1", "imagePullPolicy": "Never"}
    cluster.apply(make_task("never", absent))
    task = cluster.pending("never", "ErrImageNeverPull")
    assert condition(task)["message"].startswith('step "a", image absent.example/x:1: ')


# What is the operator's.


@pytest.mark.parametrize(
    ("kind", "key"),
    [("annotations", "api.practice.com/cancelled"), ("labels", "type"), ("annotations", "taskorder")],
)
def test_the_operators_own_metadata_is_refused_in_a_template(cluster, kind, key):
    template = {"metadata": {kind: {key: "true"}}}
    cluster.apply(make_task("forged", shell("a", "true"), podTemplate=template))
    task = cluster.finished("forged")
    assert outcome(task) == ("Failure", "InvalidSpec")
    words = f'spec.podTemplate.metadata.{kind}["{key}"]: is reserved for the operator'
    assert condition(task)["message"] == words
    assert cluster.pods_of("forged") == []


# Limits of the API server.


def test_a_pod_that_is_too_large_is_a_failure_with_size_and_limit(cluster):
    # The value is in the Task once, and in its Pod many times.
    task = padded("large", 1_400_000, params=[{"name": "x", "value": "x" * 100_000}])
    task["spec"]["steps"][0]["args"] += ["$(params.x)"] * 6
    assert create(cluster, task)
    done = cluster.finished("large")
    assert outcome(done) == ("Failure", "TooLarge")
    assert "etcd" in condition(done)["message"] and " bytes, and " in condition(done)["message"]
    assert cluster.event("large", "Failed")[:200] == condition(done)["message"][:200]
    assert cluster.pods_of("large") == []
    assert_quiet(cluster, "large")


def test_a_task_that_leaves_no_room_for_its_status_gets_no_pod(cluster):
    size = ETCD_BYTES
    while not create(cluster, padded("brim", size)):
        size -= 100
        assert size > ETCD_BYTES - 8000, "it is something else that the API server refuses"
    words = cluster.event("brim", "TooLarge")
    assert "which leaves no room for its status" in words
    assert "status" not in cluster.task("brim")
    assert cluster.pods_of("brim") == []
    assert_quiet(cluster, "brim")
