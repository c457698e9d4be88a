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


def status_of(**fields):
    return json.dumps({"kind": "Status", **fields}).encode()


BODY = {"spec": {"command": ["x" * 100, "é"]}}


@pytest.mark.parametrize(
    ("status", "message", "words"),
    [
        (413, "Request entity too large: limit is 3145728", "limit is 3145728: it has 130 bytes, more than"),
        (500, "etcdserver: request is too large", "it has 130 bytes, and etcd takes 1572864 in one request"),
        (
            500,
            "rpc error: code = ResourceExhausted desc = trying to send message larger than max (2200000 vs. 2097152)",
            "(2200000 vs. 2097152): it has 130 bytes, and etcd",
        ),
        (
            422,
            'Pod "p" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes',
            "room for 262144",
        ),
        (422, 'Pod "p" is invalid: metadata.annotations: Too long: must have at most 262144 bytes', "room for 262144"),
    ],
)
def test_what_is_too_large_is_refused_for_good_with_its_size_and_the_limit(status, message, words):
    error = _client._refusal("create a Pod", status, status_of(message=message), BODY)
    assert (error.reason, error.permanent) == ("TooLarge", True)
    assert error.message.startswith(f"could not create a Pod: {message}: ") and words in error.message


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (500, "etcdserver: request timed out", "APIError"),
        (500, 'failed calling webhook "x"', "APIError"),
        (422, "metadata.name: Too long: may not be more than 253 bytes", "Refused"),
        (429, "too many requests", "APIError"),
    ],
)
def test_other_refusals_are_what_they_were(status, message, reason):
    assert _client._refusal("create a Pod", status, status_of(message=message), BODY).reason == reason


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
