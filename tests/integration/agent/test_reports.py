"""What a step leaves behind for the next step and for the operator."""

import json
import os
import pathlib
import subprocess

import pytest


def test_the_commands_own_message_is_kept(pod):
    log = pod.run_directory(1) / "termination-log"
    step = pod.run("--command", "sh", "-c", f'printf "two\nlines \\"quoted\\"" > {log}; exit 3')
    assert step.message["message"] == 'two\nlines "quoted"'
    assert (step.message["state"], step.message["exitCode"]) == ("Failed", 3)
    assert step.done == step.message


def test_without_one_there_is_no_message(pod):
    assert "message" not in pod.run("--command", "true").message


def test_bytes_that_are_no_text(pod):
    log = pod.run_directory(1) / "termination-log"
    step = pod.run("--command", "sh", "-c", rf"printf 'a\377b\001' > {log}")
    assert step.message["message"] == "a\ufffdb\x01"


@pytest.mark.parametrize("limit", [4096, 585, 48])
@pytest.mark.parametrize("text", ["x", "\\001", "世"])
def test_a_long_message_is_cut_to_the_limit(pod, limit, text):
    log = pod.run_directory(1) / "termination-log"
    command = f"i=0; while [ $i -lt 5000 ]; do printf '{text}'; i=$((i+1)); done > {log}; exit 9"
    step = pod.run("--termination-limit", str(limit), "--command", "sh", "-c", command)
    assert log.stat().st_size <= limit
    assert step.message["exitCode"] == 9
    if limit > 500:
        assert step.message["message"].endswith("(cut)")
        assert "startedAt" in step.message


def test_the_termination_log_stays_the_same_file(pod):
    log = pod.run_directory(1) / "termination-log"
    log.touch()
    inode = log.stat().st_ino
    assert pod.run("--command", "true").message
    assert log.stat().st_ino == inode


def test_a_termination_log_in_a_directory_of_others(pod, tmp_path, agent):
    """As the kubelet makes it: anyone may write the file, nobody but root may change the directory."""
    if os.geteuid():
        pytest.skip("needs root")
    for directory in (*tmp_path.parents, tmp_path):
        if directory.stat().st_uid == 0 and str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    sticky = tmp_path / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    log = sticky / "log"
    log.touch()
    log.chmod(0o666)
    tool = tmp_path / "taskflow-agent"
    tool.write_bytes(pathlib.Path(agent).read_bytes())
    tool.chmod(0o755)
    words = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", tool, "--termination-log", log]
    finished = subprocess.run([*words, "--command", "sh", "-c", "exit 4"], capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (4, b"")
    assert json.loads(log.read_bytes())["exitCode"] == 4


def test_outside_a_pod_nobody_asks_for_a_termination_log(agent):
    if os.path.exists("/dev/termination-log"):
        pytest.skip("there is one here")
    finished = subprocess.run([agent, "--command", "true"], capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert not os.path.exists("/dev/termination-log")


def test_a_termination_log_that_was_asked_for_and_is_missing(agent, tmp_path):
    words = [agent, "--termination-log", tmp_path / "log", "--command", "sh", "-c", "exit 6"]
    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 6
    assert b"--termination-log" in finished.stderr


def test_a_success_that_can_not_be_told_is_none_and_the_next_step_does_not_begin(agent, pod, tmp_path):
    done = pod.run_directory(1) / "done"
    words = [agent, "--termination-log", tmp_path / "log", "--done", done, "--command", "true"]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 1
    assert json.loads(done.read_bytes())["reason"] == "ReportError"
    assert pod.start(2, *pod.after(1), "--command", "true").wait() == 1


@pytest.mark.parametrize(("command_code", "code"), [(0, 1), (5, 5)])
def test_a_done_file_that_cannot_be_written(pod, command_code, code):
    run = pod.run_directory(1)
    step = pod.run("--command", "sh", "-c", f"mkdir {run}/done; exit {command_code}")
    assert step.process.returncode == code
    assert b"taskflow-agent: --done: cannot write" in step.errors
    assert (step.message["state"], step.message["reason"]) == ("Failed", "DoneFileError")
    assert sorted(os.listdir(run)) == ["done", "ready", "termination-log"]


def test_a_full_disk(pod, tmp_path):
    """/dev/full stands for it in --out; the done file gets a file system of its own without room."""
    full = tmp_path / "full"
    full.mkdir()
    mount = f'mount -t tmpfs -o size=4k,nr_inodes=3 none {full} && touch {full}/a {full}/b && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root")
    log = pod.run_directory(1) / "termination-log"
    log.touch()
    words = [*prefix, pod.agent, "--termination-log", log, "--done", full / "done", "--command", "true"]
    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 1
    assert b"No space left" in finished.stderr
    assert json.loads(log.read_bytes())["reason"] == "DoneFileError"


def test_wrong_flags(pod, tmp_path):
    step = pod.run("--grace", "soon", "--command", "touch", tmp_path / "ran")
    assert step.process.returncode == 2
    assert step.errors == b"taskflow-agent: --grace needs a number of seconds, not 'soon'\n"
    assert (step.state, step.message["reason"], step.message["exitCode"]) == ("Failed", "BadFlags", 2)
    assert not (tmp_path / "ran").exists()


def test_version(agent):
    finished = subprocess.run([agent, "--version"], capture_output=True, check=True)
    assert finished.stdout.startswith(b"taskflow-agent ")
