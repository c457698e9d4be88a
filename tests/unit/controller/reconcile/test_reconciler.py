"""What is done for a resource around its run: finalizer, status, verdict, and what follows."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException
from support.api.object_server import KEY, WIDGET, ObjectServer

from taskflow_controller.config.overrides import RECONCILE_PERIOD, VERBOSITY, Defaults, Overrides
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Finalizer, Watch
from taskflow_controller.kube import objects
from taskflow_controller.kube.kinds import Object, ResourceKey
from taskflow_controller.kube.objects import Objects
from taskflow_controller.reconcile import finalizers, run_history, status_writer
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.reconcile.verdicts import Next
from taskflow_controller.runs.launcher import Launcher, Work
from taskflow_controller.runs.resource_results import ResourceResult
from taskflow_controller.runs.run_events import RunCounts, TaskFailure
from taskflow_controller.runs.runner import RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.serve.metrics import Metrics, Outcome
from taskflow_controller.triggers.causes import PERIOD, Cause, Causes

NAME = "example.com/ours"
NO_ANSWER = urllib3.exceptions.ProtocolError("cut")
GOOD: dict[str, Any] = {"status": "successful", "rc": 0}
BAD: dict[str, Any] = {
    "status": "failed",
    "rc": 2,
    "failures": (TaskFailure("T", "localhost", "disk full"), TaskFailure("T", "localhost", "no net")),
}
WATCH = Watch(
    gvk=WIDGET,
    command=Command(playbook="/main.yml"),
    vars={"from": "watch", "own": 1},
    reconcile_period=None,
    max_runner_artifacts=2,
    snake_case_parameters=True,
    watch_annotations_changes=False,
    dependents=(),
    max_concurrent=None,
    verbosity=3,
    manage_status=False,
)
MANAGED = dataclasses.replace(WATCH, manage_status=True)
FINALIZED = dataclasses.replace(WATCH, finalizer=Finalizer(NAME, Command("/end.yml"), {"from": "finalizer"}))
BATCHED = dataclasses.replace(WATCH, batch=3)


class Runner:
    """Ends as told; notes what it was asked, and the object's conditions at that time."""

    def __init__(self, server: ObjectServer) -> None:
        self.server = server
        self.requests: list[RunRequest] = []
        self.outcomes: list[Any] = []
        self.during: list[Any] = []
        self.meanwhile = lambda: None

    def run(self, request: RunRequest) -> RunResult:
        self.requests.append(request)
        self.during.append(self.server.seen()["status"].get("conditions"))
        self.meanwhile()
        outcome = self.outcomes.pop(0) if self.outcomes else GOOD
        if isinstance(outcome, Exception):
            raise outcome
        fields = {"failures": (), "error": "", "requeue_after": None, "duration": 0.5, "counts": RunCounts(ok=4)}
        return RunResult(**{**fields, **outcome})


def why(cause: str = "test") -> Causes:
    return Causes((Cause.event(cause),))


