"""Durations as Go writes them: ``10h``, ``1m30s``, ``1.5s``, ``500ms``, ``0``."""

import re
from typing import Any

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_LONGEST_HOURS = 2_562_047  # the most that Go's 64 bits of nanoseconds hold


def parse_duration(text: str) -> float:
    """Return a Go duration string in seconds.

    Args:
        text: a duration as Go's ``time.ParseDuration`` accepts it.

    Raises:
        ValueError: the text is not a duration, or is negative or too long. The message is fit for users.
    """
    unsigned = text[1:] if text.startswith(("+", "-")) else text
    seconds = _seconds(unsigned)
    if seconds is None:
        raise ValueError(f"{text!r} is not a duration such as 10h, 1m30s, 500ms or 0")
    if text.startswith("-") and seconds:
        raise ValueError(f"{text!r} is negative; a duration must be 0 or more")
    if seconds > _LONGEST_HOURS * 3600:
        raise ValueError(f"{text!r} is too long; a duration must be at most {_LONGEST_HOURS}h")
    return seconds


def _seconds(text: str) -> float | None:
    if text == "0":
        return 0.0
    seconds, position = 0.0, 0
    for part in _PART.finditer(text):
        if part.start() != position:
            break
        seconds += float(part[1]) * _SECONDS[part[2]]
        position = part.end()
    return seconds if text and position == len(text) else None


def seconds_or_none(wanted: Any) -> float | None:
    """Return a number of seconds, or a Go duration string, in seconds; None if it is neither, negative or too long."""
    if isinstance(wanted, bool) or wanted is None:
        return None
    if isinstance(wanted, int | float):
        return float(wanted) if 0 <= wanted <= _LONGEST_HOURS * 3600 else None
    try:
        return parse_duration(str(wanted))
    except ValueError:
        return None
