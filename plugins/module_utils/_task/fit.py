# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Cut the status of a Task or a Build until the API server takes it, and say so in its condition. Pure."""

from __future__ import annotations

import typing as t

from .._contract import Object
from .._kube.shapes import BuildStatus, Condition, StepStatus, TaskStatus
from .conditions import CONDITION, condition_of

S = t.TypeVar("S", TaskStatus, BuildStatus)

NOTE = "; the API server did not take the whole status: "
# What each level of cutting leaves out; each leaves out what those before it do.
LEVELS = (
    "",
    "messages are cut",
    "messages are cut, and results left out",
    "messages are cut, and results and the steps' details left out",
    "messages are cut, and results and the steps left out",
)
MESSAGES, RESULTS, DETAILS, STEPS = 1, 2, 3, 4
LEFT_OUT = {RESULTS: ("results",), DETAILS: ("history",), STEPS: ("steps", "progress", "startAt")}
# The fields that identify the spec which a status belongs to: a Task's, and a Build's.
SPEC_HASHES = ("specHash", "buildHash")
# How many characters are left of the message of a step, and of a condition.
STEP_MESSAGE, CONDITION_MESSAGE = 100, 500
# What is needed of a step that has ended, so that it stays so, and counts as it did: whether it had its turn.
NEEDED = ("name", "state", "exitCode", "continued", "restarts", "reason", "startedAt")


def fitting(before: S, after: S) -> list[S]:
    """Return a status, and then what is left of it when it is cut more and more.

    Where the status before it was cut, it is cut in the same way from the start: the object has not become smaller.

    Args:
        before: the status as it is recorded.
        after: the new one.
    """
    same = all(before.get(key) == after.get(key) for key in SPEC_HASHES)
    return [cut(after, level) for level in range(level_of(before) if same else 0, len(LEVELS))]


def level_of(status: TaskStatus | BuildStatus) -> int:
    """Return how much a status was cut."""
    what = condition_of(status).get("message", "").partition(NOTE)[2]
    return LEVELS.index(what) if what in LEVELS else 0


def message_of(status: TaskStatus | BuildStatus) -> str:
    """Return the words of the condition Succeeded, without those that tell that the status was cut."""
    return condition_of(status).get("message", "").partition(NOTE)[0]


def cut(status: S, level: int) -> S:
    """Return what is left of a status at one of the levels; of one that was cut at this level, the same."""
    if not level:
        return status
    gone = {key for since, keys in LEFT_OUT.items() if level >= since for key in keys}
    small: Object = {key: value for key, value in status.items() if key not in gone}
    small["conditions"] = [_condition(condition, level) for condition in status.get("conditions") or []]
    if "steps" in small:
        small["steps"] = [_step(step, level) for step in status.get("steps") or []]
    return t.cast(S, small)


def _step(step: StepStatus, level: int) -> StepStatus:
    if level >= DETAILS:
        return t.cast(StepStatus, {key: value for key, value in step.items() if key in NEEDED})
    small: StepStatus = {**step}
    if "message" in small:
        small["message"] = _shortened(small["message"], STEP_MESSAGE)
    if level >= RESULTS:
        small.pop("results", None)
    return small


def _condition(condition: Condition, level: int) -> Condition:
    message = _shortened(condition.get("message", "").partition(NOTE)[0], CONDITION_MESSAGE)
    note = NOTE + LEVELS[level] if condition["type"] == CONDITION else ""
    return {**condition, "message": message + note}


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
