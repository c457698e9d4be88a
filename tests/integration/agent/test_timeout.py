"""A try that takes too long."""

import os
import signal
import time

import pytest

MESSAGE = "the command did not end within 0.2 s"


def test_it_is_ended(pod):
    step = pod.run("--timeout", "0.2", "--command", "sleep", "1000")
    assert step.ending == ("Failed", "TimedOut", 124, 124)
    assert step.message["message"] == MESSAGE
    assert step.message["startedAt"] < step.message["finishedAt"]
    assert step.errors == b""


def test_a_command_that_is_fast_enough(pod):
    step = pod.run("--timeout", "60", "--command", "true")
    assert step.ending == ("Succeeded", "Completed", 0, 0)


@pytest.mark.parametrize("code", [0, 7])
def test_what_it_says_when_it_is_ended_counts_for_nothing(pod, code):
    command = f"trap 'echo cleaned up; exit {code}' TERM; while :; do sleep 0.01; done"
    step = pod.run("--timeout", "0.2", "--grace", "1000", "--command", "sh", "-c", command)
    assert step.ending == ("Failed", "TimedOut", 124, 124)
    assert step.output == b"cleaned up\n"


def test_one_that_ignores_sigterm_is_killed_with_its_children(pod, tmp_path, wait_until):
    stubborn = f"trap '' TERM; sleep 1000 & echo $! > {tmp_path}/child; wait; wait; wait"
    step = pod.run("--timeout", "0.2", "--grace", "0.1", "--command", "sh", "-c", stubborn)
    assert step.ending == ("Failed", "TimedOut", 137, 137)
    child = (tmp_path / "child").read_text().strip()
    wait_until(lambda: not is_running(child))


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_as_pid_1_everything_is_killed(pod, pid_namespace):
    stubborn = "trap '' TERM; (trap '' TERM; setsid sleep 1000) & wait; wait; wait"
    step = pod.run("--timeout", "0.2", "--grace", "0.1", "--command", "sh", "-c", stubborn, prefix=pid_namespace)
    assert step.ending == ("Failed", "TimedOut", 137, 137)


def test_a_stopped_command_is_ended(pod):
    step = pod.run("--timeout", "0.2", "--grace", "1000", "--command", "sh", "-c", "kill -STOP $$")
    assert step.ending == ("Failed", "TimedOut", 124, 124)


def test_a_process_in_the_background_does_not_hold_it_up(pod, tmp_path, wait_until):
    """It has left the group and holds the output open: the agent waits for the command alone."""
    command = f"setsid sleep 1000 & echo $! > {tmp_path}/left; exec sleep 1000"
    step = pod.start(1, "--timeout", "0.2", "--command", "sh", "-c", command)
    assert step.process.wait(60) == 124
    left = int((tmp_path / "left").read_text())
    assert is_running(left)
    os.kill(left, signal.SIGKILL)
    step.wait()
    assert step.ending == ("Failed", "TimedOut", 124, 124)


def test_a_cancellation_that_came_first_wins(pod, tmp_path, wait_until):
    pod.order("1")
    command = (
        f"trap 'touch {tmp_path}/told' TERM; touch {tmp_path}/up; while ! [ -e {tmp_path}/go ]; do :; done; exit 5"
    )
    step = pod.start(1, *pod.wait_for_order("1"), "--timeout", "1", "--grace", "1000", "--command", "sh", "-c", command)
    wait_until((tmp_path / "up").exists)
    pod.order("-1")
    wait_until((tmp_path / "told").exists)
    time.sleep(1.1)
    (tmp_path / "go").touch()
    step.wait()
    assert step.ending == ("Cancelled", "Cancelled", 5, 5)


def test_one_that_came_later_does_not(pod, tmp_path, wait_until):
    pod.order("1")
    command = f"trap 'touch {tmp_path}/told' TERM; while ! [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 5"
    flags = [*pod.wait_for_order("1"), "--timeout", "0.2", "--grace", "1000", "--retries", "5"]
    step = pod.start(1, *flags, "--command", "sh", "-c", command)
    wait_until((tmp_path / "told").exists)
    pod.order("-1")
    (tmp_path / "go").touch()
    step.wait()
    assert step.ending == ("Failed", "TimedOut", 124, 124)
    assert "retries" not in step.message


def test_each_try_has_the_whole_time(pod, tmp_path):
    command = f"echo try >> {tmp_path}/tries; sleep 1000"
    step = pod.run("--timeout", "0.2", "--retries", "2", "--command", "sh", "-c", command)
    assert step.ending == ("Failed", "TimedOut", 124, 124)
    assert step.message["retries"] == 2
    assert (tmp_path / "tries").read_text().split() == ["try"] * 3
    assert b"try 2 of 3 failed (exit code 124), trying again" in step.errors


def test_waiting_for_its_turn_is_no_part_of_the_time(pod):
    step = pod.start(2, *pod.after(1), "--timeout", "0.5", "--command", "true").wait_until_ready()
    time.sleep(0.6)
    pod.succeed(1)
    step.wait()
    assert step.ending == ("Succeeded", "Completed", 0, 0)
