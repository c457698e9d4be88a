"""What a resource's conditions become when a run begins and ends."""

import datetime
from typing import Any

import pytest

from taskflow_controller.reconcile import conditions
from taskflow_controller.reconcile.conditions import MAX_MESSAGE, conditions_of, ended, started
from taskflow_controller.reconcile.verdicts import Verdict
from taskflow_controller.runs.run_events import RunCounts

THEN = datetime.datetime(2024, 1, 6, 22, 19, 24, 123456, tzinfo=datetime.UTC)
NOW = datetime.datetime(2024, 1, 6, 22, 20, 0, 5, tzinfo=datetime.UTC)
THEN_TEXT, NOW_TEXT = "2024-01-06T22:19:24Z", "2024-01-06T22:20:00Z"
GOOD = (Verdict(True, "", counts=RunCounts(ok=3, changed=1, failed=0, skipped=2)), THEN)
BAD = (Verdict(False, "disk full", counts=RunCounts(ok=1, failed=1)), THEN)
FOREIGN = [{"type": "Ready", "status": "Unknown", "own": {"field": 1}}, "not a condition", None]


def by_type(found: list[Any]) -> dict[str, dict[str, Any]]:
    return {condition["type"]: condition for condition in found}


def condition(kind: str, status: str, reason: str, message: str, moment: str = THEN_TEXT) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": moment}


def test_first_start() -> None:
    assert started([], THEN) == [condition("Running", "True", "Running", "Running reconciliation")]


def test_success() -> None:
    result = {"ok": 3, "changed": 1, "skipped": 2, "failures": 0, "completion": "2024-01-06T22:19:24.123456"}
    running = condition("Running", "True", "Successful", "Awaiting next reconciliation")
    assert ended(started([], THEN), *GOOD) == [
        {**running, "ansibleResult": result},
        condition("Successful", "True", "Successful", "Last reconciliation succeeded"),
        condition("Failure", "False", "", ""),
    ]


def test_failure() -> None:
    result = {"ok": 1, "changed": 0, "skipped": 0, "failures": 1, "completion": "2024-01-06T22:19:24.123456"}
    assert ended(started([], THEN), *BAD) == [
        condition("Running", "False", "Running", "Running reconciliation"),
        {**condition("Failure", "True", "Failed", "disk full"), "ansibleResult": result},
        condition("Successful", "False", "", ""),
    ]


def test_start_after_success_and_after_failure() -> None:
    after_success = by_type(started(ended([], *GOOD), NOW))
    assert after_success["Successful"] == condition("Successful", "False", "", "", NOW_TEXT)
    assert after_success["Running"] == condition("Running", "True", "Running", "Running reconciliation")
    assert after_success["Failure"]["status"] == "False"
    after_failure = by_type(started(ended([], *BAD), NOW))
    assert after_failure["Failure"]["status"] == "True", "the last failure is told until a run succeeds"
    assert after_failure["Running"]["lastTransitionTime"] == NOW_TEXT


def test_transition_time_is_kept_while_the_status_is() -> None:
    again = by_type(ended(ended([], *GOOD), Verdict(True, "", counts=RunCounts(ok=9)), NOW))
    assert {entry["lastTransitionTime"] for entry in again.values()} == {THEN_TEXT}
    assert again["Running"]["ansibleResult"]["ok"] == 9
    failed = by_type(ended(ended([], *GOOD), Verdict(False, "x", counts=RunCounts()), NOW))
    assert {entry["lastTransitionTime"] for entry in failed.values()} == {NOW_TEXT}


def test_a_condition_without_a_time_gets_one() -> None:
    assert started([{"type": "Running", "status": "True"}], NOW)[0]["lastTransitionTime"] == NOW_TEXT


def test_starting_twice_changes_nothing() -> None:
    once = started(ended([], *GOOD), NOW)
    assert started(once, NOW + datetime.timedelta(hours=1)) == once


@pytest.mark.parametrize("ending", [GOOD, BAD])
def test_what_is_not_ours_stays_where_it_is(ending: tuple[Verdict, datetime.datetime]) -> None:
    known = [*FOREIGN, condition("Running", "False", "x", "y"), {"type": "Last"}]
    result = ended(started(known, NOW), *ending)
    assert result[:3] == FOREIGN and result[3]["type"] == "Running" and result[4] == {"type": "Last"}


def test_a_long_message_is_cut() -> None:
    failure = by_type(ended([], Verdict(False, "x" * 99999, counts=RunCounts()), NOW))["Failure"]
    assert len(failure["message"]) == MAX_MESSAGE and failure["message"].endswith("x [cut]")


@pytest.mark.parametrize(
    "obj", [{}, {"status": None}, {"status": "odd"}, {"status": {"conditions": "odd"}}, {"status": {"x": 1}}]
)
def test_no_conditions(obj: dict[str, Any]) -> None:
    assert conditions_of(obj) == []


def test_types() -> None:
    assert {entry["type"] for entry in ended([], *GOOD)} == conditions.OWN_TYPES