class Setup:
    """A reconciler with a fake runner and a fake API server."""

    def __init__(self, base: Path) -> None:
        self.server = ObjectServer()
        self.runner = Runner(self.server)
        self.workspaces = Workspaces(base)
        self.cancelled = False
        self.metrics = Metrics({WIDGET: 1})
        overrides = Overrides(Defaults(reconcile_period=100, verbosity=0, run_timeout=60))
        launcher = Launcher(
            self.runner, self.workspaces, overrides, environment={"A": "B"}, cancelled=lambda: self.cancelled
        )
        self.reconciler = Reconciler(
            launcher,
            Objects(self.server),  # type: ignore[arg-type]
            overrides,
            cancelled=lambda: self.cancelled,
            metrics=self.metrics,
        )

    def reconcile(self, watch: Watch, obj: Object | None = None, cause: str = "test") -> Next:
        work = Work(KEY, obj or self.server.seen(), why(cause))
        return self.reconciler.reconcile(watch, [work])[KEY]

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {entry["type"]: entry for entry in self.server.object["status"]["conditions"]}

    def delete(self, *names: str) -> None:
        self.server.touch(deletionTimestamp="2024-01-06T22:19:24Z", finalizers=list(names))


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    monkeypatch.setattr(objects, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(objects, "_SLICE", 0.001)
    for module, name in ((status_writer, "ENDING_PATIENCE"), (finalizers, "PATIENCE")):
        monkeypatch.setattr(module, name, 0.02)
    return Setup(tmp_path)


def test_plain_run(setup: Setup) -> None:
    following = setup.reconcile(WATCH)
    (request,) = setup.runner.requests
    assert (request.command, request.verbosity, request.max_artifacts) == (Command("/main.yml"), 3, 2)
    assert (request.environment, request.timeout) == ({"A": "B"}, 60)
    assert request.directory == setup.workspaces.path(KEY)
    assert request.extra_vars["from"] == "watch"
    assert not setup.server.patches, "neither status nor finalizer: nothing is written"
    assert following.outcome is Outcome.REQUEUE_AFTER and following.cause is PERIOD
    assert following.delay is not None and 90 <= following.delay <= 100


def test_annotations_override(setup: Setup) -> None:
    setup.server.touch(annotations={RECONCILE_PERIOD: "10s", VERBOSITY: "5"})
    following = setup.reconcile(WATCH)
    assert following.delay is not None and 9 <= following.delay <= 10
    assert setup.runner.requests[0].verbosity == 5
    setup.server.touch(annotations={RECONCILE_PERIOD: "0"})
    assert setup.reconcile(WATCH) == Next(Outcome.SUCCESS)


def test_what_follows(setup: Setup) -> None:
    setup.runner.outcomes = [{**GOOD, "requeue_after": 5.0}, BAD, {"status": "canceled", "rc": 254}]
    assert setup.reconcile(WATCH) == Next(Outcome.REQUEUE_AFTER, delay=5, cause=Cause.requeue_after(5))
    assert setup.reconcile(WATCH) == Next(Outcome.ERROR, retry="failure")
    assert setup.reconcile(WATCH) == Next(Outcome.REQUEUE, retry="failure")


def test_status_of_a_success(setup: Setup) -> None:
    setup.reconcile(MANAGED)
    assert [entry["reason"] for entry in setup.runner.during[0]] == ["Running"]
    conditions = setup.conditions()
    assert conditions["Running"]["ansibleResult"]["ok"] == 4
    assert conditions["Successful"]["status"] == "True"
    assert setup.server.object["status"]["mine"] == 1
    assert setup.runner.requests[0].extra_vars["_example_com_widget"]["status"]["conditions"], "as it was written"


def test_status_of_a_failure(setup: Setup) -> None:
    setup.runner.outcomes = [BAD]
    assert setup.reconcile(MANAGED).retry == "failure"
    assert setup.conditions()["Failure"]["message"] == "disk full\nno net"


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ({"status": "timeout", "rc": 254, "error": "took longer than 5 s"}, "took longer than 5 s"),
        ({"status": "failed", "rc": 4, "error": "ERROR! no such role"}, "ERROR! no such role"),
        ({"status": "failed", "rc": 137}, "the run ended with status failed, exit code 137, and no message"),
        (OSError(28, "No space left on device"), "the run broke off: [Errno 28] No space left on device"),
        (RuntimeError("oops"), "internal error: RuntimeError: oops"),
        ({"status": "canceled", "rc": 254}, "the run was cut short because the controller is about to end"),
    ],
)
def test_status_of_a_run_that_broke_off(setup: Setup, outcome: Any, message: str) -> None:
    setup.runner.outcomes = [outcome]
    assert setup.reconcile(MANAGED).retry == "failure"
    conditions = setup.conditions()
    assert conditions["Failure"]["message"] == message
    assert conditions["Running"]["status"] == "False"


def test_what_the_play_writes_stays(setup: Setup) -> None:
    def write() -> None:
        setup.server.object["status"]["conditions"].append({"type": "Ready", "status": "True"})
        setup.server.object["status"]["url"] = "http://"
        setup.server.touch()

    setup.runner.meanwhile = write
    setup.reconcile(MANAGED)
    assert setup.conditions().keys() == {"Running", "Successful", "Failure", "Ready"}
    assert setup.server.object["status"]["url"] == "http://"


