# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Cut a Task's status until the API server takes it, and say so in its condition. Pure."""

from __future__ import annotations

import typing as t

from .._kube.shapes import Condition, StepStatus, TaskStatus
from .conditions import CONDITION, condition_of

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
# How many characters are left of the message of a step, and of a condition.
STEP_MESSAGE, CONDITION_MESSAGE = 100, 500
# What is needed of a step that has ended, so that it stays so, and counts as it did: whether it had its turn.
NEEDED = ("name", "state", "exitCode", "continued", "restarts", "reason", "startedAt")


def fitting(before: TaskStatus, after: TaskStatus) -> list[TaskStatus]:
    """Return a status, and then what is left of it when it is cut more and more.

    Where the status before it was cut, it is cut in the same way from the start: the Task has not become smaller.

    Args:
        before: the status as it is recorded.
        after: the new one.
    """
    same = before.get("specHash") == after.get("specHash")
    return [cut(after, level) for level in range(level_of(before) if same else 0, len(LEVELS))]


def level_of(status: TaskStatus) -> int:
    """Return how much a status was cut."""
    what = condition_of(status).get("message", "").partition(NOTE)[2]
    return LEVELS.index(what) if what in LEVELS else 0


def cut(status: TaskStatus, level: int) -> TaskStatus:
    """Return what is left of a status at one of the levels; of one that was cut at this level, the same."""
    if not level:
        return status
    small: TaskStatus = {**status}
    steps = [_step(step, level) for step in status.get("steps") or []]
    small["conditions"] = [_condition(condition, level) for condition in status.get("conditions") or []]
    if level >= RESULTS:
        small.pop("results", None)
    if level < STEPS:
        return {**small, "steps": steps} if "steps" in status else small
    small.pop("steps", None)
    small.pop("progress", None)
    small.pop("startAt", None)
    return small


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
