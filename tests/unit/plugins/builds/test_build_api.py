"""What is sent to the API server to end a Build's Pod, and to keep its Job from another try."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._build.api import BuildApi
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api

JOB = {"metadata": {"name": "site-1", "namespace": "ci", "uid": "u"}, "spec": {"backoffLimit": 3}}


class Recorder(Api):
    """Takes every request down, and refuses those for which it was given a reason."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal, self.requests = refusal, []

    def request(self, what, method, path, query=None, body=None, *, content_type=""):
        self.requests.append((method, path, body))
        if self.refusal:
            raise TaskError(self.refusal, "no")
        return {}


def test_this_very_job_is_kept_from_another_try():
    cluster = Recorder()
    BuildApi(cluster).allow_tries(JOB, 1)
    ((method, path, body),) = cluster.requests
    assert (method, path) == ("PATCH", "/apis/batch/v1/namespaces/ci/jobs/site-1")
    assert body == [
        {"op": "test", "path": "/metadata/uid", "value": "u"},
        {"op": "add", "path": "/spec/backoffLimit", "value": 1},
    ]


@pytest.mark.parametrize(("reason", "told"), [("Refused", "Conflict"), ("Forbidden", "Forbidden")])
def test_another_job_in_its_place_is_a_conflict(reason, told):
    with pytest.raises(TaskError) as caught:
        BuildApi(Recorder(reason)).allow_tries(JOB, 1)
    assert caught.value.reason == told


def test_a_pod_is_ended_by_its_deadline_and_stays():
    cluster = Recorder()
    BuildApi(cluster).end_pod({"metadata": {"name": "p", "namespace": "ci", "uid": "u", "annotations": {}}})
    ((method, _, body),) = cluster.requests
    assert method == "PATCH"
    assert body[-1] == {"op": "add", "path": "/spec/activeDeadlineSeconds", "value": 1}