def test_a_cancelled_run_does_not_write_over_another_s_work(setup: Setup) -> None:
    setup.runner.outcomes = [{"status": "canceled", "rc": 254}]
    setup.runner.meanwhile = setup.server.touch
    setup.reconcile(MANAGED)
    assert "Failure" not in setup.conditions()


def test_once_cancelled_nothing_is_begun_or_written(setup: Setup) -> None:
    setup.cancelled = True
    assert setup.reconcile(MANAGED).outcome is Outcome.REQUEUE
    assert not setup.runner.requests and not setup.server.patches


def test_no_run_begins_once_the_lease_was_lost_while_the_status_was_written(setup: Setup) -> None:
    setup.server.refusals.append(lambda: setattr(setup, "cancelled", True))
    assert setup.reconcile(MANAGED).outcome is Outcome.REQUEUE
    assert setup.server.patches and not setup.runner.requests


def test_a_success_that_comes_too_late_does_not_write_over_another_s_work(setup: Setup) -> None:
    """The lease was lost while the run lasted, and the new leader has begun with the resource."""

    def lose() -> None:
        setup.cancelled = True
        setup.server.touch()

    setup.runner.meanwhile = lose
    setup.reconcile(MANAGED)
    assert "Failure" not in setup.conditions() and setup.conditions()["Running"]["reason"] == "Running"


def test_gone_before_the_run(setup: Setup) -> None:
    seen = setup.server.seen()
    setup.server.disappear()
    for watch in (MANAGED, FINALIZED):
        following = setup.reconcile(watch, seen)
        assert following.outcome is Outcome.SUCCESS and following.retry is None
        assert following.delay, "looked at once more: an API server that starts may not know the kind yet"
    assert not setup.runner.requests


def test_gone_during_the_run(setup: Setup) -> None:
    setup.runner.meanwhile = setup.server.disappear
    assert setup.reconcile(MANAGED).retry is None


def test_a_success_that_cannot_be_written_is_run_again(setup: Setup) -> None:
    setup.runner.meanwhile = lambda: setup.server.refusals.extend([NO_ANSWER] * 1000)
    assert setup.reconcile(MANAGED) == Next(Outcome.ERROR, retry="its status was not written")


def test_finalizer_comes_before_the_first_run(setup: Setup) -> None:
    setup.server.touch(finalizers=["other/one"])
    setup.runner.meanwhile = lambda: setup.server.touch(was=setup.server.seen()["metadata"]["finalizers"])
    assert setup.reconcile(FINALIZED).cause is PERIOD
    assert setup.server.object["metadata"]["was"] == ["other/one", NAME]
    assert setup.runner.requests[0].command == Command("/main.yml")
    setup.reconcile(FINALIZED)
    assert len(setup.server.patches) == 1, "it is there already"


def test_finalizer_is_added_to_the_object_as_it_is(setup: Setup) -> None:
    setup.server.refusals = [lambda: setup.server.touch(finalizers=["other/one"])]
    setup.reconcile(FINALIZED)
    assert setup.server.object["metadata"]["finalizers"] == ["other/one", NAME]


def test_no_run_if_the_finalizer_cannot_be_added(setup: Setup) -> None:
    setup.server.refusals = [ApiException(status=403, reason="Forbidden")]
    watch = dataclasses.replace(FINALIZED, manage_status=True)
    assert setup.reconcile(watch) == Next(Outcome.ERROR, retry="failure")
    assert not setup.runner.requests
    message = setup.conditions()["Failure"]["message"]
    assert message == f"the finalizer {NAME} could not be added: HTTP 403: Forbidden"


def test_deleted_before_the_finalizer_could_be_added(setup: Setup) -> None:
    seen = setup.server.seen()
    setup.delete("other/one")
    assert setup.reconcile(FINALIZED, seen) == Next(Outcome.SUCCESS)
    assert not setup.runner.requests and setup.server.object["metadata"]["finalizers"] == ["other/one"]


@pytest.mark.parametrize("watch", [WATCH, FINALIZED, MANAGED])
def test_a_deletion_that_is_not_ours(setup: Setup, watch: Watch) -> None:
    setup.delete("other/one")
    assert setup.reconcile(watch) == Next(Outcome.SUCCESS)
    assert not setup.runner.requests and not setup.server.patches


