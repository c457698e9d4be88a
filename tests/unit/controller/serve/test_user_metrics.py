"""Metrics that playbooks make: the requests of the module operator_sdk.util.osdk_metric, and wrong ones."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry

from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.serve.http_endpoint import HttpEndpoint
from taskflow_controller.serve.metrics import Metrics
from taskflow_controller.serve.user_metrics import MAX_METRICS, Update, UserMetrics, parse, user_metrics_endpoint

OPTIONS = {
    "counter": ("increment", "add"),
    "gauge": ("set", "increment", "decrement", "add", "subtract", "set_to_current_time"),
    "histogram": ("observe",),
    "summary": ("observe",),
}


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics({GroupVersionKind("example.com", "v1", "Widget"): 1})
    metrics.show_queue(dict)
    return metrics


@pytest.fixture
def endpoint(metrics: Metrics) -> Iterator[HttpEndpoint]:
    endpoint = user_metrics_endpoint("127.0.0.1:0", metrics.registry)
    endpoint.start()
    yield endpoint
    endpoint.stop()


def post(endpoint: HttpEndpoint, name: str, type_: str, **actions: Any) -> requests.Response:
    """POST as the module does: all of a type's options are there, and null where the task does not give them."""
    body = {"name": name, "description": "text", type_: {**dict.fromkeys(OPTIONS[type_]), **actions}}
    return requests.post(f"http://localhost:{endpoint.port}/metrics", json=body, timeout=30)


def test_counter(metrics: Metrics, endpoint: HttpEndpoint) -> None:
    values = []
    for actions in ({}, {"increment": True}, {"add": 3.5}, {"increment": False}):
        assert post(endpoint, "my_counter", "counter", **actions).status_code == 200
        values.append(metrics.registry.get_sample_value("my_counter"))
    assert values == [0, 1, 4.5, 4.5], "under just this name, as with the SDK"
    assert post(endpoint, "other_total", "counter", add=2).status_code == 200
    assert metrics.registry.get_sample_value("other_total") == 2


def test_gauge(metrics: Metrics, endpoint: HttpEndpoint) -> None:
    steps = [{"set": 5}, {"increment": True}, {"decrement": True}, {"add": 2}, {"subtract": 4}, {"set": 0}]
    values = []
    for actions in steps:
        assert post(endpoint, "my_gauge", "gauge", **actions).status_code == 200
        values.append(metrics.registry.get_sample_value("my_gauge"))
    assert values == [5, 6, 5, 7, 3, 0]
    before = time.time()
    post(endpoint, "my_gauge", "gauge", set_to_current_time=True)
    assert (metrics.registry.get_sample_value("my_gauge") or 0) >= before


@pytest.mark.parametrize("type_", ["histogram", "summary"])
def test_observations(metrics: Metrics, endpoint: HttpEndpoint, type_: str) -> None:
    for actions in ({}, {"observe": 0}, {"observe": 2}):
        assert post(endpoint, "seen", type_, **actions).status_code == 200
    assert metrics.registry.get_sample_value("seen_count") == 2, "making it is no observation"
    assert metrics.registry.get_sample_value("seen_sum") == 2
    bucket = metrics.registry.get_sample_value("seen_bucket", {"le": "0.005"})
    assert bucket == (1 if type_ == "histogram" else None)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b'{"description": "x", "counter": {}}', "name: None is not a metric's name"),
        (b'{"name": "a-b", "counter": {}}', "name: 'a-b' is not a metric's name"),
        (b'{"name": "a"}', "a: give one of counter, gauge, histogram, summary, not 0"),
        (b'{"name": "a", "counter": {}, "gauge": {}}', "a: give one of counter, gauge, histogram, summary, not 2"),
        (b'{"name": "a", "labels": {}, "gauge": {}}', "unknown field 'labels'"),
        (b'{"name": "a", "counter": 1}', "a: counter: 1 is not an object"),
        (b'{"name": "a", "counter": {"set": 1}}', "a: counter: unknown field 'set'; the fields are increment, add"),
        (b'{"name": "a", "counter": {"add": -1}}', "a: counter.add: -1 is negative"),
        (b'{"name": "a", "counter": {"add": "1"}}', "a: counter.add: '1' is not a number"),
        (b'{"name": "a", "counter": {"add": true}}', "a: counter.add: True is not a number"),
        (b'{"name": "a", "counter": {"increment": 1}}', "a: counter.increment: 1 is not true or false"),
        (b'{"name": "a", "gauge": {"set": NaN}}', "a: gauge.set: nan is not finite"),
    ],
)
def test_bad_request(endpoint: HttpEndpoint, metrics: Metrics, body: bytes, message: str) -> None:
    response = requests.post(f"http://localhost:{endpoint.port}/metrics", data=body, timeout=30)
    assert response.status_code == 400
    assert message in response.text
    assert metrics.registry.get_sample_value("a") is None


def test_of_several_actions_the_first_counts() -> None:
    body = b'{"name": "a", "gauge": {"set": 5, "add": 0, "decrement": true, "increment": null}}'
    assert parse(body) == Update("a", "", "gauge", "decrement", 1)


@pytest.mark.parametrize("taken", ["workqueue_depth", "workqueue_adds_total", "ansible_operator_reconciles_sum"])
def test_the_controllers_own_names_are_taken(endpoint: HttpEndpoint, taken: str) -> None:
    response = post(endpoint, taken, "gauge", set=1)
    text = f"{taken}: this name, or one derived from it, is already in use"
    assert (response.status_code, response.text) == (400, text)


def test_type_stays(metrics: Metrics, endpoint: HttpEndpoint) -> None:
    post(endpoint, "mine", "histogram", observe=1)
    response = post(endpoint, "mine", "summary", observe=1)
    assert (response.status_code, response.text) == (400, "mine is a histogram; it can't become a summary")
    assert metrics.registry.get_sample_value("mine_count") == 1


def test_number_is_bounded() -> None:
    metrics = UserMetrics(CollectorRegistry())
    for number in range(MAX_METRICS):
        metrics.apply(Update(f"m{number}", "", "gauge", "set", 1))
    with pytest.raises(ValueError, match="one_more: there are already 1000 metrics"):
        metrics.apply(Update("one_more", "", "gauge", "set", 1))
    metrics.apply(Update("m0", "", "gauge", "set", 2))


def test_other_requests(endpoint: HttpEndpoint) -> None:
    url = f"http://localhost:{endpoint.port}"
    assert requests.get(f"{url}/metrics", timeout=30).status_code == 405
    assert requests.post(f"{url}/other", json={}, timeout=30).status_code == 404
    assert requests.post(f"{url}/metrics", data=iter([b"{}"]), timeout=30).status_code == 411
    assert requests.post(f"{url}/metrics", data=b" " * 70_000, timeout=30).status_code == 413
