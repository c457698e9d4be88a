# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""A verdict: the state in one word, and why; and the condition that tells it. Pure."""

from __future__ import annotations

import typing as t

from .._contract import CANCELLED, FAILURE, SUCCESSFUL
from .._kube.shapes import Condition

# The condition that every Task and every Build has.
CONDITION = "Succeeded"
# Reasons that more than one place knows.
SUSPENDED, HELD, WAITING_FOR_POD = "Suspended", "Held", "WaitingForPod"
_TRUTH = {SUCCESSFUL: "True", FAILURE: "False", CANCELLED: "False"}


class Verdict(t.NamedTuple):
    """The state of a Task or a Build in one word, and why."""

    status: str
    reason: str
    message: str


def condition_of(status: t.Mapping[str, t.Any], kind: str = CONDITION) -> Condition:
    """Return the condition of this type of a status; an empty one if there is none."""
    conditions: list[Condition] = status.get("conditions") or []
    return next((x for x in conditions if x["type"] == kind), t.cast(Condition, {}))


def verdict_condition(before: t.Mapping[str, t.Any], verdict: Verdict, generation: int, now: str) -> Condition:
    """Return the condition Succeeded; the time of its last transition stays while its status does.

    Args:
        before: the status until now.
        verdict: what it tells.
        generation: of which spec that is said.
        now: the time, as RFC 3339 in UTC.
    """
    truth, was = _TRUTH.get(verdict.status, "Unknown"), condition_of(before)
    since = was.get("lastTransitionTime") if was.get("status") == truth else None
    return {
        "type": CONDITION,
        "status": truth,
        "reason": verdict.reason,
        "message": verdict.message,
        "lastTransitionTime": since or now,
        "observedGeneration": generation,
    }
