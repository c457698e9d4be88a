"""The conditions of a resource whose status is managed, like the Operator SDK's. Pure functions.

| a run       | Running                 | Successful       | Failure      |
|-------------|-------------------------|------------------|--------------|
| begins      | True, reason Running    | False, if present | as it was |
| succeeded   | True, reason Successful | True, Successful | False        |
| failed      | False                   | False            | True, Failed |

Conditions of other types, and entries that are not conditions, stay as they are and where they are.
"""

import datetime
from typing import Any

from taskflow_controller.kube.kinds import Object
from taskflow_controller.reconcile.verdicts import Verdict

RUNNING, SUCCESSFUL, FAILURE = "Running", "Successful", "Failure"
OWN_TYPES = frozenset({RUNNING, SUCCESSFUL, FAILURE})
MAX_MESSAGE = 4000
_CUT = " [cut]"


def conditions_of(obj: Object) -> list[Any]:
    """Return the conditions of an object. Anything that is not a list counts as no conditions."""
    status = obj.get("status")
    conditions = status.get("conditions") if isinstance(status, dict) else None
    return conditions if isinstance(conditions, list) else []


def started(conditions: list[Any], now: datetime.datetime) -> list[Any]:
    """Return the conditions of a resource whose run begins.

    Args:
        conditions: those that it has.
        now: the time, in UTC.
    """
    wanted = [_condition(RUNNING, True, "Running", "Running reconciliation")]
    if _find(conditions, SUCCESSFUL) is not None:
        wanted.append(_condition(SUCCESSFUL, False))
    return _merge(conditions, wanted, now)


def ended(conditions: list[Any], verdict: Verdict, completed: datetime.datetime) -> list[Any]:
    """Return the conditions of a resource whose run has ended.

    Args:
        conditions: those that it has.
        verdict: how the run ended for it.
        completed: when, in UTC.
    """
    result = _ansible_result(verdict, completed)
    if verdict.successful:
        wanted = [
            {**_condition(RUNNING, True, "Successful", "Awaiting next reconciliation"), "ansibleResult": result},
            _condition(SUCCESSFUL, True, "Successful", "Last reconciliation succeeded"),
            _condition(FAILURE, False),
        ]
    else:
        wanted = [
            _condition(RUNNING, False, "Running", "Running reconciliation"),
            {**_condition(FAILURE, True, "Failed", cut(verdict.message)), "ansibleResult": result},
            _condition(SUCCESSFUL, False),
        ]
    return _merge(conditions, wanted, completed)


def cut(message: str) -> str:
    """Return a message, cut to ``MAX_MESSAGE`` characters."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - len(_CUT)] + _CUT


def _condition(kind: str, status: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": str(status), "reason": reason, "message": message}


def _ansible_result(verdict: Verdict, completed: datetime.datetime) -> dict[str, Any]:
    counts = verdict.counts
    return {
        "ok": counts.ok,
        "changed": counts.changed,
        "skipped": counts.skipped,
        "failures": counts.failed,
        "completion": completed.strftime("%Y-%m-%dT%H:%M:%S.%f"),
    }


def _merge(conditions: list[Any], wanted: list[dict[str, Any]], now: datetime.datetime) -> list[Any]:
    """Return the conditions with the wanted ones in place of those of the same type, or at the end."""
    merged = list(conditions)
    for condition in wanted:
        place = _find(conditions, condition["type"])
        if place is None:
            merged.append({**condition, "lastTransitionTime": _time(now)})
        else:
            merged[place] = {**condition, "lastTransitionTime": _transition(conditions[place], condition, now)}
    return merged


def _find(conditions: list[Any], kind: str) -> int | None:
    kinds = (condition.get("type") if isinstance(condition, dict) else None for condition in conditions)
    return next((place for place, found in enumerate(kinds) if found == kind), None)


def _transition(old: dict[str, Any], new: dict[str, Any], now: datetime.datetime) -> Any:
    known = old.get("lastTransitionTime")
    return known if known and old.get("status") == new["status"] else _time(now)


def _time(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
