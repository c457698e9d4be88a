# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What can go wrong with a Task, as a reason for machines and a message for people."""

from __future__ import annotations

# Reasons that more than one place knows: an API server's refusals, and its silence.
ALREADY_EXISTS, CONFLICT, FORBIDDEN, NOT_FOUND, REFUSED = (
    "AlreadyExists",
    "Conflict",
    "Forbidden",
    "NotFound",
    "Refused",
)
UNREACHABLE = "APIUnreachable"
# Nothing new can be made in a namespace that is being deleted.
NAMESPACE_ENDS = "NamespaceTerminating"
# An object, or a request, is larger than the API server or its etcd takes.
TOO_LARGE = "TooLarge"
# Somebody else has changed a Pod's order, or the Pod, since it was read.
ORDER_CONFLICT = "OrderConflict"
# Somebody else was faster: it is looked at once more, read again.
CONFLICTS = (CONFLICT, ORDER_CONFLICT)


class TaskError(Exception):
    """A Task can't go on.

    Args:
        reason: one CamelCase word, fit for a condition.
        message: what is wrong, where, and what to do.
        permanent: True when only a changed spec can help; False when a later try may succeed.
        retry_after: after how many seconds that try makes sense, where that is known.
    """

    def __init__(self, reason: str, message: str, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.permanent = permanent
        self.retry_after = retry_after


class InvalidSpec(TaskError):
    """A field of the Task has a value that can't work. ``field`` is its path, such as spec.steps[0].image."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__("InvalidSpec", f"{field}: {problem}", permanent=True)
        self.field = field


class Postponed(TaskError):
    """Nothing is wrong; what is due for a Task has its time after the other Tasks, or ``alone``, without them."""

    def __init__(self, reason: str, message: str, alone: bool = False) -> None:
        super().__init__(reason, message)
        self.alone = alone


def reason_of(refusal: str, otherwise: str) -> str:
    """Return the reason of an API server's refusal: some can be told by their words alone."""
    if "because it is being terminated" in refusal:
        return NAMESPACE_ENDS
    return "QuotaExceeded" if "exceeded quota" in refusal else otherwise


def describe(error: Exception) -> str:
    """Return an error in words; one that nobody has foreseen is a fault of ours, and named as such."""
    if isinstance(error, TaskError):
        return error.message
    return f"this is a fault in the operator, please report it: {type(error).__name__}: {error}"
