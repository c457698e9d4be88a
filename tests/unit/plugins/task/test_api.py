"""What is sent to the API server to change a Pod."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._task.api import TaskApi

ORDER = "/metadata/annotations/taskorder"
UID = {"op": "test", "path": "/metadata/uid", "value": "u"}


class Recorder(Api):
    """Takes every request down, and answers with what it was given."""

    def __init__(self, answer=None):
        self.answer, self.requests = answer, []

    def request(self, what, method, path, query=None, body=None, *, content_type=""):
        self.requests.append((method, path, body))
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
