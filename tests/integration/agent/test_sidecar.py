"""A command that runs beside the steps."""

import base64
import gzip
import json
import os
import signal
import subprocess

import pytest

PASSED = '{"state":"Succeeded","exitCode":0}'
RUN = ["--command", "sh", "-c"]


def until(pod, *names):
    return [word for name in names for word in ("--until", str(pod.run_directory(name) / "done"))]


def report(step):
    return step.message["state"], step.message["reason"], step.message["exitCode"], step.process.returncode


STOPPED = ("Succeeded", "Stopped", 0, 0)


def test_it_runs_at_once_and_ends_with_the_last_step(pod, tmp_path, wait_until):
    side = pod.start_sidecar(*until(pod, 1, 2), *RUN, f"touch {tmp_path}/up; exec sleep 1000").wait_until_ready()
    wait_until((tmp_path / "up").exists)
    pod.leave_done(1, PASSED)
    with pytest.raises(subprocess.TimeoutExpired):
        side.process.wait(0.4)
    pod.leave_done(2, PASSED)
    side.wait()
    assert report(side) == STOPPED
    assert side.message["startedAt"] <= side.message["finishedAt"]
    assert (side.errors, "signal" in side.message) == (b"", False)


@pytest.mark.parametrize("content", ['{"state":"Failed","exitCode":3}', '{"state":"Skipped","exitCode":1}', "nonsense"])
def test_it_ends_when_no_more_step_will_run(pod, content):
    side = pod.start_sidecar(*until(pod, 1, 2, 3), "--command", "sleep", "1000").wait_until_ready()
    pod.leave_done(1, content)
    side.wait()
    assert report(side) == STOPPED


def test_a_failure_that_is_continued_is_not_the_end(pod):
    side = pod.start_sidecar(*until(pod, 1, 2), "--command", "sleep", "1000").wait_until_ready()
    pod.leave_done(1, '{"state":"Failed","exitCode":3,"continued":1}')
    with pytest.raises(subprocess.TimeoutExpired):
        side.process.wait(0.4)
    pod.leave_done(2, '{"state":"Failed","exitCode":3,"continued":1}')
    side.wait()
    assert report(side) == STOPPED


def test_the_quit_order_ends_it(pod):
    pod.order("0")
    side = pod.start_sidecar("--wait", pod.order_file, *until(pod, 1), "--command", "sleep", "1000").wait_until_ready()
    pod.order("1")
    pod.order("-1")
    side.wait()
    assert report(side) == STOPPED


def test_beside_real_steps(pod):
    side = pod.start_sidecar(*until(pod, 1, 2), "--command", "sleep", "1000")
    second = pod.start(2, *pod.after(1), "--command", "true")
    first = pod.start(1, *pod.beside("sidecar"), "--command", "true")
    assert [step.wait() for step in (first, second, side)] == [0, 0, 0]
    assert report(side) == STOPPED
    assert side.state == "Succeeded"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (["sh", "-c", "exit 3"], "exit code 3"),
        (["no-such-program"], "exit code 127, CommandNotFound: cannot run 'no-such-program': "),
    ],
)
@pytest.mark.parametrize("order", ["", "0"])
def test_no_step_runs_once_it_has_failed(pod, tmp_path, line, cause, order):
    side = pod.start_sidecar(*until(pod, 1, 2), "--command", *line)
    side.wait()
    flags = []
    if order:
        pod.order(order)
        flags = pod.wait_for_order("1")
    second = pod.start(2, *pod.after(1), "--command", "touch", tmp_path / "ran")
    first = pod.start(1, *flags, *pod.beside("sidecar"), "--command", "touch", tmp_path / "ran")
    assert [step.wait() for step in (first, second)] == [1, 1]
    assert (report(first)[:2], first.message["sidecar"]) == (("Skipped", "SidecarFailed"), "sidecar")
    assert str(first.message["message"]).startswith(f'sidecar "sidecar" ended before the first step began: {cause}')
    assert report(second)[:2] == ("Skipped", "Skipped")
    assert not (tmp_path / "ran").exists()


def test_a_first_step_that_waits_sees_it_fail(pod, tmp_path):
    flags = [*pod.beside("sidecar"), "--await", str(tmp_path / "nobody")]
    first = pod.start(1, *flags, "--command", "true").wait_until_ready()
    pod.start_sidecar("--command", "sh", "-c", "exit 3").wait()
    assert first.wait() == 1
    assert report(first)[:2] == ("Skipped", "SidecarFailed")


