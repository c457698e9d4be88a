"""What is sent to the API server to change a Pod."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._kube.event import Event
from ansible_collections.taskflow.operator.plugins.module_utils._task.api import TaskApi

ORDER = "/metadata/annotations/taskorder"
UID = {"op": "test", "path": "/metadata/uid", "value": "u"}


class Recorder(Api):
    """Takes every request down, and answers with what it was given."""

    def __init__(self, answer=None):
        self.answer, self.requests, self.queries = answer, [], []

    def request(self, what, method, path, query=None, body=None, *, content_type=""):
        self.requests.append((method, path, body))
        self.queries.append(query)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or {}


def pod(**annotations):
    return {"metadata": {"name": "p", "namespace": "team-a", "uid": "u", "annotations": annotations}}


def sent(change, *arguments, **annotations):
    cluster = Recorder()
    getattr(TaskApi(cluster), change)(pod(**annotations), *arguments)
    ((method, path, body),) = cluster.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/team-a/pods/p")
    return body


def test_what_admission_makes_of_a_pod_is_asked_without_making_one_and_without_its_name():
    cluster, admitted = Recorder({"spec": {}}), pod(a="b")
    assert TaskApi(cluster).admitted_pod(admitted) == {"spec": {}}
    ((method, path, body),), (query,) = cluster.requests, cluster.queries
    assert (method, path, query["dryRun"]) == ("POST", "/api/v1/namespaces/team-a/pods", "All")
    assert "name" not in body["metadata"] and body["metadata"]["generateName"] == "p-"
    assert body["metadata"]["annotations"] == {"a": "b"} and admitted["metadata"]["name"] == "p"


def test_the_order_is_changed_from_what_was_read():
    assert sent("set_order", 2, taskorder="1") == [
        UID,
        {"op": "test", "path": ORDER, "value": "1"},
        {"op": "add", "path": ORDER, "value": "2"},
    ]
    assert sent("set_order", -1, True)[1:] == [
        {"op": "add", "path": ORDER, "value": "-1"},
        {"op": "add", "path": "/metadata/annotations/api.practice.com~1cancelled", "value": "true"},
    ]


@pytest.mark.parametrize("foreign", ["\uff11", "<1>", '"'])
def test_what_may_be_encoded_in_more_than_one_way_is_not_tested_for(foreign):
    """The API server compares the bytes of JSON."""
    assert sent("set_order", 2, taskorder=foreign) == [UID, {"op": "add", "path": ORDER, "value": "2"}]


def test_annotations_that_somebody_has_taken_off_altogether_come_back_unless_the_pod_has_changed_since():
    cluster, bare = Recorder(), pod()
    del bare["metadata"]["annotations"]
    bare["metadata"]["resourceVersion"] = "7"
    TaskApi(cluster).set_order(bare, 2)
    assert cluster.requests[0][2] == [
        UID,
        VERSION,
        {"op": "add", "path": "/metadata/annotations", "value": {}},
        {"op": "add", "path": ORDER, "value": "2"},
    ]


def test_a_pod_is_ended_in_one_go_with_the_order_and_the_words():
    deadline = {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1}
    assert sent("end_pod", "it failed", taskorder="0") == [
        UID,
        {"op": "test", "path": ORDER, "value": "0"},
        {"op": "add", "path": ORDER, "value": "-1"},
        {"op": "add", "path": "/metadata/annotations/api.practice.com~1sidecar-failed", "value": "it failed"},
        deadline,
    ]
    assert sent("end_pod", taskorder="0")[3:] == [deadline]


@pytest.mark.parametrize(("reason", "told"), [("Refused", "OrderConflict"), ("NotFound", "NotFound")])
def test_what_somebody_else_has_changed_is_a_conflict(reason, told):
    cluster = Recorder(TaskError(reason, "no"))
    with pytest.raises(TaskError) as caught:
        TaskApi(cluster).end_pod(pod(taskorder="0"), "it failed")
    assert caught.value.reason == told


# Whose the Pod is.

TASK = {
    "apiVersion": "api.practice.com/v1alpha1",
    "kind": "Task",
    "metadata": {"name": "demo", "namespace": "team-a", "uid": "task-uid", "resourceVersion": "1"},
}
LABELS = {"type": "taskpod", "taskname": "demo"}
OWNER = {
    "apiVersion": "api.practice.com/v1alpha1",
    "kind": "Task",
    "name": "demo",
    "uid": "task-uid",
    "controller": True,
    "blockOwnerDeletion": True,
}
VERSION = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


def reclaimed(**metadata):
    cluster = Recorder()
    there = {"metadata": {**pod()["metadata"], "resourceVersion": "7", **metadata}}
    TaskApi(cluster).reclaim_pod(TASK, there)
    ((method, path, body),) = cluster.requests
    assert (method, path, body[:2]) == ("PATCH", "/api/v1/namespaces/team-a/pods/p", [UID, VERSION])
    return body[2:]


def test_labels_and_owner_are_put_back_beside_those_of_others():
    # The API server takes one controller only.
    other = {"kind": "Other", "uid": "o", "controller": True}
    assert reclaimed() == [
        {"op": "add", "path": "/metadata/labels", "value": LABELS},
        {"op": "add", "path": "/metadata/ownerReferences", "value": [OWNER]},
    ]
    assert reclaimed(labels={"type": "taskpod", "taskname": "x", "own": "y"}, ownerReferences=[other]) == [
        {"op": "add", "path": "/metadata/labels/taskname", "value": "demo"},
        {"op": "add", "path": "/metadata/ownerReferences", "value": [{**other, "controller": False}, OWNER]},
    ]
    assert reclaimed(labels={"own": "y"}, ownerReferences=[OWNER]) == [
        {"op": "add", "path": "/metadata/labels/type", "value": "taskpod"},
        {"op": "add", "path": "/metadata/labels/taskname", "value": "demo"},
    ]


def kept(cluster, *finalizers):
    there = pod()
    there["metadata"]["finalizers"] = [*finalizers]
    TaskApi(cluster).release_pod(there)


def test_only_the_operators_own_finalizer_is_taken_off():
    cluster = Recorder()
    kept(cluster, "a.example.com/x", "api.practice.com/task-tracking", "b.example.com/y")
    path = "/metadata/finalizers/1"
    tested = {"op": "test", "path": path, "value": "api.practice.com/task-tracking"}
    assert cluster.requests == [
        ("PATCH", "/api/v1/namespaces/team-a/pods/p", [UID, tested, {"op": "remove", "path": path}])
    ]


@pytest.mark.parametrize(
    ("reason", "told"), [("NotFound", None), ("Refused", "Conflict"), ("Conflict", "Conflict"), ("Forbidden",) * 2]
)
def test_a_pod_that_is_gone_need_not_be_let_go(reason, told):
    cluster = Recorder(TaskError(reason, "no"))
    if told is None:
        kept(cluster, "api.practice.com/task-tracking")
        return
    with pytest.raises(TaskError) as caught:
        kept(cluster, "api.practice.com/task-tracking")
    assert caught.value.reason == told


def test_what_is_told_once_has_always_the_same_name():
    """A second Event of that name is refused."""
    cluster = Recorder()
    warning = Event("Warning", "ForeignPod", "it looks like one")
    for once in ("uid-1", "uid-1", "uid-2", "", ""):
        TaskApi(cluster).emit(TASK, warning, once)
    names = [body["metadata"]["name"] for _, _, body in cluster.requests]
    assert names[0] == names[1]
    assert len(set(names)) == 4
