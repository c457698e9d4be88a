"""A failure that the later steps do not care about."""

import signal

import pytest

CONTINUE = ["--on-error", "continue"]


def test_the_failure_is_reported_and_the_exit_code_is_not(pod):
    step = pod.run(*CONTINUE, "--command", "sh", "-c", "exit 3")
    assert step.ending == ("Failed", "Error", 3, 0)
    assert step.message["continued"] == step.done["continued"] == 1


def test_the_next_step_runs(pod):
    second = pod.start(2, *pod.after(1), "--command", "echo", "ran").wait_until_ready()
    pod.run(*CONTINUE, "--command", "sh", "-c", "exit 3")
    assert (second.wait(), second.output, second.state) == (0, b"ran\n", "Succeeded")


def test_success_is_nothing_to_continue_after(pod):
    step = pod.run(*CONTINUE, "--command", "true")
    assert step.ending == ("Succeeded", "Completed", 0, 0)
    assert "continued" not in step.message


def test_stop_is_the_default(pod):
    step = pod.run("--on-error", "stop", "--command", "sh", "-c", "exit 3")
    assert step.ending == ("Failed", "Error", 3, 3)
    assert "continued" not in step.message


@pytest.mark.parametrize(
    ("arguments", "reason", "code"),
    [
        (["--timeout", "0.1", "--command", "sleep", "1000"], "TimedOut", 124),
        (["--retries", "1", "--command", "sh", "-c", "kill -9 $$"], "Signal", 137),
        (["--command", "no-such-program"], "CommandNotFound", 127),
        (["--command", "/etc/passwd"], "NotExecutable", 126),
        (["--encodefile", "/nowhere", "--script-dir", "/tmp"], "ScriptError", 1),
        (["--out", "/nowhere/out", "--command", "true"], "OutputError", 1),
        (["--fill", "m", "--command", "echo", "{m:a/x}"], "ResultMissing", 1),
        (["--results-dir", "/nowhere/results", "--command", "true"], "Error", 1),
    ],
)
def test_every_failure_of_the_open_gate(pod, arguments, reason, code):
    step = pod.run(*CONTINUE, *arguments)
    assert step.ending == ("Failed", reason, code, 0)
    assert step.done["continued"] == 1


@pytest.mark.parametrize(
    ("make", "reason"), [("mkfifo x", "BadResult"), ("head -c 5000 /dev/zero | tr '\\0' x > x", "ResultsTooLarge")]
)
def test_failures_of_results(pod, tmp_path, make, reason):
    results = tmp_path / "results"
    flags = [*CONTINUE, "--results-dir", results, "--result", "x"]
    step = pod.run(*flags, "--command", "sh", "-c", f"cd {results}; {make}")
    assert step.ending == ("Failed", reason, 1, 0)
    assert step.done["continued"] == 1


def test_wrong_flags_are_never_continued(pod):
    step = pod.run(*CONTINUE, "--grace", "soon", "--command", "true")
    assert step.ending == ("Failed", "BadFlags", 2, 2)
    assert "continued" not in step.message


def test_nor_is_an_error_before_the_gate_has_opened(pod, tmp_path):
    step = pod.run(*CONTINUE, "--wait", tmp_path, "--command", "true")
    assert step.ending == ("Failed", "Error", 1, 1)
    assert "continued" not in step.message


def test_nor_a_skipped_step(pod):
    pod.leave_done(1, '{"state":"Failed","exitCode":3}')
    step = pod.start(2, *pod.after(1), *CONTINUE, "--command", "true")
    step.wait()
    assert step.ending == ("Skipped", "Skipped", 1, 1)
    assert "continued" not in step.done


def test_nor_a_cancelled_one(pod, tmp_path, wait_until):
    pod.order("1")
    command = f"touch {tmp_path}/up; sleep 1000; :"
    step = pod.start(1, *pod.wait_for_order("1"), *CONTINUE, "--command", "sh", "-c", command)
    wait_until((tmp_path / "up").exists)
    pod.order("-1")
    step.wait()
    assert step.ending == ("Cancelled", "Cancelled", 143, 143)
    assert "continued" not in step.done


def test_nor_one_whose_done_file_cannot_be_written(pod):
    """The next step waits for that file: the operator has to see the failure."""
    run = pod.run_directory(1)
    step = pod.run(*CONTINUE, "--command", "sh", "-c", f"mkdir {run}/done; exit 5")
    assert step.process.returncode == 5
    assert (step.message["reason"], step.message.get("continued")) == ("DoneFileError", None)


@pytest.mark.parametrize("content", ['{"state":"Failed","continued":1}', '{"continued":1}', "not JSON", ""])
def test_a_done_file_that_makes_no_sense_lets_nobody_pass(pod, content):
    pod.leave_done(1, content)
    step = pod.start(2, *pod.after(1), "--command", "true")
    step.wait()
    assert step.ending == ("Failed", "BadDoneFile", 1, 1)


def test_a_step_that_a_signal_from_outside_ended_is_not_continued(pod, tmp_path, wait_until):
    step = pod.start(1, *CONTINUE, "--command", "sh", "-c", f"touch {tmp_path}/up; exec sleep 1000")
    wait_until((tmp_path / "up").exists)
    step.process.send_signal(signal.SIGTERM)
    assert step.wait() == 143
    assert (step.state, "continued" in step.done) == ("Failed", False)
