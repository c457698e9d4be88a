"""When the steps that a sidecar runs beside are over."""

import os

import pytest
from taskflow_agent.flags import StepOptions
from taskflow_agent.sidecar import Steps

PASSED = '{"state":"Succeeded","exitCode":0}'
CONTINUED = '{"state":"Failed","exitCode":3,"continued":1}'
STOPPED = '{"state":"Failed","exitCode":3}'


@pytest.fixture
def steps(tmp_path):
    options = StepOptions()
    options.wait = str(tmp_path / "order")
    options.until = [str(tmp_path / name) for name in "123"]
    return Steps(options)


@pytest.mark.parametrize(
    ("files", "over"),
    [
        ({}, False),
        ({"1": PASSED}, False),
        ({"1": PASSED, "2": CONTINUED}, False),
        ({"1": PASSED, "2": PASSED, "3": PASSED}, True),
        # Ended before its turn: those before it go on.
        ({"3": STOPPED}, False),
        ({"1": PASSED, "3": STOPPED}, False),
        ({"1": PASSED, "2": PASSED, "3": STOPPED}, True),
        ({"1": PASSED, "2": PASSED, "3": "nonsense"}, True),
        ({"1": STOPPED}, True),
        ({"1": '{"state":"Skipped","exitCode":1,"continued":1}'}, True),
        ({"1": '{"state":"Cancelled","exitCode":1}'}, True),
        ({"1": "nonsense"}, True),
        ({"1": PASSED, "2": ""}, True),
        ({"order": "2"}, False),
        ({"order": "-1\n"}, True),
        ({"order": "-1", "1": PASSED}, True),
    ],
)
def test_when_the_steps_are_over(steps, tmp_path, files, over):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert steps.are_over() is over
    assert steps.are_over() is over


def test_one_after_the_other(steps, tmp_path):
    for name in "12":
        (tmp_path / name).write_text(PASSED)
        assert not steps.are_over()
    (tmp_path / "3").write_text(PASSED)
    assert steps.are_over()


def test_a_done_file_that_cannot_be_read_is_the_end(steps, tmp_path):
    (tmp_path / "1").mkdir()
    assert steps.are_over()


def test_a_pipe_in_place_of_a_done_file_is_the_end(steps, tmp_path):
    os.mkfifo(tmp_path / "1")
    assert steps.are_over()


def test_an_order_that_cannot_be_read_is_none(steps, tmp_path):
    (tmp_path / "order").mkdir()
    assert not steps.are_over()


def test_the_directories_to_watch(steps, tmp_path):
    assert steps.directories() == [str(tmp_path)]
    assert Steps(StepOptions()).directories() == []
