"""Done files and termination messages."""

import datetime
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent import report
from taskflow_agent.outcome import Outcome, of_exit_code


def an_outcome(message=None):
    outcome = of_exit_code(3)
    outcome.started, outcome.finished = 1_700_000_000_123_456_789, 1_700_000_001_000_000_000
    outcome.message = message
    return outcome


@given(st.text(min_size=1), st.integers(48, 4096))
def test_the_message_always_fits_and_is_always_json(message, limit):
    repeated = message * (5000 // len(message) + 1)
    text = report.fit({"state": "Failed", "exitCode": 3, "reason": "Error", "message": repeated}, limit)
    assert len(text) <= limit
    fields = json.loads(text)
    assert (fields["state"], fields["exitCode"]) == ("Failed", 3)
    if "message" in fields:
        assert fields["message"].endswith("(cut)")
        kept = fields["message"].removesuffix(report.CUT_MARK)
        assert kept
        assert repeated.startswith(kept)


def test_a_message_that_fits_is_whole(tmp_path):
    log = tmp_path / "log"
    log.touch()
    report.write_termination_message(str(log), an_outcome("a" * 3000), 4096)
    assert json.loads(log.read_bytes())["message"] == "a" * 3000


def test_a_cut_message_uses_the_room():
    text = report.fit({"state": "Failed", "exitCode": 1, "reason": "Error", "message": "x" * 9000}, 4096)
    assert len(text) == 4096


def test_with_little_room_the_state_survives_longest():
    fields = {
        "state": "Succeeded",
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": "x" * 24,
        "message": "m",
    }
    assert json.loads(report.fit(fields, 64)) == {"state": "Succeeded", "exitCode": 0, "reason": "Completed"}


def test_the_termination_message_says_all(tmp_path):
    log = tmp_path / "log"
    log.write_bytes(b"x" * 5000)
    report.write_termination_message(str(log), an_outcome("why"), 4096)
    assert json.loads(log.read_bytes()) == {
        "state": "Failed",
        "exitCode": 3,
        "reason": "Error",
        "startedAt": "2023-11-14T22:13:20.123Z",
        "finishedAt": "2023-11-14T22:13:21.000Z",
        "message": "why",
    }


def test_a_step_that_never_ran_has_no_times(tmp_path):
    log = tmp_path / "log"
    log.touch()
    report.write_termination_message(str(log), Outcome("Skipped", 1, "Skipped", "why"), 4096)
    assert json.loads(log.read_bytes()) == {
        "state": "Skipped",
        "exitCode": 1,
        "reason": "Skipped",
        "message": "why",
    }


def test_the_termination_log_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        report.write_termination_message(str(tmp_path / "log"), an_outcome(), 4096)
    assert not (tmp_path / "log").exists()


@given(st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2100, 1, 1)))
def test_timestamps_are_utc_with_milliseconds(moment):
    moment = moment.replace(tzinfo=datetime.UTC)
    nanoseconds = (
        (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1) * 1000
    )
    expected = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert report.timestamp(nanoseconds) == expected


@pytest.mark.parametrize("content", [b"", b"0", b"nonsense", b"{}", b'{"state":"Succeeded"}', b"\xff\xfe"])
def test_a_senseless_done_file_is_a_failure(tmp_path, content):
    path = tmp_path / "done"
    path.write_bytes(content)
    ending = report.read_done(str(path))
    assert ending is not None
    assert (ending.state, ending.is_damaged) == ("Failed", True)
    assert f"the done file {path} is damaged" in ending.message


def test_the_end_of_a_step_that_found_a_damaged_file_is_not_damaged_itself(tmp_path):
    report.write_done(str(tmp_path / "done"), Outcome("Failed", 1, "BadDoneFile", "why"))
    ending = report.read_done(str(tmp_path / "done"))
    assert ending is not None and not ending.is_damaged


def test_a_done_file_comes_back(tmp_path):
    path = tmp_path / "done"
    assert report.read_done(str(path)) is None
    report.write_done(str(path), an_outcome())
    ending = report.read_done(str(path))
    assert ending is not None
    assert (ending.state, ending.exit_code) == ("Failed", 3)
    assert path.read_bytes().count(b"\n") == 1
    assert json.loads(path.read_bytes())["exitCode"] == 3


