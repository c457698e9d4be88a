# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Write a Task's status, cut as far as the API server asks for."""

from __future__ import annotations

from .._errors import REFUSED, TOO_LARGE, TaskError
from .._kube import event
from .._kube.event import Event
from .._kube.shapes import Task, TaskStatus
from .._kube.size import ADVICE, ETCD_BYTES, size_of
from .api import TaskApi
from .conditions import condition_of
from .fit import fitting

# From how many bytes on a Task may have no room for its status.
LARGE = ETCD_BYTES * 2 // 3


def write_status(api: TaskApi, task: Task, before: TaskStatus, after: TaskStatus) -> TaskStatus | None:
    """Write the status, and return what is recorded then: it may have been cut.

    Return None where there is no room for any: an Event alone tells of it, and no later try would be of use.
    """
    refusal: TaskError | None = None
    for status in fitting(before, after):
        if status == before:
            return before
        try:
            api.set_status(task, status)
        except TaskError as error:
            if error.reason not in (TOO_LARGE, REFUSED):
                raise
            refusal = refusal or error
        else:
            return status
    if refusal and refusal.reason == REFUSED:
        raise refusal
    words = f"{condition_of(after).get('message', '')} (this is in no status, for there is no room for one)"
    api.emit(task, Event(event.WARNING, TOO_LARGE, words))
    return None


def claim_room(api: TaskApi, task: Task, status: TaskStatus) -> Task:
    """Write the first status of a large Task before it gets a Pod, and return the Task.

    Without a status nobody would know later how often it has run.

    Raises:
        TaskError: TooLarge, permanent: there is no room for one.
    """
    size = size_of(task)
    if size < LARGE:
        return task
    for smaller in fitting({}, status):
        try:
            return api.set_status(task, smaller)
        except TaskError as error:
            if error.reason != TOO_LARGE:
                raise
    raise TaskError(
        TOO_LARGE,
        f"the Task has {size} bytes, which leaves no room for its status: etcd takes {ETCD_BYTES} bytes for both, "
        f"unless it is told otherwise{ADVICE}",
        permanent=True,
    )