@pytest.mark.parametrize(
    ("finalizer", "command"),
    [
        (Finalizer(NAME, Command("/end.yml"), {"from": "finalizer"}), Command("/end.yml")),
        (Finalizer(NAME, Command(role="/end"), {"from": "finalizer"}), Command(role="/end")),
        (Finalizer(NAME, None, {"from": "finalizer"}), Command("/main.yml")),
    ],
)
def test_finalizer_runs_and_goes(setup: Setup, finalizer: Finalizer, command: Command) -> None:
    setup.delete(NAME)
    watch = dataclasses.replace(MANAGED, finalizer=finalizer)
    assert setup.reconcile(watch) == Next(Outcome.SUCCESS)
    (request,) = setup.runner.requests
    assert request.command == command
    assert request.extra_vars["from"] == "finalizer" and request.extra_vars["own"] == 1
    assert setup.server.gone


def test_finalizer_runs_once_though_the_cache_is_old(setup: Setup) -> None:
    setup.delete(NAME)
    seen = setup.server.seen()
    setup.reconcile(FINALIZED, seen)
    assert setup.reconcile(FINALIZED, seen) == Next(Outcome.SUCCESS)
    assert len(setup.runner.requests) == 1
    setup.reconciler.clean_up(KEY)
    setup.server.gone = False
    setup.server.touch(uid="u2", finalizers=[NAME])
    setup.reconcile(FINALIZED)
    assert len(setup.runner.requests) == 2, "a new one of the same name"


def test_others_finalizers_stay(setup: Setup) -> None:
    setup.delete("other/one", NAME, "other/two")
    seen = setup.server.seen()
    setup.server.touch(finalizers=[NAME, "other/two"])
    watch = dataclasses.replace(FINALIZED, manage_status=True)
    assert setup.reconcile(watch, seen) == Next(Outcome.SUCCESS)
    assert setup.server.object["metadata"]["finalizers"] == ["other/two"]
    assert setup.conditions()["Successful"]["status"] == "True"


def test_a_finalizer_that_fails_stays(setup: Setup) -> None:
    setup.delete(NAME)
    setup.runner.outcomes = [BAD]
    watch = dataclasses.replace(FINALIZED, manage_status=True)
    assert setup.reconcile(watch) == Next(Outcome.ERROR, retry="failure")
    assert setup.server.object["metadata"]["finalizers"] == [NAME]
    assert setup.conditions()["Failure"]["message"] == "disk full\nno net"


def test_a_finalizer_that_cannot_be_removed_is_tried_again(setup: Setup) -> None:
    setup.delete(NAME)
    setup.server.refusals = [NO_ANSWER] * 1000
    assert setup.reconcile(FINALIZED) == Next(Outcome.ERROR, retry="its finalizer was not removed")
    setup.server.refusals.clear()
    assert setup.reconcile(FINALIZED) == Next(Outcome.SUCCESS)
    assert setup.server.gone


def keys(*names: str) -> list[ResourceKey]:
    return [ResourceKey(WIDGET, "ns", name) for name in names]


def works(*names: str, **metadata: Any) -> list[Work]:
    objects_ = [{"metadata": {"name": name, "namespace": "ns", "uid": name, **metadata}} for name in names]
    return [Work(key, obj, why(f"why {key.name}")) for key, obj in zip(keys(*names), objects_, strict=True)]