@pytest.mark.parametrize(
    ("content", "lets_pass"),
    [
        ('{"state":"Succeeded","exitCode":0}', True),
        ('{"state":"Succeeded","exitCode":0,"continued":1}', True),
        ('{"state":"Failed","exitCode":3,"continued":1}', True),
        ('{"state":"Failed","exitCode":3}', False),
        ('{"state":"Failed","exitCode":3,"continued":0}', False),
        ('{"state":"Failed","exitCode":3,"continued":"yes"}', False),
        ('{"state":"Failed","continued":1}', False),
        ('{"state":"Skipped","exitCode":1,"continued":1}', False),
        ('{"state":"Cancelled","exitCode":1,"continued":1}', False),
        ('{"state":"Nonsense","exitCode":1,"continued":1}', False),
        ("nonsense", False),
    ],
)
def test_which_ending_lets_the_next_step_run(tmp_path, content, lets_pass):
    (tmp_path / "done").write_text(content)
    ending = report.read_done(str(tmp_path / "done"))
    assert ending is not None
    assert ending.lets_pass is lets_pass


@pytest.mark.parametrize(("state", "continued"), [("Failed", True), ("Succeeded", False), ("Cancelled", False)])
def test_only_a_failure_is_continued(tmp_path, state, continued):
    outcome = Outcome(state, 3, "Error")
    outcome.goes_on = True
    report.write_done(str(tmp_path / "done"), outcome)
    assert ("continued" in json.loads((tmp_path / "done").read_bytes())) is continued


def test_results_come_back(tmp_path):
    outcome = an_outcome("why")
    outcome.retries, outcome.results = 2, {"a": '1\n"2"', "b-c": ""}
    report.write_done(str(tmp_path / "done"), outcome)
    assert report.read_results(str(tmp_path / "done")) == outcome.results
    assert json.loads((tmp_path / "done").read_bytes())["retries"] == 2


def test_who_told_the_step_to_end_is_never_left_out():
    fields = {"state": "Cancelled", "exitCode": 143, "told": 64, "reason": "r", "message": "m" * 9, "signal": 15}
    text = report.fit(fields, 48)
    assert json.loads(text) == {"state": "Cancelled", "exitCode": 143, "told": 64}


@pytest.mark.parametrize(("signal", "told", "found"), [(None, None, None), (None, 15, 15), (11, None, 0), (15, 15, 15)])
def test_a_command_that_a_signal_ended_says_whether_it_came_from_outside(signal, told, found):
    outcome = Outcome("Failed", 3, "Error")
    outcome.signal, outcome.told = signal, told
    assert report.lasting_fields(outcome).get("told") == found


def test_results_stay_when_everything_else_gives_way():
    fields = {"state": "Failed", "exitCode": 3, "reason": "Error", "retries": 1, "continued": 1}
    lasting = {**fields, "result.a": "x" * 100}
    limit = len(report.flatjson.dumps(lasting))
    text = report.fit({**lasting, "signal": 9, "startedAt": "t", "finishedAt": "t", "message": "m" * 500}, limit)
    assert json.loads(text) == lasting


def test_a_pipe_in_place_of_a_done_file_is_a_failure(tmp_path):
    os.mkfifo(tmp_path / "done")
    ending = report.read_done(str(tmp_path / "done"))
    assert ending is not None
    assert ending.state == "Failed"


@pytest.mark.parametrize(
    ("code", "state", "exit_code", "reason", "signal"),
    [
        (0, "Succeeded", 0, "Completed", None),
        (7, "Failed", 7, "Error", None),
        (127, "Failed", 127, "Error", None),
        (-9, "Failed", 137, "Signal", 9),
    ],
)
def test_how_an_exit_code_reads(code, state, exit_code, reason, signal):
    outcome = of_exit_code(code)
    assert (outcome.state, outcome.exit_code, outcome.reason, outcome.signal) == (
        state,
        exit_code,
        reason,
        signal,
    )
