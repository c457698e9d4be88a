"""A run's result from its events."""

from typing import Any

import pytest

from taskflow_controller.runs.run_events import EventCollector


def event(kind: str, **data: Any) -> dict[str, Any]:
    return {"event": kind, "event_data": data}


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([{}], None),
        ([{"requeue_after": 5}], 5.0),
        ([{"requeue_after": "1m"}, {"requeue_after": 2.5}, {"requeue_after": 30}], 2.5),
        ([{"requeue_after": True}, {"requeue_after": -1}, {"requeue_after": "later"}], None),
    ],
)
def test_requeue_after(results: list[dict[str, Any]], expected: float | None) -> None:
    collector = EventCollector()
    for result in results:
        collector.handle(event("runner_on_ok", res=result))
    assert collector.requeue_after == expected


def test_requeue_after_as_the_operator_sdk_does() -> None:
    collector = EventCollector()
    collector.handle(event("runner_on_ok", task_action="operator_sdk.util.requeue_after", res={"period": "90s"}))
    assert collector.requeue_after == 90


def test_unreachable_unless_ignored() -> None:
    collector = EventCollector()
    collector.handle(event("runner_on_unreachable", host="a", task="T", res={"msg": "gone"}))
    collector.handle(event("runner_on_unreachable", host="b", task="T", res={"msg": "gone"}))
    collector.handle(event("playbook_on_stats", dark={"a": 1}, ok={"a": 2, "b": 1}))
    assert [(failure.host, failure.message) for failure in collector.failures()] == [("a", "gone")]
    assert collector.counts.failed == 1 and collector.counts.ok == 3


def test_message_falls_back_and_is_bounded() -> None:
    collector = EventCollector()
    for result in ({"stderr": "bad"}, {}, {"msg": "x" * 9999}):
        collector.handle(event("runner_on_failed", host="a", res=result))
    messages = [failure.message for failure in collector.failures()]
    assert messages[:2] == ["bad", "no message"] and len(messages[2]) == 2000


def test_error_text_begins_with_the_error_and_has_no_colours() -> None:
    collector = EventCollector()
    for line in ("some warning", "\x1b[0;31mERROR! boom\x1b[0m", "more"):
        collector.handle({"event": "verbose", "stdout": line})
    assert collector.error_text() == "ERROR! boom\nmore"
    collector.handle(event("playbook_on_stats"))
    assert collector.error_text() == ""
