"""Durations and times, as they are written in a Task."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _durations
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from hypothesis import given
from hypothesis import strategies as st

START = datetime.datetime(2024, 1, 6, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1m30s", 90), ("2h", 7200), ("1.5h", 5400), ("250ms", 0.25), ("1h0m3s", 3603), ("1s1s", 2)],
)
def test_a_duration_is_read(text, seconds):
    assert _durations.seconds_of(text, "spec.timeout") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "90", "s", "1d", "-1s", "1 s", "1s ", "1m 30s", "1.s", ".5s", "1s\n"])
def test_what_is_no_duration_is_refused_with_its_field(text):
    with pytest.raises(InvalidSpec, match="is not a duration") as caught:
        _durations.seconds_of(text, "spec.steps[3].timeout")
    assert caught.value.field == "spec.steps[3].timeout"


@pytest.mark.parametrize("text", ["0s", "0h0m", "0.0ms"])
def test_no_time_at_all_is_refused(text):
    with pytest.raises(InvalidSpec, match="leave the field out"):
        _durations.seconds_of(text, "spec.timeout")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (31.9, "31s"), (60, "1m0s"), (80, "1m20s"), (3600, "1h0m0s"), (3603, "1h0m3s"), (90061, "25h1m1s")],
)
def test_durations_are_written_as_go_does(seconds, text):
    assert _durations.format_duration(START, START + datetime.timedelta(seconds=seconds)) == text


def test_an_end_before_the_start_takes_no_time():
    assert _durations.format_duration(START, START - datetime.timedelta(seconds=5)) == "0s"


@given(st.integers(min_value=1, max_value=10**7))
def test_what_is_written_can_be_read(seconds):
    text = _durations.format_duration(START, START + datetime.timedelta(seconds=seconds))
    assert _durations.seconds_of(text, "x") == seconds


@pytest.mark.parametrize(
    ("now", "seconds"),
    [("2024-01-06T00:00:00Z", 0), ("2024-01-05T23:59:30Z", 30), ("2024-01-06T01:00:00+00:00", -3600)],
)
def test_how_far_a_moment_is(now, seconds):
    assert _durations.seconds_until(START, now) == seconds


def test_what_is_after_the_last_year_has_no_moment():
    assert _durations.later("2024-01-06T00:00:00Z", 90) == START + datetime.timedelta(seconds=90)
    assert _durations.later("9999-12-31T23:59:59Z", 1) is None
    assert _durations.later("2024-01-06T00:00:00Z", 1e15) is None
