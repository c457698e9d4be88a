"""What a run of several resources says of each."""

from typing import Any

from taskflow_controller.runs.resource_results import ResourceResult
from taskflow_controller.runs.run_events import EventCollector


def named(name: str, failed: bool = False, **fields: Any) -> dict[str, Any]:
    return {"name": name, "namespace": "ns", "failed": failed, **fields}


class Run:
    """A run's events, and what they come to."""

    def __init__(self) -> None:
        self.collector = EventCollector()

    def ok(self, *resources: Any, **result: Any) -> "Run":
        return self._event("runner_on_ok", {"resources": list(resources), **result})

    def failed(self, *resources: Any, ignored: bool = False) -> "Run":
        return self._event("runner_on_failed", {"resources": list(resources)}, ignore_errors=ignored)

    def unreachable(self) -> "Run":
        return self._event("runner_on_unreachable", {})

    def broke_off(self) -> dict[str, ResourceResult]:
        return {name: verdict for (namespace, name), verdict in self.collector.resources().items() if namespace == "ns"}

    def ended(self) -> dict[str, ResourceResult]:
        self._event("playbook_on_stats", {})
        return self.broke_off()

    def _event(self, kind: str, result: dict[str, Any], **data: Any) -> "Run":
        self.collector.handle({"event": kind, "event_data": {"host": "localhost", "res": result, **data}})
        return self


GOOD = ResourceResult(failed=False, message="", requeue_after=None)


def test_the_last_result_counts() -> None:
    verdicts = Run().ok(named("a", True, msg="bad"), named("b")).ok(named("a"), named("b", True)).ended()
    assert verdicts == {"a": GOOD, "b": ResourceResult(True, "no message", None)}


def test_one_that_needs_a_run_of_its_own() -> None:
    run = Run().ok(named("a", True, alone=True, msg="slow"), named("b", True, alone="yes"), named("c", alone=True))
    assert run.ended() == {
        "a": ResourceResult(True, "slow", None, alone=True),
        "b": ResourceResult(True, "no message", None),
        "c": GOOD,
    }


def test_the_shortest_wait_counts() -> None:
    verdicts = Run().ok(named("a", requeue_after=9)).ok(named("a", requeue_after="2s")).ok(named("a")).ended()
    assert verdicts["a"].requeue_after == 2


def test_a_failed_task_unsays_the_success_that_it_does_not_confirm() -> None:
    run = Run().ok(named("a"), named("b"), named("c", True, msg="bad")).failed(named("b"), named("d", True, msg="d"))
    assert run.ended() == {
        "b": GOOD,
        "c": ResourceResult(True, "bad", None),
        "d": ResourceResult(True, "d", None),
    }


def test_a_host_that_is_unreachable_is_a_failed_task() -> None:
    assert Run().ok(named("a"), named("b", True)).unreachable().ended().keys() == {"b"}


def test_an_ignored_failure_is_a_result_as_any() -> None:
    assert Run().ok(named("a")).failed(named("b", True), ignored=True).ended().keys() == {"a", "b"}


def test_a_run_that_broke_off_has_failures_only() -> None:
    assert Run().ok(named("a"), named("b", True)).broke_off().keys() == {"b"}


def test_items_of_a_loop() -> None:
    items = [{"resources": [named("a")]}, {"resources": [named("b", True)]}, "odd"]
    assert Run().ok(results=items).ended().keys() == {"a", "b"}


def test_what_is_none_of_ours_is_left_alone() -> None:
    config_map = {"apiVersion": "v1", "metadata": {"name": "a"}}
    odd = [config_map, "a", None, {"name": 1, "failed": True}, {"name": "a", "failed": "yes"}, {"name": "a"}]
    run = Run().ok(*odd).ok(resources={"name": "a", "failed": True}, results="odd")
    assert run.ended() == {}


def test_without_a_namespace() -> None:
    run = Run().ok({"name": "a", "failed": False})
    run.ended()
    assert run.collector.resources() == {("", "a"): GOOD}


def test_a_long_message_is_cut() -> None:
    assert len(Run().ok(named("a", True, msg="x" * 9999)).ended()["a"].message) == 2000
