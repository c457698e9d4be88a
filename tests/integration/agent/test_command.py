"""The command gets exactly what its author wrote, and its exit code comes out exactly."""

import datetime
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ARGUMENTS = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"\n")), max_size=6)
SHOW_ARGUMENTS = ["sh", "-c", "cat /proc/$$/cmdline; :"]
EXECVE = """
import ctypes, sys
def array(items): return (ctypes.c_char_p * (len(items) + 1))(*items, None)
arguments = [word.encode() for word in sys.argv[1:]]
ctypes.CDLL(None).execve(arguments[0], array(arguments), array({environment!r}))
"""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARGUMENTS)
def test_arguments_arrive_byte_for_byte(pod, arguments):
    step = pod.run("--command", *SHOW_ARGUMENTS, *arguments)
    received = step.output.split(b"\0")[len(SHOW_ARGUMENTS) : -1]
    assert received == arguments


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b" ",
        b"--command",
        b"--",
        b"a\nb",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        "é世".encode(),
        b"$HOME '\"",
        b"x" * 131071,
    ],
)
def test_odd_arguments(pod, argument):
    step = pod.run("--command", *SHOW_ARGUMENTS, argument)
    assert step.output.split(b"\0")[-2] == argument


def test_the_environment_is_untouched(pod):
    environment = [
        b"PATH=/usr/bin:/bin",
        b"TWICE=1",
        b"TWICE=2",
        b"without an equals sign",
        b"=nameless",
        b"EMPTY=",
        b"BYTES=\xff\xfe\n",
        b"PYTHONHOME=/nonexistent",
        b"PYTHONPATH=/nonexistent",
        b"PYTHONMALLOC=nonsense",
        b"LC_ALL=nonsense",
        b"LD_PRELOAD=",
    ]
    script = EXECVE.format(environment=environment)
    prefix = [sys.executable, "-I", "-c", script]
    step = pod.run("--command", "sh", "-c", "cat /proc/$$/environ; :", prefix=prefix)
    assert step.errors == b""
    assert step.output.split(b"\0")[:-1] == environment