def test_once_a_step_has_begun_it_may_be_started_again_and_hold_nothing_up(pod, tmp_path, wait_until):
    side = pod.start_sidecar("--command", "sh", "-c", f"until test -e {tmp_path}/up; do sleep 0.01; done; exit 3")
    second = pod.start(2, *pod.after(1), "--command", "true")
    line = f"touch {tmp_path}/up; until test -e {tmp_path}/go; do sleep 0.01; done"
    first = pod.start(1, *pod.beside("sidecar"), *RUN, line)
    assert side.wait() == 3
    again = pod.start_sidecar(*RUN, f"touch {tmp_path}/again; exec sleep 1000")
    wait_until((tmp_path / "again").exists)
    assert first.process.poll() is None
    (tmp_path / "go").touch()
    assert [first.wait(), second.wait()] == [0, 0]
    # The kubelet stops it.
    again.process.terminate()
    assert again.wait() == 128 + signal.SIGTERM
    assert json.loads((again.directory / "done").read_bytes())["exitCode"] == 3


@pytest.mark.parametrize("begins", [True, False])
def test_one_that_fails_may_stay_until_the_first_step_has_begun(pod, begins):
    begun = pod.run_directory(1) / "begun"
    side = pod.start_sidecar("--hold", begun, "--command", "sh", "-c", "echo words; exit 3")
    with pytest.raises(subprocess.TimeoutExpired):
        side.process.wait(0.4)
    if begins:
        # It looks once the failure can be seen: one of the two sees the other.
        begun.touch()
    else:
        first = pod.start(1, *pod.beside("sidecar"), "--begun", begun, "--command", "true")
        assert (first.wait(), begun.exists()) == (1, False)
        side.process.terminate()
    side.wait()
    assert (report(side), side.output) == (("Failed", "Error", 3, 3), b"words\n")


def test_one_that_was_killed_with_its_agent_has_failed_when_it_is_started_again(pod, tmp_path):
    side = pod.start_sidecar(*RUN, "exec sleep 1").wait_until_ready()
    side.process.kill()
    side.wait()
    (side.directory / "termination-log").write_text("")
    again = pod.start_sidecar(*RUN, "true")
    assert again.wait() == 0
    first = pod.start(1, *pod.beside("sidecar"), "--command", "touch", tmp_path / "ran")
    assert first.wait() == 1
    assert "exit code 137, Killed" in str(first.message["message"])


def test_one_that_has_ended_well_lets_the_first_step_begin(pod):
    pod.start_sidecar("--command", "true").wait()
    assert pod.start(1, *pod.beside("sidecar"), "--command", "true").wait() == 0


def test_it_may_clean_up(pod, tmp_path, wait_until):
    command = f"trap 'echo bye; exit 7' TERM; touch {tmp_path}/up; while :; do sleep 0.01; done"
    side = pod.start_sidecar("--grace", "1000", *until(pod, 1), *RUN, command)
    wait_until((tmp_path / "up").exists)
    pod.leave_done(1, PASSED)
    side.wait()
    assert (side.output, report(side)) == (b"bye\n", STOPPED)


def test_one_that_ignores_sigterm_is_killed(pod, tmp_path, wait_until):
    command = f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 0.01; done"
    side = pod.start_sidecar("--grace", "0.1", *until(pod, 1), *RUN, command)
    wait_until((tmp_path / "up").exists)
    pod.leave_done(1, PASSED)
    side.wait()
    assert report(side) == STOPPED


@pytest.mark.parametrize(("code", "state", "reason"), [(0, "Succeeded", "Completed"), (4, "Failed", "Error")])
def test_its_own_end_is_reported_as_a_steps(pod, code, state, reason):
    side = pod.start_sidecar(*until(pod, 1), *RUN, f"exit {code}")
    side.wait()
    assert report(side) == side.ending == (state, reason, code, code)
    assert (side.directory / "ready").exists()


def test_one_that_has_ended_well_may_stay_until_it_is_told_to_end(pod):
    side = pod.start_sidecar("--on-success", "stay", *RUN, "echo done")
    assert side.process.stdout.readline() == b"done\n"
    with pytest.raises(subprocess.TimeoutExpired):
        side.process.wait(0.4)
    side.process.terminate()
    side.wait()
    assert report(side) == ("Succeeded", "Completed", 0, 0)


def test_one_that_fails_does_not_stay(pod):
    side = pod.start_sidecar("--on-success", "stay", *RUN, "exit 4")
    side.wait()
    assert report(side) == ("Failed", "Error", 4, 4)


