# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Write the status of a Task or a Build, cut as far as the API server asks for."""

from __future__ import annotations

import typing as t

from .._errors import REFUSED, TOO_LARGE, TaskError
from .._kube import event
from .._kube.event import Event
from .._kube.shapes import Build, Task
from .._kube.size import ADVICE, ETCD_BYTES, size_of
from .conditions import condition_of
from .fit import S, fitting

R = t.TypeVar("R", Task, Build)

# From how many bytes on a Task or a Build may have no room for its status.
LARGE = ETCD_BYTES * 2 // 3


class Recorder(t.Protocol):
    """Writes the statuses of a kind, and its Events."""

    def set_status(self, _thing: t.Any, _status: t.Any, /) -> t.Any:
        """Replace the status, provided that nobody has changed the object since it was read; return the object."""

    def emit(self, _thing: t.Any, _event: Event, /) -> None:
        """Record an Event on the object."""


def write_status(api: Recorder, thing: R, before: S, after: S) -> S | None:
    """Write the status, and return what is recorded then: it may have been cut.

    Return None where there is no room for any: an Event alone tells of it, and no later try would be of use.
    """
    refusal: TaskError | None = None
    for status in fitting(before, after):
        if status == before:
            return before
        try:
            api.set_status(thing, status)
        except TaskError as error:
            if error.reason not in (TOO_LARGE, REFUSED):
                raise
            refusal = refusal or error
        else:
            return status
    if refusal and refusal.reason == REFUSED:
        raise refusal
    words = f"{condition_of(after).get('message', '')} (this is in no status, for there is no room for one)"
    api.emit(thing, Event(event.WARNING, TOO_LARGE, words))
    return None


def claim_room(api: Recorder, kind: str, thing: R, status: S) -> R:
    """Write the first status of a large object before it gets a Pod or a Job, and return the object.

    Without a status nobody would know later how often it has run.

    Args:
        api: writes it.
        kind: of the object, for a person.
        thing: the object.
        status: its first status.

    Raises:
        TaskError: TooLarge, permanent: there is no room for one.
    """
    size = size_of(thing)
    if size < LARGE:
        return thing
    for smaller in fitting(t.cast(S, {}), status):
        try:
            return t.cast(R, api.set_status(thing, smaller))
        except TaskError as error:
            if error.reason != TOO_LARGE:
                raise
    raise TaskError(
        TOO_LARGE,
        f"the {kind} has {size} bytes, which leaves no room for its status: etcd takes {ETCD_BYTES} bytes for both, "
        f"unless it is told otherwise{ADVICE}",
        permanent=True,
    )
