# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Durations and times, as they are written in a Task. Pure."""

from __future__ import annotations

import datetime
import re

from ._errors import InvalidSpec

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
# 30 years; what comes after the Task reads it as a number of 32 bits.
_LONGEST = 30 * 365 * 24 * 3600
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
# As the API server writes a time (RFC 3339, in UTC, to the second).
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def seconds_of(text: str, field: str) -> float:
    """Return a duration such as 90s or 1m30s in seconds.

    Raises:
        InvalidSpec: it names ``field`` when the text is no duration, or is zero.
    """
    if not _WHOLE.fullmatch(text):
        raise InvalidSpec(field, f"{text!r} is not a duration: write it as 90s, 1m30s or 2h")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST:
        raise InvalidSpec(field, f"{text!r} is more than 30 years: leave the field out for no limit")
    if seconds <= 0:
        raise InvalidSpec(field, f"{text!r} leaves no time at all: leave the field out for no limit")
    return seconds


def format_duration(start: datetime.datetime, end: datetime.datetime) -> str:
    """Return the time between two moments in whole seconds, as Go writes a duration: 31s, 1m20s, 1h0m3s."""
    seconds = max(0, int((end - start).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def parse_time(text: str) -> datetime.datetime:
    """Read a time as the API server writes it (RFC 3339)."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def later(time: str, seconds: float) -> datetime.datetime | None:
    """Return the moment so many seconds after a time (RFC 3339); None where that is after the last year there is."""
    try:
        return parse_time(time) + datetime.timedelta(seconds=seconds)
    except OverflowError:
        return None


def seconds_until(moment: datetime.datetime, now: str) -> float:
    """Return how many seconds after ``now`` (RFC 3339) a moment is; negative when it has passed."""
    return (moment - parse_time(now)).total_seconds()