def test_batch(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    setup.runner.outcomes = [
        {
            **BAD,
            "requeue_after": 1.0,
            "resources": {
                ("ns", "a"): ResourceResult(False, "", 7.0),
                ("ns", "b"): ResourceResult(True, "no image", 3.0),
                ("ns", "elsewhere"): ResourceResult(True, "not ours", None),
            },
        }
    ]
    following = setup.reconciler.reconcile(BATCHED, works("a", "b", "c"))
    a, b, c = keys("a", "b", "c")
    assert following == {
        a: Next(Outcome.REQUEUE_AFTER, delay=7, cause=Cause.requeue_after(7)),
        b: Next(Outcome.ERROR, retry="failure"),
        c: Next(Outcome.ERROR, retry="failure"),
    }
    (request,) = setup.runner.requests
    batch = [{"name": name, "namespace": "ns"} for name in "abc"]
    assert request.extra_vars == {"ansible_operator_batch": batch, "from": "watch", "own": 1}
    assert request.directory.parent.name == "_batch"
    started = next(record for record in caplog.records if record.msg == "run started")
    assert started.resources[1] == {"resource": "Widget ns/b", "reason": "why b"}
    failed = [record for record in caplog.records if record.msg == "resource failed"]
    assert [(record.resource, record.error) for record in failed] == [("Widget ns/b", "no image")]
    served = setup.metrics.registry.get_sample_value(
        "taskflow_controller_run_resources_sum", {"controller": "widget-controller"}
    )
    assert served == 3


def test_what_is_left_out_of_a_batch_is_no_error(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    left_out = ResourceResult(True, "would hold up the others", None, alone=True)
    setup.runner.outcomes = [
        {**GOOD, "resources": {("ns", "a"): left_out, ("ns", "b"): ResourceResult(False, "", None)}}
    ]
    following = setup.reconciler.reconcile(BATCHED, works("a", "b"))
    # A try after a back-off is never part of a batch.
    assert following[keys("a")[0]] == Next(Outcome.REQUEUE, retry="it was left out of a batch")
    (told,) = [record for record in caplog.records if "of its own" in record.msg]
    assert (told.levelname, told.resource, told.reason) == ("INFO", "Widget ns/a", "would hold up the others")
    assert not [record for record in caplog.records if record.msg == "resource failed"]


def test_batch_of_one_is_a_batch(setup: Setup) -> None:
    setup.reconciler.reconcile(BATCHED, works("a"))
    (request,) = setup.runner.requests
    assert request.extra_vars["ansible_operator_batch"] == [{"name": "a", "namespace": "ns"}]
    assert request.directory.parent.name == "_batch"


def test_batch_with_status(setup: Setup) -> None:
    """Each resource has its own conditions; here there is only one to look at."""
    watch = dataclasses.replace(BATCHED, manage_status=True)
    setup.runner.outcomes = [{**BAD, "resources": {("ns", "w"): ResourceResult(True, "no image", None)}}]
    setup.reconcile(watch)
    assert setup.conditions()["Failure"]["message"] == "no image"


def test_requests_of_a_batch_do_not_wait_for_each_other(setup: Setup) -> None:
    together = threading.Barrier(2, timeout=20)  # breaks if only one request comes
    setup.server.refusals = [lambda: together.wait() and None] * 2
    watch = dataclasses.replace(BATCHED, manage_status=True)
    following = setup.reconciler.reconcile(watch, [Work(KEY, setup.server.seen(), why()), *works("gone")])
    assert following[KEY].cause is PERIOD and str(following[keys("gone")[0]].cause) == "it was not found"
    assert setup.conditions()["Successful"]["status"] == "True"


def test_finalizers_of_a_batch_run_one_by_one(setup: Setup) -> None:
    watch = dataclasses.replace(BATCHED, finalizer=Finalizer(NAME, None, {"from": "finalizer"}))
    due = [*works("a", finalizers=[NAME]), *works("b", "c", finalizers=[NAME], deletionTimestamp="now")]
    due += works("d", finalizers=[NAME])
    setup.reconciler.reconcile(watch, due)
    served = [
        [item["name"] for item in request.extra_vars["ansible_operator_batch"]] for request in setup.runner.requests
    ]
    assert served == [["b"], ["c"], ["a", "d"]]
    assert setup.runner.requests[0].extra_vars["from"] == "finalizer"
    assert setup.runner.requests[0].extra_vars["ansible_operator_meta"]["name"] == "b"


def test_batches_at_once_have_directories_of_their_own(setup: Setup) -> None:
    with setup.workspaces.batch(WIDGET) as one, setup.workspaces.batch(WIDGET) as two:
        assert one != two and (one / "inventory/hosts").exists()
    with setup.workspaces.batch(WIDGET) as again:
        assert again == one


def test_runs_without_end_are_told(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_history, "MANY_RUNS", 3)
    for _ in range(5):
        setup.reconcile(WATCH, cause="ConfigMap c changed")
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "ConfigMap c changed (3x)" in told.getMessage() and told.resource == "Widget ns/w"
