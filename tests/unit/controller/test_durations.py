"""Go's durations."""

import pytest

from taskflow_controller.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10h", 36000),
        ("1m30s", 90),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("500ms", 0.5),
        ("0", 0),
        ("0s", 0),
        ("2h0m1s", 7201),
        ("+1s", 1),
        ("-0s", 0),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("3ns", 3e-9),
        ("2562047h", 2562047 * 3600),
    ],
)
def test_parsed(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "h", "-", "+", "--1s", "1 s", "1d", "1s2", "s1", "1..s", "1e3s", "٣s"])
def test_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-1s", "'-1s' is negative; a duration must be 0 or more"),
        ("2562048h", "is too long"),
        ("9" * 400 + "h", "is too"),
    ],
)
def test_refused_with_the_reason(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_duration(text)
