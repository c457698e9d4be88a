"""Results: read from files that may be anything, and made to fit."""

import json
import os
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from taskflow_agent import report, results
from taskflow_agent.outcome import Outcome, StepError, of_exit_code

LIMIT = 4096
TEXTS = st.dictionaries(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,8}", fullmatch=True), st.text(max_size=1500))


def collected(directory, names, code=0, limit=LIMIT):
    outcome = of_exit_code(code)
    results.Results(str(directory), list(names), limit).collect(outcome)
    return outcome


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (b"", ""),
        (b"\n\n", ""),
        (b"plain", "plain"),
        (b"line\n", "line"),
        (b"two\nlines\n\n\n", "two\nlines"),
        (b" spaces \r\n", " spaces \r"),
        ("é世\U0001f600".encode(), "é世\U0001f600"),
        (b"\"'`$(x)${y}\\\t", "\"'`$(x)${y}\\\t"),
        (b"\xef\xbb\xbfmark", "\ufeffmark"),
    ],
)
def test_a_value_is_the_files_text_without_the_newlines_at_its_end(tmp_path, content, value):
    (tmp_path / "x").write_bytes(content)
    outcome = collected(tmp_path, ["x", "absent"])
    assert (outcome.state, outcome.results) == ("Succeeded", {"x": value})


def as_fifo(path):
    os.mkfifo(path)


def as_link(path):
    path.symlink_to("/etc/passwd")


def as_dangling_link(path):
    path.symlink_to("nowhere")


def as_directory(path):
    path.mkdir()


def as_device(path):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))


def as_other_bytes(path):
    path.write_bytes(b"\xff\xfe")


def as_nul(path):
    path.write_bytes(b"a\0b")


def as_half_a_character(path):
    path.write_bytes("é".encode()[:1])


BAD = {
    as_fifo: "is not a regular file",
    as_link: "is a symbolic link",
    as_dangling_link: "is a symbolic link",
    as_directory: "is not a regular file",
    as_device: "is not a regular file",
    as_other_bytes: "is not text in UTF-8",
    as_half_a_character: "is not text in UTF-8",
    as_nul: "holds a NUL character",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_what_is_no_result(tmp_path, make):
    (tmp_path / "good").write_text("value")
    try:
        make(tmp_path / "bad")
    except PermissionError:
        pytest.skip("needs root")
    open_before = len(os.listdir("/proc/self/fd"))
    outcome = collected(tmp_path, ["good", "bad"])
    assert (outcome.state, outcome.exit_code, outcome.reason) == ("Failed", 1, "BadResult")
    assert outcome.message == f"result 'bad' {BAD[make]}"
    assert outcome.results == {"good": "value"}
    outcome = collected(tmp_path, ["good", "bad"], code=3)
    assert (outcome.exit_code, outcome.reason, outcome.results) == (3, "Error", {"good": "value"})
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_link_in_place_of_the_directory_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x").write_text("secret")
    (tmp_path / "link").symlink_to("real")
    outcome = collected(tmp_path / "link", ["x"])
    assert (outcome.reason, outcome.results) == ("BadResult", {})
    with pytest.raises(StepError, match="'x'"):
        results.Results(str(tmp_path / "link"), ["x"], LIMIT).remove(1)
    assert (tmp_path / "real/x").exists()


def test_a_directory_that_the_command_has_removed_holds_no_results(tmp_path):
    assert collected(tmp_path / "gone", ["x"]).results == {}
    results.Results(str(tmp_path / "gone"), ["x"], LIMIT).remove(1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TEXTS, st.integers(48, LIMIT), st.sampled_from([0, 3, -9]), st.booleans())
def test_results_always_fit_or_are_refused(tmp_path, texts, limit, code, goes_on):
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text.replace("\0", "").encode())
    outcome = of_exit_code(code)
    outcome.goes_on, outcome.retries = goes_on, 2
    outcome.started, outcome.finished = 1, 2
    results.Results(str(tmp_path), list(texts), limit).collect(outcome)
    outcome.message = outcome.message or "m" * 5000
    written = report.fit(report._fields(outcome), limit)
    fields = json.loads(written)
    assert {report.RESULT + name: text for name, text in outcome.results.items()}.items() <= fields.items()
    if not code and outcome.state == "Succeeded":
        assert outcome.results == {name: text.replace("\0", "").rstrip("\n") for name, text in texts.items()}
    if outcome.results:
        assert len(written) <= limit
        assert report.lasting_fields(outcome).items() <= fields.items()


