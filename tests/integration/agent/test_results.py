"""Results: from a step's files into its reports, and from there into later steps."""

import base64
import gzip
import json
import os
import pathlib
import shutil
import subprocess

import pytest

ODD = {
    "quotes": 'it\'s "quoted" `so` \\n',
    "lines": "one\ntwo\n\nfour",
    "tabs": "\ta\r\x01\x7f",
    "unicode": "é世\U0001f600",
    "dollars": "$HOME $(id) ${x}",
    "mark": "{m:1/quotes}",
    "spaces": "  a  ",
    "flag": "--command",
    "empty": "",
}


def result_flags(directory, *names):
    return ["--results-dir", directory, *(word for name in names for word in ("--result", name))]


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def write_odd(pod, results):
    """Step 1 writes all of them, each with newlines at its end."""
    values = [word for name, value in ODD.items() for word in (f"{results}/{name}", value)]
    loop = 'while [ $# -gt 0 ]; do printf "%s\\n\\n" "$2" > "$1"; shift 2; done'
    return pod.run(*result_flags(results, *ODD), "--command", "sh", "-c", loop, "sh", *values)


def earlier(pod, *steps):
    flags = ["--fill", "m"]
    for step in steps:
        flags += ["--results-of", f"{step}={pod.run_directory(step)}/done"]
    return flags


def test_they_are_in_both_reports(pod, results):
    step = write_odd(pod, results)
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    for report in (step.done, step.message):
        assert {name.removeprefix("result."): v for name, v in report.items() if name.startswith("result.")} == ODD


def test_a_later_command_gets_them_literally(pod, results):
    write_odd(pod, results)
    words = [f"<{{m:1/{name}}}>" for name in ODD]
    show = ["sh", "-c", "cat /proc/$$/cmdline; :"]
    step = pod.start(2, *pod.after(1), *earlier(pod, 1), "--command", *show, *words)
    step.wait()
    assert step.output.decode().split("\0")[3:-1] == [f"<{value}>" for value in ODD.values()]


def test_its_environment_too(pod, results):
    write_odd(pod, results)
    flags = [word for name in ODD for word in ("--env", f"RESULT_{name}={{m:1/{name}}}|")]
    step = pod.start(2, *earlier(pod, 1), *flags, "--command", "sh", "-c", "cat /proc/$$/environ; :", env={"A": "b"})
    step.wait()
    assert step.output.decode().split("\0")[:-1] == ["A=b", *(f"RESULT_{n}={v}|" for n, v in ODD.items())]


def test_a_scripts_arguments_too(pod, results, tmp_path):
    write_odd(pod, results)
    (tmp_path / "script").write_bytes(base64.b64encode(gzip.compress(b'printf %s "$1" "{m:1/flag}"')))
    script = ["--encodefile", tmp_path / "script", "--script-dir", pod.run_directory(2)]
    step = pod.start(2, *earlier(pod, 1), *script, "--", "{m:1/lines}")
    step.wait()
    assert step.output.decode() == ODD["lines"] + "{m:1/flag}"


def test_it_waits_for_the_gate_before_it_looks(pod, results):
    second = pod.start(2, *pod.after(1), *earlier(pod, 1), "--command", "echo", "{m:1/flag}").wait_until_ready()
    write_odd(pod, results)
    assert (second.wait(), second.output) == (0, b"--command\n")


def test_results_of_a_failed_step_that_is_continued(pod, results):
    command = f"echo value > {results}/x; exit 3"
    flags = [*result_flags(results, "x"), "--on-error", "continue"]
    first = pod.run(*flags, "--command", "sh", "-c", command)
    assert first.ending == ("Failed", "Error", 3, 0)
    second = pod.start(2, *pod.after(1), *earlier(pod, 1), "--command", "echo", "{m:1/x}")
    assert (second.wait(), second.output) == (0, b"value\n")


@pytest.mark.parametrize("result", [None, "", ',"result.x":1', ',"result.x":"a\\u0000"'])
def test_a_missing_result(pod, result, tmp_path):
    if result is not None:
        pod.leave_done(1, f'{{"state":"Succeeded","exitCode":0{result}}}')
    ran = tmp_path / "ran"
    step = pod.start(2, *earlier(pod, 1), "--retries", "3", "--command", "touch", ran, "{m:1/x}")
    step.wait()
    assert step.ending == ("Failed", "ResultMissing", 1, 1)
    assert step.message["message"] == "step '1' wrote no result 'x'"
    assert step.errors == b"taskflow-agent: step '1' wrote no result 'x'\n"
    assert "startedAt" not in step.message
    assert not ran.exists()


def test_a_pipe_in_place_of_a_done_file(pod):
    os.mkfifo(pod.run_directory(1) / "done")
    step = pod.start(2, *earlier(pod, 1), "--command", "echo", "{m:1/x}")
    step.wait()
    assert step.message["reason"] == "BadDoneFile"
    step = pod.start(3, *pod.after(1), "--command", "true")
    assert (step.wait(), step.state, step.message["reason"]) == (1, "Failed", "BadDoneFile")


def test_a_missing_file_is_no_result_and_no_error(pod, results):
    step = pod.run(*result_flags(results, "x"), "--command", "true")
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    assert "result.x" not in step.done


BAD = {
    "mkfifo x": "is not a regular file",
    "mkfifo x; (exec 3<> x; sleep 1000) > /dev/null 2>&1 & sleep 0.1": "is not a regular file",
    "ln -s /etc/passwd x": "is a symbolic link",
    "ln -s /dev/zero x": "is a symbolic link",
    "ln -s x x": "is a symbolic link",
    "mkdir x": "is not a regular file",
    "printf 'a\\0b' > x": "holds a NUL character",
    "printf '\\377' > x": "is not text in UTF-8",
}


