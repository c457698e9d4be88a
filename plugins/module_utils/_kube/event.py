# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Events: what ``kubectl describe`` tells of a Task or a Build. Pure."""

from __future__ import annotations

import typing as t

NORMAL, WARNING = "Normal", "Warning"


class Event(t.NamedTuple):
    """One line of ``kubectl describe``. ``type`` is Normal or Warning."""

    type: str
    reason: str
    message: str


def created(what: str) -> Event:
    """Return the Event of an object that was made for a Task or a Build."""
    return Event(NORMAL, "Created", f"created {what}")


def deleted(what: str) -> Event:
    """Return the Event of one that was deleted."""
    return Event(NORMAL, "Deleted", f"deleted {what}")


def started(where: str) -> Event:
    """Return the Event of steps that have begun."""
    return Event(NORMAL, "Started", f"the steps run in {where}")


def completed(message: str, duration: str) -> Event:
    """Return the Event of a good end."""
    return Event(NORMAL, "Completed", f"{message} in {duration}")


def failed(message: str) -> Event:
    """Return the Event of a failure."""
    return Event(WARNING, "Failed", message)
