"""What the API server's refusals come to."""

from __future__ import annotations

import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._build.api import BuildApi
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube import client as _client


def test_a_kind_that_is_not_served_says_what_is_missing():
    error = _client._refusal("list the tasks", 404, b"404 page not found\n")
    assert error.reason == "NotFound"
    assert str(error).startswith("could not list the tasks: HTTP status 404: the API server does not serve this kind; ")


def test_an_object_that_is_not_there_is_told_in_the_servers_words():
    body = json.dumps({"kind": "Status", "reason": "NotFound", "message": 'tasks "a" not found'}).encode()
    assert str(_client._refusal("read the Task", 404, body)) == 'could not read the Task: tasks "a" not found'


def test_an_answer_without_words_has_its_status():
    assert str(_client._refusal("read the Task", 500, b"<html>")) == "could not read the Task: HTTP status 500"


@pytest.mark.parametrize("reason", ["Forbidden", "APIError"])
def test_only_who_may_not_read_events_does_without_them(monkeypatch, reason):
    def refuse(*_arguments, **_options):
        raise TaskError(reason, "no")

    api = object.__new__(_client.Api)
    monkeypatch.setattr(api, "request", refuse)
    job = {"metadata": {"namespace": "ci", "name": "site-1", "uid": "u-1"}}
    if reason == "Forbidden":
        assert BuildApi(api).events_of(job) == []
    else:
        with pytest.raises(TaskError):
            BuildApi(api).events_of(job)