def test_a_signal_is_passed_on(pod, tmp_path, wait_until):
    side = pod.start_sidecar(*until(pod, 1), *RUN, f"touch {tmp_path}/up; exec sleep 1000")
    wait_until((tmp_path / "up").exists)
    side.process.terminate()
    side.wait()
    assert report(side) == ("Failed", "Signal", 128 + signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "reason", "code"),
    [
        (["--command", "no-such-program"], "CommandNotFound", 127),
        (["--command", "/etc/passwd"], "NotExecutable", 126),
        (["--encodefile", "/nowhere", "--script-dir", "/tmp"], "ScriptError", 1),
        (["--out", "/nowhere/out", "--command", "true"], "OutputError", 1),
        (["--retries", "1", "--command", "true"], "BadFlags", 2),
        (["--env", "A=b", "--command", "true"], "BadFlags", 2),
        ([], "BadFlags", 2),
    ],
)
def test_nobody_waits_for_one_that_cannot_start(pod, arguments, reason, code):
    side = pod.start_sidecar(*arguments)
    side.wait()
    assert report(side) == side.ending == ("Failed", reason, code, code)
    assert not (side.directory / "ready").exists()
    assert side.errors.count(b"\n") == 1


def test_ready_means_that_it_has_started(pod, tmp_path):
    """Its process is the program already, and no copy of the agent."""
    side = pod.start_sidecar("--command", "sleep", "1000").wait_until_ready()
    with open(f"/proc/{side.process.pid}/task/{side.process.pid}/children", encoding="utf-8") as children:
        (child,) = children.read().split()
    assert os.path.basename(os.readlink(f"/proc/{child}/exe")) != os.path.basename(pod.agent)
    side.process.terminate()
    assert side.wait() == 128 + signal.SIGTERM


def test_a_ready_file_that_cannot_be_written_ends_it(agent, tmp_path):
    log = tmp_path / "log"
    log.touch()
    words = [agent, "sidecar", "--termination-log", log, "--ready", tmp_path / "missing/ready"]
    finished = subprocess.run([*words, "--command", "sleep", "1000"], capture_output=True, check=False, timeout=60)
    assert finished.returncode == 1
    assert b"--ready" in finished.stderr
    assert json.loads(log.read_bytes())["reason"] == "Error"


def test_steps_that_are_over_already(pod):
    pod.leave_done(1, PASSED)
    side = pod.start_sidecar(*until(pod, 1), "--command", "sleep", "1000")
    side.wait()
    assert report(side) == STOPPED


def test_a_pipe_in_place_of_a_done_file(pod):
    os.mkfifo(pod.run_directory(1) / "done")
    side = pod.start_sidecar(*until(pod, 1, 2), "--command", "sleep", "1000")
    side.wait()
    assert report(side) == STOPPED


def test_a_script(pod, tmp_path):
    (tmp_path / "script").write_bytes(base64.b64encode(gzip.compress(b'echo "$1"; exec sleep 1000')))
    script = ["--encodefile", tmp_path / "script", "--script-dir", pod.run_directory("sidecar")]
    side = pod.start_sidecar(*until(pod, 1), "--out", tmp_path / "out", *script, "--", "argument")
    side.wait_until_ready()
    while not (tmp_path / "out").read_bytes():
        pass
    pod.leave_done(1, PASSED)
    side.wait()
    assert report(side) == STOPPED
    assert (tmp_path / "out").read_bytes() == b"argument\n"


def test_its_own_message_is_kept(pod, tmp_path, wait_until):
    log = pod.run_directory("sidecar") / "termination-log"
    side = pod.start_sidecar(*until(pod, 1), *RUN, f"echo words > {log}; touch {tmp_path}/up; exec sleep 1000")
    wait_until((tmp_path / "up").exists)
    pod.leave_done(1, PASSED)
    side.wait()
    assert side.message["message"] == "words\n"


def test_as_pid_1_it_buries_the_dead(pod, pid_namespace, wait_until, tmp_path):
    command = f"(true &); (true &); touch {tmp_path}/up; exec sleep 1000"
    side = pod.start_sidecar(*until(pod, 1), *RUN, command, prefix=pid_namespace)
    wait_until((tmp_path / "up").exists)
    with open(f"/proc/{side.process.pid}/task/{side.process.pid}/children", encoding="utf-8") as children:
        (agent,) = children.read().split()

    def only_the_command():
        with open(f"/proc/{agent}/task/{agent}/children", encoding="utf-8") as children:
            return len(children.read().split()) == 1

    wait_until(only_the_command)
    pod.leave_done(1, PASSED)
    side.wait()
    assert report(side) == STOPPED
