"""The metrics: the names and labels of the SDK and controller-runtime, and what makes each of them count."""

import urllib.error
import urllib.request
from collections.abc import Hashable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from taskflow_controller import __version__
from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.kube.work_queue import GroupState, WorkQueue
from taskflow_controller.serve.metrics import Metrics, Outcome, controller_names, metrics_endpoint

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
POD = GroupVersionKind("", "v1", "Pod")
NAMES = {"name": "widget-controller", "controller": "widget-controller"}
GVK = {"GVK": "example.com/v1, Kind=Widget"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics({WIDGET: 3, POD: 1})


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def test_constants(metrics: Metrics) -> None:
    assert value(metrics, "ansible_operator_build_info", commit="", version=__version__) == 1
    assert value(metrics, "controller_runtime_max_concurrent_reconciles", controller="widget-controller") == 3
    assert (value(metrics, "process_resident_memory_bytes") or 0) > 1_000_000
    assert value(metrics, "process_cpu_seconds_total") is not None


@pytest.mark.parametrize(
    ("outcome", "succeeded", "failed"),
    [(Outcome.SUCCESS, 1, 0), (Outcome.REQUEUE_AFTER, 1, 0), (Outcome.REQUEUE, 0, 0), (Outcome.ERROR, 0, 1)],
)
def test_verdicts(metrics: Metrics, outcome: Outcome, succeeded: int, failed: int) -> None:
    metrics.reconciled(WIDGET, outcome)
    assert value(metrics, "ansible_operator_reconcile_result", **GVK, result="succeeded") == succeeded
    assert value(metrics, "ansible_operator_reconcile_result", **GVK, result="failed") == failed
    counts = {
        one.value: value(
            metrics, "controller_runtime_reconcile_total", controller="widget-controller", result=one.value
        )
        for one in Outcome
    }
    assert counts == {one.value: float(one is outcome) for one in Outcome}
    assert value(metrics, "controller_runtime_reconcile_errors_total", controller="widget-controller") == failed


def test_time_of_a_run(metrics: Metrics) -> None:
    metrics.run_ended(WIDGET, 2.5, resources=4, warm=True)
    runs = {
        start: value(metrics, "taskflow_controller_runs_total", controller="widget-controller", start=start)
        for start in ("warm", "cold")
    }
    assert runs == {"warm": 1, "cold": 0}
    assert value(metrics, "ansible_operator_reconciles_sum", **GVK) == 2.5
    assert value(metrics, "ansible_operator_reconciles_bucket", **GVK, le="2.0") == 0
    assert value(metrics, "ansible_operator_reconciles_bucket", **GVK, le="3.0") == 1
    assert value(metrics, "controller_runtime_reconcile_time_seconds_sum", controller="widget-controller") == 2.5
    assert value(metrics, "taskflow_controller_run_resources_sum", controller="widget-controller") == 4
    assert value(metrics, "ansible_operator_reconciles_count", GVK="/v1, Kind=Pod") == 0


def test_queue(metrics: Metrics) -> None:
    now = [100.0]
    queue: WorkQueue[tuple[GroupVersionKind, str], str] = WorkQueue(
        lambda key: key[0], clock=lambda: now[0], observer=metrics
    )
    metrics.show_queue(queue.state)
    for name in ("a", "a", "b"):
        queue.add((WIDGET, name), "new")
    assert value(metrics, "workqueue_adds_total", **NAMES) == 2
    assert value(metrics, "workqueue_depth", **NAMES) == 2
    now[0] += 3
    items = queue.get()
    assert items is not None
    (item,) = items
    now[0] += 5
    queue.add(item.key, "again")
    assert value(metrics, "workqueue_adds_total", **NAMES) == 3
    assert value(metrics, "workqueue_depth", **NAMES) == 1
    assert value(metrics, "workqueue_queue_duration_seconds_sum", **NAMES) == 3
    assert value(metrics, "workqueue_unfinished_work_seconds", **NAMES) == 5
    assert value(metrics, "workqueue_longest_running_processor_seconds", **NAMES) == 5
    assert value(metrics, "controller_runtime_active_workers", controller="widget-controller") == 1
    queue.add_rate_limited(item.key, "failed")
    queue.done(item.key)
    assert value(metrics, "workqueue_work_duration_seconds_sum", **NAMES) == 5
    assert value(metrics, "workqueue_retries_total", **NAMES) == 1
    assert value(metrics, "workqueue_depth", **NAMES) == 2
    assert value(metrics, "controller_runtime_active_workers", controller="widget-controller") == 0
    assert value(metrics, "workqueue_depth", name="pod-controller", controller="pod-controller") == 0


def test_waits_of_a_standby_do_not_count(metrics: Metrics) -> None:
    now = [100.0]
    queue: WorkQueue[tuple[GroupVersionKind, str], str] = WorkQueue(
        lambda key: key[0], clock=lambda: now[0], observer=metrics
    )
    queue.add((WIDGET, "a"), "new")
    now[0] += 1000
    queue.restart_waits()
    now[0] += 2
    assert queue.get()
    assert value(metrics, "workqueue_queue_duration_seconds_sum", **NAMES) == 2


def test_a_resource_that_is_gone_is_shown_no_more(metrics: Metrics) -> None:
    resources = [(WIDGET, {"metadata": {"name": "w", "namespace": "ns", "creationTimestamp": "2024-01-06T22:19:24Z"}})]
    metrics.show_resources(lambda: resources)
    labels = {"name": "w", "namespace": "ns", "group": "example.com", "version": "v1", "kind": "Widget"}
    assert value(metrics, "resource_created_at_seconds", **labels) == 1704579564
    resources.clear()
    assert value(metrics, "resource_created_at_seconds", **labels) is None


def test_failing_watches_and_leadership(metrics: Metrics) -> None:
    metrics.show_watches(lambda: [(WIDGET, "ns", True), (POD, "", False)])
    labels = {"group": "example.com", "version": "v1", "kind": "Widget", "namespace": "ns"}
    assert value(metrics, "taskflow_controller_watch_failing", **labels) == 1
    for leads in (False, True):
        metrics.leading("lease", leads=leads)
        assert value(metrics, "leader_election_master_status", name="lease") == leads


def test_kinds_of_one_name_are_told_apart() -> None:
    other = GroupVersionKind("other.org", "v1", "Widget")
    assert controller_names([WIDGET, other, POD]) == {
        WIDGET: "widget.v1.example.com",
        other: "widget.v1.other.org",
        POD: "pod-controller",
    }


def test_endpoint(metrics: Metrics) -> None:
    state: dict[Hashable, GroupState] = {WIDGET: GroupState(7, (1.0, 2.0))}
    metrics.show_queue(lambda: state)
    endpoint = metrics_endpoint("127.0.0.1:0", metrics)
    endpoint.start()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        with pytest.raises(ConfigError, match=f"--metrics-bind-address 127.0.0.1:{endpoint.port}: Address already"):
            metrics_endpoint(f"127.0.0.1:{endpoint.port}", metrics)
    finally:
        endpoint.stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=30)
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    depths = {sample.labels["name"]: sample.value for sample in samples if sample.name == "workqueue_depth"}
    assert depths == {"widget-controller": 7, "pod-controller": 0}
    assert not [sample.name for sample in samples if sample.name.endswith("_created")]
