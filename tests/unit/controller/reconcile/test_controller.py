"""Informers and controller against fakes in this process."""

import copy
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube.api import ApiResource, KindNotServedError, plain_cause
from taskflow_controller.kube.informers import Change, ResourceInformer
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.kube.objects import Objects
from taskflow_controller.kube.store import Store
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.runs.launcher import Launcher
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
POD = GroupVersionKind("", "v1", "Pod")


def until(condition: Callable[[], Any], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.005)


def widget(name: str = "w", version: str = "1", generation: int = 1, uid: str = "u1") -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": uid,
        "resourceVersion": version,
        "generation": generation,
    }
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {}}


def pod(version: str = "1", phase: str = "A", owner: str = "w", uid: str = "u1") -> dict[str, Any]:
    reference = {
        "apiVersion": "example.com/v2",
        "kind": "Widget",
        "name": owner,
        "uid": uid,
        "controller": True,
    }
    metadata = {"name": "p", "namespace": "ns", "resourceVersion": version, "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


class FakeApi:
    """Serves lists in pages of two; a watch stays open and silent until the test ends it."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.problem: Exception | None = None
        self.watch_problem: Exception | None = None
        self.watch_query: dict[str, Any] = {}
        self.lists = itertools.count()
        self.closing = threading.Event()

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        if self.problem:
            raise self.problem
        return ApiResource(gvk.kind.lower() + "s", True)

    def get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        next(self.lists)
        start = int(query.get("continue", 0))
        more = {"continue": str(start + 2)} if start + 2 < len(self.items) else {}
        return {"metadata": {"resourceVersion": "5", **more}, "items": self.items[start : start + 2]}

    def stream(self, path: str, query: dict[str, Any], read_timeout: float) -> Any:
        self.watch_query, self.read_timeout = query, read_timeout
        if self.watch_problem:
            problem, self.watch_problem = self.watch_problem, None
            raise problem

        def lines(**_: Any) -> Any:
            self.closing.wait(10)
            return iter(())

        return SimpleNamespace(stream=lines, status=200, close=lambda: None, release_conn=lambda: None)


@pytest.fixture
def api():
    fake = FakeApi()
    yield fake
    fake.closing.set()


def informer(api: FakeApi, changes: list[Change]) -> ResourceInformer:
    return ResourceInformer(api, WIDGET, on_change=changes.append, store=Store())  # type: ignore[arg-type]


def test_first_list_is_paged(api: FakeApi) -> None:
    changes: list[Change] = []
    api.items = [widget(f"w{number}") for number in range(5)]
    one = informer(api, changes)
    assert not one.alive
    one.start()
    until(lambda: one.synced)
    assert [change.new["metadata"]["name"] for change in changes if change.new] == [f"w{n}" for n in range(5)]
    assert one.alive and len(one.store) == 5 and next(api.lists) == 3
    one.stop()


def test_watch_resumes_from_the_list_and_cannot_hang(api: FakeApi) -> None:
    one = informer(api, [])
    one.start()
    until(lambda: api.watch_query)
    assert api.watch_query["resourceVersion"] == "5"
    assert 0 < api.watch_query["timeoutSeconds"] < 400
    assert 60 < api.read_timeout < 120, "longer than between two bookmarks, and not much"
    one.stop()


def test_trouble_is_logged_once_and_named(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    api.problem = KindNotServedError(WIDGET)
    one = informer(api, [])
    for _ in range(3):
        with pytest.raises(KindNotServedError):
            one._list_or_watch()
    assert caplog.text.count("cannot watch Widget (example.com/v1) in all namespaces") == 1
    assert "does not serve Widget (example.com/v1)" in (one.trouble or "") and not one.synced


def test_lost_watch_lists_anew(api: FakeApi) -> None:
    """A 404 (CRD removed) makes it list again, and what is gone by then is a deletion."""
    changes: list[Change] = []
    api.items = [widget()]
    api.watch_problem = ApiException(status=404, reason="Not Found")
    one = informer(api, changes)
    one.start()
    until(lambda: changes)
    api.items = []
    until(lambda: len(changes) == 2)
    assert changes[1].new is None and one.store.get("ns", "w") is None
    one.stop()


def test_changes_come_with_the_object_before(api: FakeApi) -> None:
    changes: list[Change] = []
    one = informer(api, changes)
    first, second, other = widget(), widget(version="2"), widget(version="3", uid="u2")
    for obj in (first, first, second, other):
        one._upserted(copy.deepcopy(obj))  # it keeps the identity of what it is given, no more
    one._deleted(copy.deepcopy(other))
    one._deleted(copy.deepcopy(other))
    assert [(change.old, change.new) for change in changes] == [
        (None, first),
        (first, second),
        (second, None),  # deleted and created anew, unseen
        (None, other),
        (other, None),
    ]


def test_handler_error_is_logged_with_the_object(api: FakeApi, caplog: pytest.LogCaptureFixture) -> None:
    def broken(change: Change) -> None:
        raise RuntimeError("oops")

    one = ResourceInformer(api, WIDGET, on_change=broken, store=Store())  # type: ignore[arg-type]
    one._upserted(widget())
    assert "an event of Widget ns/w was not handled" in caplog.text


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
def setup(api: FakeApi, tmp_path: Path):
    """A controller with a fake runner, its workers running; events are fed by hand."""
    fields = {
        "command": Command("/p.yml"),
        "vars": {},
        "reconcile_period": None,
        "max_runner_artifacts": 2,
        "manage_status": False,
    }
    rest = {"snake_case_parameters": True, "watch_annotations_changes": False, "max_concurrent": None}
    watch = Watch(
        gvk=WIDGET, dependents=(DependentWatch(POD, "", (("status", "phase"),)),), verbosity=3, **fields, **rest
    )
    runner = FakeRunner()
    workspaces = Workspaces(tmp_path)
    overrides = Overrides(Defaults(reconcile_period=0, verbosity=0))
    launcher = Launcher(runner, workspaces, overrides, environment={}, cancelled=lambda: False)
    objects = Objects(api)  # type: ignore[arg-type]
    reconciler = Reconciler(launcher, objects, overrides, cancelled=lambda: False)
    controller = Controller(api, [watch], reconciler, Limits(2))  # type: ignore[arg-type]
    widgets, pods = controller.informers
    controller.start_workers()
    yield SimpleNamespace(
        controller=controller,
        runner=runner,
        widgets=widgets,
        pods=pods,
        path=workspaces.path(KEY),
        base=tmp_path,
    )
    assert controller.shut_down(5)


KEY = ResourceKey(WIDGET, "ns", "w")


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.reason for record in caplog.records if record.msg == "run started"]


def test_runs_for_primary_and_dependent(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runs = setup.runner.requests
    setup.widgets._upserted(widget())
    until(lambda: len(runs) == 1)
    assert (runs[0].verbosity, runs[0].max_artifacts, runs[0].directory) == (3, 2, setup.path)
    setup.pods._upserted(pod())
    until(lambda: len(runs) == 2)
    setup.pods._upserted(pod("2", "B"))
    until(lambda: len(runs) == 3)
    setup.pods._upserted(pod("3", "B", uid="other"))
    setup.pods._deleted(pod("4", "B", uid="other"))  # of an owner that is gone
    setup.widgets._upserted(widget(version="2"))
    setup.widgets._upserted(widget(version="3", generation=2))
    until(lambda: len(runs) == 4)
    assert reasons(caplog) == [
        "Widget seen for the first time",
        "Pod p seen for the first time",
        "Pod p status.phase changed",
        "Widget generation 1 -> 2",
    ]


def test_deleted_is_cleaned_up_without_a_run(setup) -> None:
    setup.widgets._upserted(widget())
    until(lambda: setup.path.exists() and not setup.controller.queue.working())
    setup.widgets._deleted(widget())
    until(lambda: not setup.path.exists())
    assert len(setup.runner.requests) == 1


def test_failure_and_bug_are_retried_then_forgotten(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    setup.runner.outcomes = [{"status": "failed", "rc": 2}, RuntimeError("bug"), {}]
    setup.widgets._upserted(widget())
    until(lambda: len(setup.runner.requests) == 3)
    until(lambda: setup.controller.queue.failures(KEY) == 0)
    assert reasons(caplog)[1:] == ["retry 1 after failure", "retry 2 after failure"]
    assert setup.controller.thread_problem() is not None  # the informers were never started
    assert "worker" not in setup.controller.thread_problem()


def test_requeue_after_is_honoured(setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    setup.runner.outcomes = [{"requeue_after": 0.05}]
    setup.widgets._upserted(widget())
    until(lambda: len(setup.runner.requests) == 2)
    assert reasons(caplog)[1] == "requeue_after 0.05 s"


def test_event_that_no_predicate_understands_starts_a_run(
    setup, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.widgets._upserted(widget())
    until(lambda: len(setup.runner.requests) == 1)
    setup.pods._upserted(pod())
    until(lambda: len(setup.runner.requests) == 2)
    monkeypatch.setattr("taskflow_controller.reconcile.controller.dependent_reason", lambda old, new, fields: 1 / 0)
    setup.pods._upserted(pod("2"))
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
