"""The controller's metrics for Prometheus.

The names and labels are those of the Operator SDK and of controller-runtime, so that dashboards and alerts made for
them still work. Metrics without a counterpart there begin with ``taskflow_controller_``.

Code that has something to count gets ``Metrics``. Counting is an addition under a lock. Metrics that are part of the
controller's state (queue, resources, watches) are read when Prometheus asks, and cost nothing before.
"""

import datetime
import enum
from collections.abc import Callable, Hashable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import MetricsHandler
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from taskflow_controller import __version__
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name
from taskflow_controller.kube.work_queue import GroupState
from taskflow_controller.serve.http_endpoint import HttpEndpoint

FLAG = "--metrics-bind-address"

# These are extra series that say when each counter and histogram was first used:
disable_created_metrics()  # type: ignore[no-untyped-call]

_RUN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600)
_QUEUE_SECONDS = tuple(10.0**exponent for exponent in range(-8, 4))  # those of controller-runtime
_BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100)


class Outcome(enum.StrEnum):
    """The outcome of a run for one resource, in controller-runtime's words."""

    SUCCESS = "success"
    REQUEUE_AFTER = "requeue_after"  # a success, and another run is planned
    REQUEUE = "requeue"  # cut short by the controller itself: no verdict, and another run follows
    ERROR = "error"


_SDK_RESULTS = {
    Outcome.SUCCESS: "succeeded",
    Outcome.REQUEUE_AFTER: "succeeded",
    Outcome.ERROR: "failed",
}


class _Series:
    """The series of one watched kind, looked up once."""

    def __init__(self, metrics: "Metrics", gvk: GroupVersionKind, name: str) -> None:
        self.name = name
        gvk_text = f"{gvk.group}/{gvk.version}, Kind={gvk.kind}"  # as Go prints it
        self.adds = metrics.adds.labels(name, name)
        self.retries = metrics.retries.labels(name, name)
        self.waited = metrics.waited.labels(name, name)
        self.worked = metrics.worked.labels(name, name)
        self.run_seconds = (metrics.sdk_reconciles.labels(gvk_text), metrics.reconcile_time.labels(name))
        self.batch_size = metrics.batch_size.labels(name)
        self.runs = {warm: metrics.runs.labels(name, "warm" if warm else "cold") for warm in (True, False)}
        self.errors = metrics.errors.labels(name)
        self.results = {outcome: metrics.reconciles.labels(name, outcome.value) for outcome in Outcome}
        self.sdk_results = {
            outcome: metrics.sdk_results.labels(gvk_text, result) for outcome, result in _SDK_RESULTS.items()
        }


class Metrics:
    """The controller's metrics, in a registry of their own. Thread-safe.

    Args:
        limits: for each watched kind, how many of its runs may go on at once.

    Attributes:
        registry: the registry.
    """

    def __init__(self, limits: Mapping[GroupVersionKind, int]) -> None:
        self.registry = registry = CollectorRegistry()
        queue = ("name", "controller")
        self.adds = Counter("workqueue_adds", "Keys added to the queue", queue, registry=registry)
        self.retries = Counter("workqueue_retries", "Keys put back after a failure", queue, registry=registry)
        self.waited = _histogram("workqueue_queue_duration_seconds", "Wait of a key", queue, _QUEUE_SECONDS, registry)
        self.worked = _histogram("workqueue_work_duration_seconds", "Work on a key", queue, _QUEUE_SECONDS, registry)
        self.reconciles = Counter(
            "controller_runtime_reconcile",
            "Reconciled resources by result",
            ("controller", "result"),
            registry=registry,
        )
        self.errors = Counter(
            "controller_runtime_reconcile_errors", "Resources whose run failed", ("controller",), registry=registry
        )
        self.reconcile_time = _histogram(
            "controller_runtime_reconcile_time_seconds", "Time of a run", ("controller",), _RUN_SECONDS, registry
        )
        self.sdk_results = Gauge(
            "ansible_operator_reconcile_result", "Resources by verdict", ("GVK", "result"), registry=registry
        )
        self.sdk_reconciles = _histogram(
            "ansible_operator_reconciles", "Time of a run, from its start to its end", ("GVK",), _RUN_SECONDS, registry
        )
        self.batch_size = _histogram(
            "taskflow_controller_run_resources", "Resources served by one run", ("controller",), _BATCH_SIZES, registry
        )
        self.runs = Counter(
            "taskflow_controller_runs", "Runs by how Ansible was started", ("controller", "start"), registry=registry
        )
        self._leader = Gauge(
            "leader_election_master_status", "1 while this replica holds the lease", ("name",), registry=registry
        )
        _set_constants(registry, limits)
        ProcessCollector(registry=registry)
        names = controller_names(limits)
        self._series: Mapping[Hashable, _Series] = {gvk: _Series(self, gvk, names[gvk]) for gvk in limits}

    def added(self, group: Hashable) -> None:
        """Count a key of this kind that came into the queue and was not in it before."""
        self._series[group].adds.inc()

    def taken(self, group: Hashable, waited: float) -> None:
        """Record that a worker took a key ``waited`` seconds after it came into the queue."""
        self._series[group].waited.observe(waited)

    def done(self, group: Hashable, worked: float) -> None:
        """Record that the work on a key ended after ``worked`` seconds."""
        self._series[group].worked.observe(worked)

    def retried(self, group: Hashable) -> None:
        """Count a key that will be tried again after a back-off."""
        self._series[group].retries.inc()

    def run_ended(self, gvk: GroupVersionKind, seconds: float, resources: int = 1, *, warm: bool = False) -> None:
        """Record a run that has ended.

        Args:
            gvk: the kind of its resources.
            seconds: the time from its start to its end.
            resources: how many resources it was for.
            warm: whether a fork server started it.
        """
        series = self._series[gvk]
        for histogram in series.run_seconds:
            histogram.observe(seconds)
        series.batch_size.observe(resources)
        series.runs[warm].inc()

    def reconciled(self, gvk: GroupVersionKind, outcome: Outcome) -> None:
        """Count a resource for which a run has ended."""
        series = self._series[gvk]
        series.results[outcome].inc()
        if outcome in series.sdk_results:
            series.sdk_results[outcome].inc()
        if outcome is Outcome.ERROR:
            series.errors.inc()

    def leading(self, lease: str, *, leads: bool) -> None:
        """Record whether this replica holds the lease of this name."""
        self._leader.labels(lease).set(1 if leads else 0)

    def show_queue(self, state: Callable[[], Mapping[Hashable, GroupState]]) -> None:
        """Show the state of the queue, which ``state`` returns whenever the metrics are read."""
        names = {group: series.name for group, series in self._series.items()}
        self.registry.register(_Live(_queue_families(names, {}), lambda: _queue_families(names, state())))

    def show_resources(self, resources: Callable[[], Iterable[tuple[GroupVersionKind, Object]]]) -> None:
        """Show when each resource was created. ``resources`` returns those that exist, with their kind."""
        self.registry.register(_Live([_created(())], lambda: [_created(resources())]))

    def show_watches(self, failing: Callable[[], Iterable[tuple[GroupVersionKind, str, bool]]]) -> None:
        """Show which watches fail. ``failing`` returns (kind, namespace or "", whether it fails) of each."""
        self.registry.register(_Live([_failing_watches(())], lambda: [_failing_watches(failing())]))


