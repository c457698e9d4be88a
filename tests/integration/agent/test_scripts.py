"""Scripts: packed by the operator, laid down by the init container, unpacked and run by the step."""

import base64
import gzip
import os
import pathlib
import random
import stat
import subprocess

import pytest

CHUNK = 100_000


def packed(body):
    return base64.b64encode(gzip.compress(body)).decode()


@pytest.fixture
def run_script(pod, tmp_path):
    """Install a script in chunks, as the init container does, then run it in a step."""

    def run(body, *arguments, **options):
        text = packed(body)
        chunks = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
        flags = [word for chunk in chunks for word in ("--script", f"1={chunk}")]
        words = [pod.agent, "install", tmp_path / "agent", "--scripts-dir", tmp_path / "scripts", *flags]
        installed = subprocess.run(words, capture_output=True, check=False)
        assert (installed.returncode, installed.stdout, installed.stderr) == (0, b"", b"")
        words = ["--encodefile", tmp_path / "scripts/1", "--script-dir", pod.run_directory(1), *arguments]
        return pod.run(*words, **options)

    return run


def test_install_copies_a_working_agent(agent, tmp_path):
    subprocess.run([agent, "install", tmp_path / "agent"], check=True)
    copy = tmp_path / "agent/taskflow-agent"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o755
    assert copy.read_bytes() == pathlib.Path(agent).read_bytes()
    assert subprocess.run([copy, "--version"], capture_output=True, check=True).stdout


def test_install_errors_are_one_clear_line(agent, tmp_path):
    for arguments, code, named in (
        ([tmp_path / "missing/agent"], 1, b"missing/agent"),
        ([tmp_path / "a", "--scripts-dir", tmp_path / "no/s", "--script", "1=x"], 1, b"no/s"),
        ([tmp_path / "a", "--script", "1=x"], 2, b"--scripts-dir"),
    ):
        finished = subprocess.run([agent, "install", *arguments], capture_output=True, check=False)
        assert (finished.returncode, finished.stdout) == (code, b"")
        assert named in finished.stderr
        assert finished.stderr.count(b"\n") == 1


def test_the_first_line_is_honoured(run_script):
    step = run_script(
        b"#!/usr/bin/env -S python3 -I\nimport sys; print(sys.argv[1:], sys.flags.isolated)\n", "--", "a", ""
    )
    assert (step.process.returncode, step.output) == (0, b"['a', ''] 1\n")


def test_without_one_it_is_run_by_sh(run_script):
    step = run_script(b'echo "$#:$1:$2"; exit 5\n', "--", "one two", "--command")
    assert (step.process.returncode, step.output) == (5, b"2:one two:--command\n")


def test_an_empty_script_succeeds(run_script):
    assert run_script(b"").process.returncode == 0


def test_a_script_far_longer_than_one_argument_may_be(run_script):
    noise = base64.b64encode(random.Random(1).randbytes(300_000))
    step = run_script(b"#!/bin/sh\nwc -c < $0\n: " + noise + b"\necho end\n")
    size, end = step.output.split()
    assert len(packed(noise)) > 2 * 131072
    assert int(size) > len(noise)
    assert end == b"end"


def test_only_its_own_user_can_read_it(run_script):
    assert run_script(b"stat -c %a $0\n").output == b"500\n"


def test_it_can_run_again(run_script):
    assert run_script(b"echo one").output == b"one\n"
    assert run_script(b"echo two").output == b"two\n"


def test_a_script_without_sh_says_so(run_script):
    step = run_script(b"echo hello", env={"PATH": "/nonexistent"})
    assert (step.process.returncode, step.message["reason"]) == (127, "CommandNotFound")
    assert "no sh in this image" in step.message["message"]


def test_a_script_with_a_missing_interpreter_names_it(run_script):
    step = run_script(b"#!/opt/bin/ruby -w\n")
    assert (step.process.returncode, step.message["reason"]) == (127, "CommandNotFound")
    assert "'/opt/bin/ruby'" in step.message["message"]


@pytest.mark.parametrize("text", [b"", b"%%%", base64.b64encode(b"no gzip")])
def test_a_file_that_holds_no_script(pod, tmp_path, text):
    (tmp_path / "encoded").write_bytes(text)
    step = pod.run("--encodefile", tmp_path / "encoded", "--script-dir", pod.run_directory(1))
    assert (step.process.returncode, step.state, step.message["reason"]) == (1, "Failed", "ScriptError")
    assert "encoded" in step.message["message"]


def test_a_missing_script_file(pod, tmp_path):
    step = pod.run("--encodefile", tmp_path / "nowhere", "--script-dir", pod.run_directory(1))
    assert (step.process.returncode, step.message["reason"]) == (1, "ScriptError")
    assert os.listdir(pod.run_directory(1)).count("script") == 0