def test_the_room_is_used_to_the_last_byte(tmp_path):
    room = LIMIT - len(report.flatjson.dumps(report.lasting_fields(of_exit_code(0)))) - len(',"result.x":""')
    (tmp_path / "x").write_text("v" * room + "\n")
    assert collected(tmp_path, ["x"]).results == {"x": "v" * room}
    (tmp_path / "x").write_text("v" * (room + 1))
    outcome = collected(tmp_path, ["x"])
    assert (outcome.reason, outcome.exit_code, outcome.results) == ("ResultsTooLarge", 1, {})


def test_too_large_results_are_told_by_number_and_name(tmp_path):
    (tmp_path / "small").write_text("s" * 300)
    (tmp_path / "log").write_text("l" * 5000)
    outcome = collected(tmp_path, ["small", "log"])
    assert outcome.message == (
        "the results need 5334 bytes, and this step's report has room for 4041 (largest: log, 5000 bytes)"
    )


def test_of_a_failed_command_those_that_fit_are_kept(tmp_path):
    (tmp_path / "log").write_text("l" * 5000)
    (tmp_path / "small").write_text("s" * 300)
    outcome = collected(tmp_path, ["log", "small"], code=7)
    assert (outcome.reason, outcome.exit_code, outcome.results) == ("Error", 7, {"small": "s" * 300})


def test_no_more_is_read_than_shows_that_it_is_too_large(tmp_path, monkeypatch):
    with open(tmp_path / "huge", "wb") as huge:
        huge.truncate(1 << 40)
    read = []
    real_read = os.read
    monkeypatch.setattr(
        "taskflow_agent.fsio.posix.read", lambda fd, count: (read.append(count), real_read(fd, count))[1]
    )
    assert "1099511627776 bytes" in (collected(tmp_path, ["huge"]).message or "")
    assert sum(read) == LIMIT + 1


def test_a_cancelled_commands_results_are_kept_and_its_state_too(tmp_path):
    (tmp_path / "x").write_text("value")
    as_fifo(tmp_path / "bad")
    outcome = Outcome("Cancelled", 0, "Cancelled")
    results.Results(str(tmp_path), ["bad", "x"], LIMIT).collect(outcome)
    assert (outcome.state, outcome.results) == ("Cancelled", {"x": "value"})


def test_the_directory_is_for_anybody_whatever_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        for _again in range(2):
            results.Results(str(tmp_path / "results"), [], LIMIT).make_directory()
    finally:
        assert os.umask(before) == 0o077
    assert stat.S_IMODE((tmp_path / "results").stat().st_mode) == 0o777


def test_a_directory_that_cannot_be_made(tmp_path):
    with pytest.raises(StepError, match=r"--results-dir: cannot make .*missing/results"):
        results.Results(str(tmp_path / "missing/results"), [], LIMIT).make_directory()


def test_removing_leaves_nothing_under_a_results_name(tmp_path):
    (tmp_path / "file").write_text("x")
    as_fifo(tmp_path / "fifo")
    as_link(tmp_path / "link")
    (tmp_path / "full/directory").mkdir(parents=True)
    (tmp_path / "other").write_text("of nobody's business")
    names = ["file", "fifo", "link", "full", "absent"]
    for number in (1, 2):
        results.Results(str(tmp_path), names, LIMIT).remove(number)
        (tmp_path / "full/again").mkdir(parents=True)
    results.Results(str(tmp_path), names, LIMIT).remove(3)
    assert not set(names) & set(os.listdir(tmp_path))
    assert (tmp_path / "other").exists()
    assert os.path.exists("/etc/passwd")
