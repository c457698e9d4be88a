"""Where the API has its objects, and whose they are."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import BUILD, JOB, POD, TASK
from ansible_collections.taskflow.operator.plugins.module_utils._kube.owner import is_owned_by, owner_reference


@pytest.mark.parametrize(
    ("kind", "words", "path"),
    [
        (POD, ["ns"], "/api/v1/namespaces/ns/pods"),
        (POD, ["ns", "p", "log"], "/api/v1/namespaces/ns/pods/p/log"),
        (POD, [""], "/api/v1/pods"),
        (JOB, ["ns", "j"], "/apis/batch/v1/namespaces/ns/jobs/j"),
        (TASK, [""], "/apis/api.practice.com/v1alpha1/tasks"),
        (BUILD, ["ns", "b", "status"], "/apis/ci.zt.vapi.cc/v1/namespaces/ns/builds/b/status"),
    ],
)
def test_the_path_of_an_object_follows_from_its_kind(kind, words, path):
    assert kind.path(*words) == path


def test_an_owner_is_known_by_its_uid():
    task = {"metadata": {"name": "demo", "namespace": "ns", "uid": "u"}, "spec": {"steps": []}}
    pod = {"metadata": {"name": "p", "namespace": "ns", "ownerReferences": [owner_reference(TASK, task)]}}
    assert is_owned_by(pod, "u")
    assert not is_owned_by(pod, "another")
    assert not is_owned_by({"metadata": {"name": "p", "namespace": "ns"}}, "u")
