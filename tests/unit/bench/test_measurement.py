"""A value against its target, what is kept of it, and that one failure hides nothing else."""

from __future__ import annotations

import json

import pytest
from measurement import Figure, Measurement, NotMeasuredError, Part, Target, in_turn, percentile, run_part
from report import line, lines, margin, plot, save

FAST = Figure("speed", "x", Target(10, at_least=True))
SMALL = Figure("size", "MB", Target(8))
PLAIN = Figure("seconds", "s")
PART = "make bench ONLY=some"


def some(measure):
    return Part("some", (FAST, SMALL, PLAIN), measure)


@pytest.mark.parametrize(
    ("figure", "value", "ok"),
    [(FAST, 10, True), (FAST, 9.9, False), (SMALL, 8, True), (SMALL, 8.1, False), (PLAIN, 3, None), (FAST, None, None)],
)
def test_a_value_stands_against_its_target(figure, value, ok):
    assert Measurement(figure, value, PART).ok is ok


def test_what_was_measured_before_a_failure_counts():
    def measure(_context):
        yield "speed", 12
        raise ValueError("no cluster")

    speed, size, seconds = run_part(some(measure), None)
    assert (speed.value, speed.ok, speed.reason) == (12, True, "")
    assert (size.value, size.ok, size.reason) == (None, None, "ValueError: no cluster")
    assert seconds.reason == "ValueError: no cluster"


def test_a_reason_that_is_known_is_told_as_it_is():
    def measure(context):
        raise NotMeasuredError(f"run make {context}")
        yield

    assert {m.reason for m in run_part(some(measure), "up")} == {"run make up"}


def test_a_figure_that_is_left_out_is_told_of():
    measured = list(run_part(some(lambda _: [("speed", 1)]), None))
    assert [bool(m.reason) for m in measured] == [False, True, True]


def test_a_value_without_a_figure_is_a_mistake():
    with pytest.raises(AssertionError, match="length"):
        list(run_part(some(lambda _: [("length", 1)]), None))


def test_the_file_has_an_entry_for_each_figure(tmp_path):
    measured = run_part(some(lambda _: [("speed", 12.34567), ("size", 9.0)]), None)
    save(list(measured), tmp_path / "build" / "bench.json")
    assert json.loads((tmp_path / "build" / "bench.json").read_text()) == [
        {"name": "speed", "value": 12.346, "unit": "x", "target": "at least 10", "ok": True, "command": PART},
        {"name": "size", "value": 9.0, "unit": "MB", "target": "at most 8", "ok": False, "command": PART},
        {
            "name": "seconds",
            "value": None,
            "unit": "s",
            "target": None,
            "ok": None,
            "command": PART,
            "reason": "the part ended without it",
        },
    ]


@pytest.mark.parametrize(
    ("measurement", "words"),
    [
        (Measurement(FAST, 12.3456, PART), ["speed", "12.3 x", "at least 10", "ok"]),
        (Measurement(FAST, 1.5, PART), ["1.5 x", "MISSED"]),
        (Measurement(PLAIN, 12345.6, PART), ["12,346 s"]),
        (Measurement(PLAIN, None, PART, "run make up"), ["seconds", "not measured"]),
    ],
)
def test_the_table_says_it_in_a_line(measurement, words):
    shown = line(measurement)
    assert "\n" not in shown
    assert not [word for word in words if word not in shown]


def test_the_table_says_once_why_a_part_was_not_measured():
    shown = lines(list(run_part(some(lambda _: [("speed", 1)]), None)))
    assert len(shown) == 4
    assert shown[-1].strip() == "not measured: the part ended without it"


def test_how_far_a_value_is_from_its_target():
    assert margin(Measurement(FAST, 20, PART)) == 2
    assert margin(Measurement(SMALL, 4, PART)) == 2
    assert margin(Measurement(SMALL, 16, PART)) == 0.5
    with pytest.raises(ValueError, match="seconds"):
        margin(Measurement(PLAIN, 1, PART))


def test_the_plot_shows_each_target_and_the_burst(tmp_path):
    def usage(cpu):
        return {"rss": 2e8, "cpu": cpu, "processes": 3}

    groups = [{"controller": usage(n), "api": usage(n), "kubelet": usage(n)} for n in (0.0, 0.5)]
    burst = [{"seconds": n, "made": n, "finished": n, **used} for n, used in enumerate(groups)]
    measured = [Measurement(FAST, 20, PART), Measurement(SMALL, 16, PART), Measurement(PLAIN, 1, PART)]
    plot(measured, {"burst": burst}, tmp_path / "with.svg")
    plot([], {}, tmp_path / "without.svg")
    drawn = (tmp_path / "with.svg").read_text()
    assert "times better than the target" in drawn
    assert "cores" in drawn
    assert "<svg" in (tmp_path / "without.svg").read_text()
    assert "cores" not in (tmp_path / "without.svg").read_text()


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1), (0, 1)])
def test_percentiles_are_values_that_were_seen(percent, value):
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_a_percentile_of_few_and_of_none():
    assert percentile([7.0], 99) == 7.0
    with pytest.raises(NotMeasuredError):
        percentile([], 50)


def test_kinds_are_measured_in_turn():
    order = []

    def once(kind):
        order.append(kind)
        return float(len(order))

    assert in_turn(("a", "a", "b"), 2, once) == {"a": [1, 2, 4, 5], "b": [3, 6]}
    assert order == ["a", "a", "b", "a", "a", "b"]