def metrics_endpoint(address: str, metrics: Metrics) -> HttpEndpoint:
    """Return an endpoint that serves metrics to Prometheus.

    Args:
        address: where to listen.
        metrics: the metrics to serve.

    Raises:
        ConfigError: the address can't be bound.
    """
    return HttpEndpoint(FLAG, address, MetricsHandler.factory(metrics.registry))


def controller_names(kinds: Iterable[GroupVersionKind]) -> dict[GroupVersionKind, str]:
    """Return the label ``controller`` of each kind, such as ``task-controller``, as in the SDK.

    If kinds in several groups or versions have the same name, their labels include version and group.
    """
    kinds = list(kinds)
    short = [gvk.kind.lower() for gvk in kinds]
    return {
        gvk: f"{name}-controller" if short.count(name) == 1 else ".".join(filter(None, (name, gvk.version, gvk.group)))
        for gvk, name in zip(kinds, short, strict=True)
    }


class _Live(Collector):
    """Metrics that are made when they are read. ``examples`` have their names, to reserve these."""

    def __init__(self, examples: Iterable[Metric], families: Callable[[], Iterable[Metric]]) -> None:
        self._examples, self._families = examples, families

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def describe(self) -> Iterable[Metric]:
        return self._examples


def _set_constants(registry: CollectorRegistry, limits: Mapping[GroupVersionKind, int]) -> None:
    build = Gauge("ansible_operator_build_info", "Version of this program", ("commit", "version"), registry=registry)
    build.labels("", __version__).set(1)
    limit = Gauge(
        "controller_runtime_max_concurrent_reconciles", "Limit of runs at once", ("controller",), registry=registry
    )
    for gvk, name in controller_names(limits).items():
        limit.labels(name).set(limits[gvk])


def _histogram(
    name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...], registry: CollectorRegistry
) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=registry)


def _queue_families(names: Mapping[Hashable, str], state: Mapping[Hashable, GroupState]) -> Iterable[Metric]:
    queue = ("name", "controller")
    depth = GaugeMetricFamily("workqueue_depth", "Keys that wait for a worker", labels=queue)
    unfinished = GaugeMetricFamily("workqueue_unfinished_work_seconds", "Time of all work in progress", labels=queue)
    longest = GaugeMetricFamily("workqueue_longest_running_processor_seconds", "Longest work in progress", labels=queue)
    workers = GaugeMetricFamily("controller_runtime_active_workers", "Workers in use", labels=("controller",))
    for group, name in names.items():
        now = state.get(group, GroupState())
        depth.add_metric((name, name), now.waiting)
        unfinished.add_metric((name, name), sum(now.running))
        longest.add_metric((name, name), max(now.running, default=0))
        workers.add_metric((name,), now.workers)
    return (depth, unfinished, longest, workers)


def _created(resources: Iterable[tuple[GroupVersionKind, Object]]) -> Metric:
    labels = ("name", "namespace", "group", "version", "kind")
    created = GaugeMetricFamily("resource_created_at_seconds", "When a watched resource was created", labels=labels)
    for gvk, obj in resources:
        namespace, name = namespace_and_name(obj)
        moment = (obj.get("metadata") or {}).get("creationTimestamp")
        if moment:
            seconds = datetime.datetime.fromisoformat(moment).timestamp()
            created.add_metric((name, namespace, gvk.group, gvk.version, gvk.kind), seconds)
    return created


def _failing_watches(watches: Iterable[tuple[GroupVersionKind, str, bool]]) -> Metric:
    failing = GaugeMetricFamily(
        "taskflow_controller_watch_failing",
        "1 while a kind can't be watched",
        labels=("group", "version", "kind", "namespace"),
    )
    for gvk, namespace, fails in watches:
        failing.add_metric((gvk.group, gvk.version, gvk.kind, namespace), int(fails))
    return failing