@pytest.mark.parametrize(
    "words",
    [
        [
            "grep",
            "-E",
            "^(Sig(Blk|Ign)|ShdPnd|Umask)",
            "/proc/self/status",
        ],  # not in a shell: it resets the mask
        ["ls", "/proc/self/fd"],
        ["sh", "-c", "ulimit -a"],
        ["pwd"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_of_the_agent_is_left_in_the_command(pod, tmp_path, words):
    plain = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=tmp_path, check=True)
    step = pod.run("--command", *words, cwd=tmp_path)
    assert step.output == plain.stdout
    assert plain.stdout


def test_the_command_leads_a_process_group_of_its_own(pod):
    step = pod.run("--command", "sh", "-c", "echo $$; cut -d' ' -f5 /proc/$$/stat")
    pid, group = step.output.split()
    assert pid == group


@pytest.mark.parametrize("code", [0, 1, 2, 125, 126, 127, 255])
def test_exit_codes(pod, code):
    step = pod.run("--command", "sh", "-c", f"exit {code}")
    assert step.process.returncode == code
    assert step.done["exitCode"] == step.message["exitCode"] == code
    assert (step.state, step.message["reason"]) == (("Failed", "Error") if code else ("Succeeded", "Completed"))
    assert step.errors == b""


@pytest.mark.parametrize("number", [1, 6, 9, 11, 13, 15, 34, 64])
def test_death_by_signal(pod, number):
    step = pod.run("--command", "sh", "-c", f"ulimit -c 0; kill -{number} $$; sleep 1000")
    assert step.process.returncode == 128 + number
    assert (step.state, step.message["reason"], step.message["signal"]) == ("Failed", "Signal", number)


def test_times_enclose_the_command(pod):
    step = pod.run("--command", "date", "-u", "+%Y-%m-%dT%H:%M:%S.%3NZ")
    texts = (step.message["startedAt"], step.output.decode().strip(), step.message["finishedAt"])
    started, during, finished = map(datetime.datetime.fromisoformat, texts)
    # The processors of a virtual machine may disagree by a millisecond or two.
    skew = datetime.timedelta(milliseconds=20)
    assert started - skew <= during <= finished + skew


def program(path, content, mode=0o755):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("command", "code", "reason", "explanation"),
    [
        ("no-such-program", 127, "CommandNotFound", "no-such-program"),
        ("/no/such/program", 127, "CommandNotFound", "/no/such/program"),
        ("/etc/passwd/x", 127, "CommandNotFound", "/etc/passwd/x"),
        ("", 127, "CommandNotFound", "''"),
        ("/etc", 126, "NotExecutable", "/etc"),
        ("/etc/passwd", 126, "NotExecutable", "Permission denied"),
    ],
)
def test_a_command_that_cannot_be_run(pod, command, code, reason, explanation):
    step = pod.run("--command", command, "argument")
    assert step.process.returncode == code
    assert (step.state, step.message["reason"]) == ("Failed", reason)
    assert explanation in step.message["message"]
    assert "startedAt" not in step.message
    assert step.output == b""
    assert step.errors.startswith(b"taskflow-agent: ")
    assert step.errors.count(b"\n") == 1


def test_a_file_that_is_no_program(pod, tmp_path):
    step = pod.run("--command", program(tmp_path / "bin/text", b"echo hello\n"))
    assert (step.process.returncode, step.message["reason"]) == (126, "NotExecutable")
    assert "Exec format error" in step.message["message"]


@pytest.mark.parametrize("interpreter", ["/no/interpreter", "/bin/sh\r"])
def test_a_missing_interpreter_is_named(pod, tmp_path, interpreter):
    step = pod.run("--command", program(tmp_path / "bin/script", f"#!{interpreter}\n".encode()))
    assert (step.process.returncode, step.message["reason"]) == (127, "CommandNotFound")
    assert repr(interpreter) in step.message["message"]


def test_the_containers_path_is_searched(pod, tmp_path):
    program(tmp_path / "first/tool", b"#!/bin/sh\necho first\n", mode=0o644)
    program(tmp_path / "second/tool", b"#!/bin/sh\necho second\n")
    (tmp_path / "zeroth").touch()
    path = f"{tmp_path}/zeroth:{tmp_path}/missing:{tmp_path}/first:{tmp_path}/second"
    step = pod.run("--command", "tool", env={"PATH": path})
    assert step.output == b"second\n"
    step = pod.run("--command", "tool", env={"PATH": f"{tmp_path}/first:{tmp_path}/missing"})
    assert (step.process.returncode, step.message["reason"]) == (126, "NotExecutable")


def test_without_a_path_the_usual_one_is_searched(pod):
    assert pod.run("--command", "sh", "-c", "echo found", env={}).output == b"found\n"


def test_the_command_reads_nothing(pod, tmp_path):
    (tmp_path / "input").write_text("for the agent")
    with open(tmp_path / "input", encoding="utf-8") as text:
        step = pod.run("--command", "cat", stdin=text)
    assert (step.process.returncode, step.output) == (0, b"")


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2), (2,)])
def test_closed_standard_descriptors(pod, tmp_path, closed):
    def close():
        for descriptor in closed:
            os.close(descriptor)

    out = tmp_path / "out"
    step = pod.run("--out", out, "--command", "sh", "-c", "cat; echo text; ls -l /proc/self/fd/2 >&2", preexec_fn=close)
    assert step.process.returncode == 0
    assert out.read_bytes() == b"text\n"
    assert step.state == "Succeeded"


def test_out_is_appended_to_and_created(pod, tmp_path):
    out = tmp_path / "out"
    for text in ("one", "two"):
        step = pod.run("--out", out, "--command", "echo", text)
        assert (step.process.returncode, step.output) == (0, b"")
    assert out.read_bytes() == b"one\ntwo\n"
    assert stat.S_ISREG(out.stat().st_mode)


def test_an_out_file_that_cannot_be_opened(pod, tmp_path):
    step = pod.run("--out", tmp_path / "missing/out", "--command", "touch", tmp_path / "ran")
    assert (step.process.returncode, step.state, step.message["reason"]) == (1, "Failed", "OutputError")
    assert b"--out" in step.errors
    assert not (tmp_path / "ran").exists()


def test_a_terminal_does_not_stop_the_command(pod, tmp_path):
    """A process group in the background is stopped when it sets up the terminal."""
    words = ["setsid", "--ctty", "--wait"]
    controller, terminal = os.openpty()
    try:
        step = pod.start(
            1, "--command", "sh", "-c", "stty -echo <&1 && stty sane <&1",
            prefix=words, stdin=terminal, stdout=terminal, stderr=terminal,
        )  # fmt: skip
        assert step.wait() == 0
    finally:
        os.close(controller)
        os.close(terminal)
