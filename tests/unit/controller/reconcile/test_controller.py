"""The controller against fakes in this process."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException
from support.api.fake_cluster import FakeCluster

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube import reflector
from taskflow_controller.kube.api import plain_cause
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.kube.objects import Objects
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.reconcile.dependent_finalizers import DependentFinalizers
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.runs.launcher import Launcher
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
POD = GroupVersionKind("", "v1", "Pod")


def until(condition: Callable[[], Any], timeout: float = 60.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.005)


def widget(generation: int = 1) -> dict[str, Any]:
    metadata = {"name": "w", "namespace": "ns", "uid": "u1", "generation": generation}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {}}


def pod(phase: str = "A", uid: str = "u1") -> dict[str, Any]:
    reference = {
        "apiVersion": "example.com/v2",
        "kind": "Widget",
        "name": "w",
        "uid": uid,
        "controller": True,
    }
    metadata = {"name": "p", "namespace": "ns", "uid": "u2", "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCluster]:
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.0)
    cluster = FakeCluster()
    yield cluster
    cluster.close()


class FakeRunner:
    """Remembers requests; ends as told."""

    def __init__(self) -> None:
        self.requests: list[RunRequest] = []
        self.outcomes: list[Any] = []

    def run(self, request: RunRequest) -> RunResult:
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if self.outcomes else {}
        if isinstance(outcome, Exception):
            raise outcome
        fields = {
            "rc": 0,
            "status": "successful",
            "failures": (),
            "error": "",
            "requeue_after": None,
            **outcome,
        }
        return RunResult(counts=RunCounts(), duration=0.0, **fields)


@pytest.fixture
def setup(api: FakeCluster, tmp_path: Path):
    """A controller with a fake runner, which works and watches."""
    fields = {
        "command": Command("/p.yml"),
        "vars": {},
        "reconcile_period": None,
        "max_runner_artifacts": 2,
        "manage_status": False,
    }
    rest = {"snake_case_parameters": True, "watch_annotations_changes": False, "max_concurrent": None}
    watch = Watch(
        gvk=WIDGET,
        dependents=(DependentWatch(POD, "", (("status", "phase"),), "example.com/kept"),),
        verbosity=3,
        **fields,
        **rest,
    )
    runner = FakeRunner()
    workspaces = Workspaces(tmp_path)
    overrides = Overrides(Defaults(reconcile_period=0, verbosity=0))
    launcher = Launcher(runner, workspaces, overrides, environment={}, cancelled=lambda: False)
    objects = Objects(api)  # type: ignore[arg-type]
    reconciler = Reconciler(launcher, objects, overrides, cancelled=lambda: False)
    controller = Controller(api, [watch], reconciler, Limits(2), finalizers=DependentFinalizers(objects))  # type: ignore[arg-type]
    controller.start_workers()
    controller.start_informers()
    until(lambda: len(api.streams) == 2)
    yield SimpleNamespace(
        controller=controller,
        runner=runner,
        api=api,
        path=workspaces.path(KEY),
        base=tmp_path,
    )
    assert controller.shut_down(5)
    controller.stop_informers()


KEY = ResourceKey(WIDGET, "ns", "w")


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.reason for record in caplog.records if record.msg == "run started"]


def test_runs_for_primary_and_dependent(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runs = setup.runner.requests
    setup.api.put(widget())
    until(lambda: len(runs) == 1)
    assert (runs[0].verbosity, runs[0].max_artifacts, runs[0].directory) == (3, 2, setup.path)
    setup.api.put(pod())
    until(lambda: len(runs) == 2)
    setup.api.put(pod("B"))
    until(lambda: len(runs) == 3)
    setup.api.put(pod("B", uid="other"))
    setup.api.delete(pod("B", uid="other"))  # of an owner that is gone
    setup.api.put(widget())
    setup.api.put(widget(generation=2))
    until(lambda: len(runs) == 4)
    assert reasons(caplog) == [
        "Widget seen for the first time",
        "Pod p seen for the first time",
        "Pod p status.phase changed",
        "Widget generation 1 -> 2",
    ]


def test_deleted_is_cleaned_up_without_a_run(setup) -> None:
    setup.api.put(widget())
    until(lambda: setup.path.exists() and not setup.controller.queue.working())
    setup.api.delete(widget())
    until(lambda: not setup.path.exists())
    assert len(setup.runner.requests) == 1


def test_a_dependents_finalizer_goes_with_its_owner(setup) -> None:
    setup.api.put(widget())
    kept = pod()
    kept["metadata"]["finalizers"] = ["example.com/kept"]
    setup.api.put(kept)
    # One run, or two where the Widget's began before the Pod was seen.
    until(lambda: setup.runner.requests and not setup.controller.queue.working())
    setup.api.delete(widget())
    until(lambda: not setup.api.objects["pods", "ns", "p"]["metadata"]["finalizers"])
    assert setup.controller.thread_problem() is None
    setup.controller.shut_down(5)
    until(lambda: "dependent-finalizers" in (setup.controller.thread_problem() or ""))


def test_failure_and_bug_are_retried_then_forgotten(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    setup.runner.outcomes = [{"status": "failed", "rc": 2}, RuntimeError("bug"), {}]
    setup.api.put(widget())
    until(lambda: len(setup.runner.requests) == 3)
    until(lambda: setup.controller.queue.failures(KEY) == 0)
    assert reasons(caplog)[1:] == ["retry 1 after failure", "retry 2 after failure"]
    assert setup.controller.thread_problem() is None
    setup.controller.stop_informers()
    until(setup.controller.thread_problem)
    assert "worker" not in setup.controller.thread_problem()


def test_requeue_after_is_honoured(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    setup.runner.outcomes = [{"requeue_after": 0.05}]
    setup.api.put(widget())
    until(lambda: len(setup.runner.requests) == 2)
    assert reasons(caplog)[1] == "requeue_after 0.05 s"


def test_event_that_no_predicate_understands_starts_a_run(
    setup, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.api.put(widget())
    until(lambda: len(setup.runner.requests) == 1)
    setup.api.put(pod())
    until(lambda: len(setup.runner.requests) == 2)
    monkeypatch.setattr("taskflow_controller.triggers.routing.dependent_reason", lambda old, new, fields: 1 / 0)
    setup.api.put(pod())
    until(lambda: len(setup.runner.requests) == 3)
    assert "an event of Pod (v1) was not understood" in caplog.text


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    watches: list[Any] = [SimpleNamespace(max_concurrent=value) for value in (None, 1, 9)]
    limits = Limits(4)
    assert [limits.for_watch(watch) for watch in watches] == [4, 1, 9]
    assert limits.workers(watches) == 9, "as many as one kind may have"
    assert limits.workers(watches[:2]) == 5, "no more than all kinds may have"
    assert Limits(4).workers(watches[:1] * 5) == 6, "twice the CPUs"
    assert Limits(4, 2).workers(watches) == 2 and Limits(4, 100).workers(watches) == 14


def test_plain_cause() -> None:
    body = '{"message": "widgets is forbidden", "code": 403}'
    assert plain_cause(ApiException(status=403, reason="Forbidden", body=body)) == "HTTP 403: widgets is forbidden"
    try:
        urllib3.PoolManager(retries=False).request("GET", "http://127.0.0.1:1/")
    except urllib3.exceptions.HTTPError as exc:
        assert plain_cause(exc) == "Connection refused"