@pytest.mark.parametrize("make", BAD)
def test_what_is_no_result_fails_the_step(pod, results, make, tmp_path):
    count = f"echo x >> {tmp_path}/tries"
    flags = [*result_flags(results, "good", "x"), "--retries", "3"]
    step = pod.run(*flags, "--command", "sh", "-c", f"{count}; cd {results}; echo good > good; {make}")
    assert step.ending == ("Failed", "BadResult", 1, 1)
    assert step.message["message"] == f"result 'x' {BAD[make]}"
    assert step.errors == f"taskflow-agent: result 'x' {BAD[make]}\n".encode()
    assert (tmp_path / "tries").read_text() == "x\n"


@pytest.mark.parametrize("make", BAD)
def test_of_a_failed_command_it_is_left_out(pod, results, make):
    flags = result_flags(results, "x", "good")
    step = pod.run(*flags, "--command", "sh", "-c", f"cd {results}; echo good > good; {make}; exit 5")
    assert step.ending == ("Failed", "Error", 5, 5)
    assert (step.done["result.good"], step.done.get("result.x")) == ("good", None)
    assert step.errors == b""


def test_the_commands_own_message_does_not_hide_why_it_failed(pod, results):
    log = pod.run_directory(1) / "termination-log"
    step = pod.run(
        *result_flags(results, "x"), "--command", "sh", "-c", f"echo all is well > {log}; mkfifo {results}/x"
    )
    assert step.message["message"] == "result 'x' is not a regular file"


def test_an_endless_result(pod, results):
    """It is as large as a file may be, and read as far as is needed to know that."""
    command = f"truncate -s 1T {results}/huge"
    step = pod.run(*result_flags(results, "huge"), "--command", "sh", "-c", command)
    assert step.ending == ("Failed", "ResultsTooLarge", 1, 1)
    assert "largest: huge, 1099511627776 bytes" in step.message["message"]


def test_too_large_together(pod, results):
    command = f"head -c 300 /dev/zero | tr '\\0' a | tee {results}/a > {results}/b"
    flags = ["--termination-limit", "585", *result_flags(results, "a", "b")]
    step = pod.run(*flags, "--command", "sh", "-c", command)
    assert step.ending == ("Failed", "ResultsTooLarge", 1, 1)
    assert step.message["message"] == (
        "the results need 628 bytes, and this step's report has room for 530 (largest: a, 300 bytes)"
    )
    assert (pod.run_directory(1) / "termination-log").stat().st_size <= 585


def test_results_that_just_fit_push_everything_else_out(pod, results):
    log = pod.run_directory(1) / "termination-log"
    command = f"echo a message > {log}; head -c 516 /dev/zero | tr '\\0' a > {results}/a"
    flags = ["--termination-limit", "585", *result_flags(results, "a")]
    step = pod.run(*flags, "--command", "sh", "-c", command)
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    assert step.message["result.a"] == "a" * 516
    assert set(step.message) == {"state", "exitCode", "reason", "result.a"}
    assert log.stat().st_size <= 585


def let_others_pass(path):
    for directory in path.parents:
        if pathlib.Path("/tmp") in directory.parents:
            directory.chmod(directory.stat().st_mode | 0o111)


def test_another_user_can_write_results(pod, results):
    """Whatever the umask; and the agent reads what is readable for it."""
    if os.geteuid():
        pytest.skip("needs root")
    let_others_pass(results)
    words = [
        "setpriv",
        "--reuid=12345",
        "--regid=12345",
        "--clear-groups",
        "sh",
        "-c",
        f"umask 077; echo v > {results}/x",
    ]
    step = pod.run(*result_flags(results, "x"), "--command", *words, preexec_fn=lambda: os.umask(0o077))
    assert step.errors == b""
    assert step.done["result.x"] == "v"


def test_a_result_that_the_agent_may_not_read(agent, tmp_path):
    if os.geteuid():
        pytest.skip("needs root")
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(0o777)
    let_others_pass(place)
    shutil.copy(agent, place / "agent")
    words = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", place / "agent", "--done", place / "done"]
    words += [
        *result_flags(place / "results", "x"),
        "--command",
        "sh",
        "-c",
        f"cd {place}/results; echo v > x; chmod 0 x",
    ]
    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == b"taskflow-agent: result 'x' cannot be read: Permission denied\n"
    assert json.loads((place / "done").read_bytes())["reason"] == "BadResult"


def test_a_value_that_is_too_long_for_a_command_line(pod, results):
    """Many times: no single value can be."""
    command = f"head -c 3900 /dev/zero | tr '\\0' a > {results}/a"
    assert pod.run(*result_flags(results, "a"), "--command", "sh", "-c", command).state == "Succeeded"
    for words in (["--command", "true", "{m:1/a}" * 40], ["--env", "A=" + "{m:1/a}" * 40, "--command", "true"]):
        step = pod.start(2, *earlier(pod, 1), "--retries", "2", *words)
        step.wait()
        assert step.ending == ("Failed", "NotExecutable", 126, 126)
        assert step.message["message"] == "cannot run 'true': Argument list too long"


def test_a_step_without_results_reports_as_ever(pod):
    step = pod.run("--command", "true")
    assert set(step.done) == {"state", "exitCode", "reason", "startedAt", "finishedAt"}
