"""A failed command is run again."""

import os
import signal
import sys

import pytest


def counting(path, code="exit 3"):
    """A command that counts its tries."""
    return ["--command", "sh", "-c", f"echo x >> {path}; tries=$(wc -l < {path}); {code}"]


def tries(path):
    return len(path.read_text().split())


def test_until_it_succeeds(pod, tmp_path):
    step = pod.run("--retries", "5", *counting(tmp_path / "n", "[ $tries = 3 ] || exit 2"))
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    assert (step.message["retries"], tries(tmp_path / "n")) == (2, 3)
    assert step.errors.splitlines() == [
        b"taskflow-agent: try 1 of 6 failed (exit code 2), trying again",
        b"taskflow-agent: try 2 of 6 failed (exit code 2), trying again",
    ]


def test_until_no_try_is_left(pod, tmp_path):
    step = pod.run("--retries", "2", *counting(tmp_path / "n", "exit $tries"))
    assert step.ending == ("Failed", "Error", 3, 3)
    assert (step.message["retries"], tries(tmp_path / "n")) == (2, 3)


def test_without_a_failure_nothing_is_told(pod, tmp_path):
    step = pod.run("--retries", "2", *counting(tmp_path / "n", "exit 0"))
    assert "retries" not in step.done
    assert (tries(tmp_path / "n"), step.errors) == (1, b"")


def test_death_by_a_signal_of_its_own_is_a_failure_like_others(pod, tmp_path):
    step = pod.run("--retries", "1", *counting(tmp_path / "n", "kill -KILL $$"))
    assert step.ending == ("Failed", "Signal", 137, 137)
    assert tries(tmp_path / "n") == 2


def test_the_times_enclose_all_tries(pod):
    now = "date -u +%Y-%m-%dT%H:%M:%S.%3NZ; sleep 0.02; exit 1"
    step = pod.run("--retries", "2", "--command", "sh", "-c", now)
    first, _second, third = step.output.decode().split()
    assert step.message["startedAt"] <= first < third <= step.message["finishedAt"]


@pytest.mark.parametrize(
    ("command", "reason"), [("no-such-program", "CommandNotFound"), ("/etc/passwd", "NotExecutable")]
)
def test_what_cannot_be_run_is_not_tried_again(pod, command, reason):
    step = pod.run("--retries", "5", "--command", command)
    assert (step.message["reason"], step.errors.count(b"\n")) == (reason, 1)
    assert "retries" not in step.message


def test_a_script_that_cannot_be_unpacked_is_not_tried_again(pod, tmp_path):
    step = pod.run("--retries", "5", "--encodefile", tmp_path / "nowhere", "--script-dir", tmp_path)
    assert (step.message["reason"], step.errors.count(b"\n")) == ("ScriptError", 1)


def test_a_program_that_is_gone_after_the_first_try(pod, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\nrm {program}\nexit 9\n")
    program.chmod(0o755)
    step = pod.run("--retries", "5", "--command", program)
    assert step.ending == ("Failed", "CommandNotFound", 127, 127)
    assert step.message["retries"] == 1
    assert step.message["startedAt"] <= step.message["finishedAt"]


def test_a_cancelled_command_is_not_run_again(pod, tmp_path, wait_until):
    pod.order("1")
    step = pod.start(1, *pod.wait_for_order("1"), "--retries", "5", *counting(tmp_path / "n", "sleep 1000"))
    wait_until((tmp_path / "n").exists)
    pod.order("-1")
    step.wait()
    assert (step.state, tries(tmp_path / "n")) == ("Cancelled", 1)


def test_nor_is_one_that_fails_before_the_quit_order_is_noticed(pod, tmp_path):
    """Written in place, the order wakes nobody up."""
    pod.order("1")
    quit_order = f"echo -1 > {pod.order_file}; exit 6"
    step = pod.run(*pod.wait_for_order("1"), "--retries", "5", *counting(tmp_path / "n", quit_order))
    assert step.ending == ("Failed", "Error", 6, 6)
    assert tries(tmp_path / "n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_from_outside_is_the_end_of_all_tries(pod, tmp_path, wait_until, number):
    running = f"trap 'exit 4' {int(number)}; touch {tmp_path}/up; while :; do sleep 0.01; done"
    step = pod.start(1, "--retries", "5", *counting(tmp_path / "n", running))
    wait_until((tmp_path / "up").exists)
    step.process.send_signal(number)
    step.wait()
    assert step.ending == ("Failed", "Error", 4, 4)
    assert tries(tmp_path / "n") == 1


def test_a_harmless_one_is_not(pod, tmp_path, wait_until):
    running = f"touch {tmp_path}/up; while ! [ -e {tmp_path}/go ]; do sleep 0.01; done; exit 4"
    step = pod.start(1, "--retries", "1", *counting(tmp_path / "n", running))
    wait_until((tmp_path / "up").exists)
    step.process.send_signal(signal.SIGWINCH)
    (tmp_path / "go").touch()
    step.wait()
    assert tries(tmp_path / "n") == 2


def test_whenever_the_signal_comes_no_try_is_begun_after_it(pod, tmp_path, wait_until):
    """Between two tries as well: with a command this short it often hits there."""
    for attempt in range(20):
        path = tmp_path / f"n{attempt}"
        step = pod.start(attempt, "--retries", "100", "--timeout", "60", *counting(path, "sleep 0.002; exit 1"))
        wait_until(lambda path=path: path.exists() and tries(path) > 2)
        step.process.terminate()
        step.wait()
        assert step.message.get("retries", 0) < 100
        assert step.state == "Failed"


def test_what_a_failed_try_leaves_counts_for_nothing(pod, tmp_path):
    log, results = pod.run_directory(1) / "termination-log", tmp_path / "results"
    command = f"""
        if [ $tries = 1 ]; then
            printf 'a long message of the first try' > {log}
            echo old > {results}/old
            mkdir -p {results}/both/full
            exit 1
        fi
        echo new > {results}/both
        cat {log}
    """
    flags = ["--retries", "1", "--results-dir", results, "--result", "old", "--result", "both"]
    step = pod.run(*flags, *counting(tmp_path / "n", command))
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    assert step.output == b""
    assert "message" not in step.message
    assert step.done["result.both"] == "new"
    assert "result.old" not in step.done


def test_a_failed_try_ends_with_all_of_its_processes(pod, tmp_path, pid_namespace):
    """As PID 1 the agent reaches also those that have left the group; the more memory, the slower they die."""
    lock = tmp_path / "lock"
    large = f"import time; data = b'x' * (1 << 27); open('{tmp_path}/up', 'w'); time.sleep(1000)"
    command = f"""
        exec 9>> {lock}; flock --nonblock 9 || exit 77
        setsid {sys.executable} -c "{large}" > /dev/null 2>&1 &
        while ! [ -e {tmp_path}/up ]; do sleep 0.01; done
        rm {tmp_path}/up
        exit 5
    """
    step = pod.run("--retries", "2", *counting(tmp_path / "n", command), prefix=pid_namespace)
    assert step.ending == ("Failed", "Error", 5, 5)
    assert tries(tmp_path / "n") == 3
    assert b"exit code 77" not in step.errors


def test_descriptors_do_not_pile_up(pod, tmp_path):
    command = f"ls /proc/$PPID/fd | wc -l >> {tmp_path}/counts; exit 1"
    pod.run("--retries", "5", "--out", os.devnull, "--command", "sh", "-c", command)
    counts = [int(count) for count in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 6
    # The pipe that tells whether the command could be started may not be closed yet.
    assert max(counts) - min(counts) <= 1
