"""The whole agent without its C helper: any Python runs it, and polling replaces inotify."""

import ast
import json
import pathlib
import signal
import time

import pytest

SOURCE = pathlib.Path(__file__).parents[3] / "roles/taskflow_agent/files/agent/taskflow_agent"
CHEAP_BUILTINS = {"_signal", "_tfsys", "binascii", "fcntl", "posix", "time", "zlib"}


def eventually(condition):
    """Wait until it holds; the limit only ends a test that has failed."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.005)


def imported_modules(path):
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body.clear()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda path: path.stem)
def test_only_cheap_builtin_modules_are_imported(path):
    allowed = {"os", "sys"} if path.stem == "__main__" else CHEAP_BUILTINS
    assert set(imported_modules(path)) <= allowed


def test_version(agent):
    process = agent.start("--version")
    output, errors = process.communicate(timeout=60)
    assert output.startswith(b"taskflow-agent ")
    assert (process.returncode, errors) == (0, b"")


def test_a_command_and_its_report(agent):
    code, output, errors = agent.run_step("--command", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, output, errors) == (3, b"out\n", b"err\n")
    assert (agent.message["state"], agent.message["exitCode"]) == ("Failed", 3)


def test_wrong_flags_are_reported_everywhere(agent, tmp_path):
    code, output, errors = agent.run_step("--done", str(tmp_path / "done"), "--nope", "x")
    assert (code, output) == (2, b"")
    assert errors == b"taskflow-agent: unknown flag '--nope'\n"
    assert agent.message["reason"] == "BadFlags"
    assert json.loads((tmp_path / "done").read_bytes())["state"] == "Failed"


def test_a_step_waits_for_the_one_before(agent, tmp_path):
    done, ready = tmp_path / "done", tmp_path / "ready"
    process = agent.step("--ready", str(ready), "--after", str(done), "--command", "test", "-e", str(done))
    eventually(ready.exists)
    assert process.poll() is None
    (tmp_path / "done.tmp").write_text('{"state": "Succeeded", "exitCode": 0}')
    (tmp_path / "done.tmp").rename(done)
    assert process.wait(60) == 0


def test_cancelling_a_waiting_step(agent, tmp_path):
    order, ready = tmp_path / "order", tmp_path / "ready"
    order.write_text("0")
    process = agent.step(
        "--ready",
        str(ready),
        "--wait",
        str(order),
        "--waitcontent",
        "1",
        "--command",
        "touch",
        str(tmp_path / "ran"),
    )
    eventually(ready.exists)
    order.write_text("-1\n")
    assert process.wait(60) == 1
    assert agent.message["state"] == "Cancelled"
    assert not (tmp_path / "ran").exists()


def test_cancelling_a_running_command(agent, tmp_path):
    order, running = tmp_path / "order", tmp_path / "running"
    order.write_text("1")
    process = agent.step("--wait", str(order), "--command", "sh", "-c", f"touch {running}; sleep 1000; :")
    eventually(running.exists)
    order.write_text("-1")
    assert process.wait(60) == 128 + signal.SIGTERM
    assert (agent.message["state"], agent.message["signal"]) == ("Cancelled", signal.SIGTERM)


def sidecar(agent, *words):
    log = ("--termination-log", str(agent.termination_log))
    return agent.start("sidecar", *marks(agent), *log, "--on-success", "stay", "--command", "sh", "-c", *words)


def marks(agent):
    return "--ready", str(agent.directory / "ready"), "--done", str(agent.directory / "done")


def marks_of(agent):
    """Whether it says that it was started, and how it has ended."""
    done = agent.directory / "done"
    return (agent.directory / "ready").exists(), json.loads(done.read_bytes()) if done.exists() else None


def test_a_sidecar_that_has_ended_well_stays_until_it_is_told_to_end(agent):
    process = sidecar(agent, "echo done")
    assert process.stdout.readline() == b"done\n"
    time.sleep(0.3)
    assert process.poll() is None
    ready, done = marks_of(agent)
    assert (ready, done["state"], done["exitCode"]) == (True, "Succeeded", 0)
    process.send_signal(signal.SIGWINCH)
    time.sleep(0.1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(60) == 0
    assert (agent.message["state"], agent.message["reason"]) == ("Succeeded", "Completed")


def test_a_sidecar_that_fails_does_not_stay(agent):
    assert sidecar(agent, f"echo words > {agent.termination_log}; exit 3").wait(60) == 3
    assert (agent.message["state"], agent.message["exitCode"]) == ("Failed", 3)
    ready, done = marks_of(agent)
    assert (ready, done["state"], done["exitCode"], done["message"]) == (True, "Failed", 3, "words\n")


@pytest.mark.parametrize("line", [["sh", "-c", "exit 3"], ["no-such-program"]])
@pytest.mark.parametrize("begins", [True, False])
def test_a_sidecar_that_fails_stays_until_it_is_known_whether_a_step_has_begun(agent, line, begins):
    begun, log = agent.directory / "begun", ("--termination-log", str(agent.termination_log))
    process = agent.start("sidecar", *marks(agent), *log, "--hold", str(begun), "--command", *line)
    eventually(lambda: marks_of(agent)[1] is not None)
    time.sleep(0.3)
    assert process.poll() is None
    if begins:
        begun.touch()
    else:
        process.terminate()
    code = 3 if line[0] == "sh" else 127
    assert process.wait(60) == agent.message["exitCode"] == marks_of(agent)[1]["exitCode"] == code


def test_a_sidecar_that_was_told_to_end_holds_nothing_up(agent):
    hold = ("--hold", str(agent.directory / "begun"))
    process = agent.start("sidecar", *marks(agent), *hold, "--command", "sh", "-c", "echo up; exec sleep 1000")
    assert process.stdout.readline() == b"up\n"
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM


def test_a_sidecar_does_not_stay_for_ever_for_a_step_that_does_not_come(monkeypatch, tmp_path):
    from taskflow_agent import sidecar

    monkeypatch.setattr(sidecar, "HOLD_LIMIT", 0.05)
    options = sidecar.StepOptions()
    options.hold = str(tmp_path / "begun")
    sidecar.linger(options, sidecar.Outcome("Failed", 3, "Error"))
    options.hold = "/etc/passwd/begun"
    sidecar.linger(options, sidecar.Outcome("Failed", 3, "Error"))


def test_a_sidecar_that_cannot_start_says_only_how_it_has_ended(agent):
    log = ("--termination-log", str(agent.termination_log))
    assert agent.start("sidecar", *marks(agent), *log, "--command", "no-such-program").wait(60) == 127
    ready, done = marks_of(agent)
    assert (ready, done["reason"]) == (False, "CommandNotFound")
    assert "no-such-program" in done["message"]


def test_a_sidecar_that_is_started_again_keeps_its_first_failure(agent):
    assert sidecar(agent, "exit 3").wait(60) == 3
    assert sidecar(agent, "exit 4").wait(60) == 4
    assert (agent.message["exitCode"], marks_of(agent)[1]["exitCode"]) == (4, 3)
    # It runs all the same.
    process = sidecar(agent, "echo up; exec sleep 1000")
    assert process.stdout.readline() == b"up\n"
    assert marks_of(agent)[1]["exitCode"] == 3
    process.terminate()
    assert process.wait(60) == 128 + signal.SIGTERM


def test_a_sidecar_that_is_started_again_after_a_success_may_fail_yet(agent):
    process = sidecar(agent, "exit 0")
    eventually(lambda: marks_of(agent)[1] is not None)
    process.terminate()
    assert (process.wait(60), marks_of(agent)[1]["exitCode"]) == (0, 0)
    assert sidecar(agent, "exit 4").wait(60) == 4
    assert marks_of(agent)[1]["exitCode"] == 4


def test_a_sidecar_that_was_killed_with_its_agent_has_failed(agent):
    process = sidecar(agent, "exec sleep 5")
    eventually(lambda: marks_of(agent)[0])
    process.kill()
    process.wait(60)
    assert marks_of(agent) == (True, None)
    again = sidecar(agent, "echo up; exec sleep 1000")
    assert again.stdout.readline() == b"up\n"
    again.terminate()
    assert again.wait(60) == 128 + signal.SIGTERM
    done = marks_of(agent)[1]
    assert (done["state"], done["exitCode"], done["reason"]) == ("Failed", 137, "Killed")


def test_a_former_end_of_a_sidecar_that_cannot_be_read_fails_it(agent):
    (agent.directory / "done").mkdir()
    assert sidecar(agent, "exec sleep 1000").wait(60) == 1
    assert agent.message["state"] == "Failed"


@pytest.mark.parametrize("handoff", [(), ("--waitcontent", "1")])
def test_a_first_step_does_not_begin_once_a_sidecar_has_failed(agent, tmp_path, handoff):
    order, web, other = tmp_path / "order", tmp_path / "web", tmp_path / "other"
    order.write_text("0")
    words = [word for path in (web, other) for word in ("--await", f"{path}.ready")]
    words += ["--sidecar", f"other={other}.done", "--sidecar", f"web={web}.done"]
    flags = ("--wait", str(order), *handoff, "--ready", str(tmp_path / "ready"), "--done", str(tmp_path / "done"))
    flags += ("--begun", str(tmp_path / "begun"))
    process = agent.step(*flags, *words, "--command", "touch", str(tmp_path / "ran"))
    eventually((tmp_path / "ready").exists)
    assert process.poll() is None
    done = '{"state":"Failed","exitCode":127,"reason":"CommandNotFound","message":"cannot run it"}'
    (tmp_path / "web.tmp").write_text(done)
    (tmp_path / "web.tmp").rename(tmp_path / "web.done")
    assert process.wait(60) == 1
    words = 'sidecar "web" ended before the first step began: exit code 127, CommandNotFound: cannot run it'
    expected = {"state": "Skipped", "exitCode": 1, "reason": "SidecarFailed", "sidecar": "web", "message": words}
    assert agent.message == expected
    assert json.loads((tmp_path / "done").read_bytes()) == expected
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "begun").exists()


@pytest.mark.parametrize("done", [None, '{"state":"Succeeded","exitCode":0}'])
def test_a_first_step_begins_when_its_sidecars_run_or_have_ended_well(agent, tmp_path, done):
    if done:
        (tmp_path / "web.done").write_text(done)
    flags = ("--await", str(tmp_path / "web.ready"), "--sidecar", f"web={tmp_path}/web.done")
    process = agent.step(*flags, "--ready", str(tmp_path / "ready"), "--command", "true")
    eventually((tmp_path / "ready").exists)
    assert process.poll() is None
    (tmp_path / "web.tmp").touch()
    (tmp_path / "web.tmp").rename(tmp_path / "web.ready")
    assert process.wait(60) == 0


def test_what_happens_to_a_sidecar_after_the_first_step_has_begun_is_no_matter(agent, tmp_path):
    (tmp_path / "web.ready").touch()
    flags = ("--await", str(tmp_path / "web.ready"), "--sidecar", f"web={tmp_path}/web.done")
    flags += ("--wait", str(tmp_path / "order"), "--begun", str(tmp_path / "begun"))
    process = agent.step(
        *flags, "--command", "sh", "-c", f"touch {tmp_path}/up; until test -e {tmp_path}/go; do :; done"
    )
    eventually((tmp_path / "up").exists)
    assert (tmp_path / "begun").exists()
    (tmp_path / "web.done").write_text('{"state":"Failed","exitCode":3}')
    time.sleep(0.4)
    assert process.poll() is None
    (tmp_path / "go").touch()
    assert process.wait(60) == 0


def test_a_sidecar_that_was_told_to_end_does_not_stay(agent, tmp_path):
    up = tmp_path / "up"
    process = sidecar(agent, f"trap 'exit 0' TERM; touch {up}; while :; do sleep 0.01; done")
    eventually(up.exists)
    process.terminate()
    assert process.wait(60) == 0


def test_a_done_file_that_cannot_be_written_fails_the_step(agent, tmp_path):
    code, _output, errors = agent.run_step("--done", str(tmp_path / "missing/done"), "--command", "true")
    assert code == 1
    assert b"--done" in errors
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "DoneFileError")


def test_whatever_nobody_thought_of_ends_in_a_report(agent, monkeypatch, tmp_path):
    from taskflow_agent import step

    def fail(*_arguments):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(step, "Dispositions", lambda: None)
    monkeypatch.setattr(step, "wait_and_run", fail)
    log, done = str(agent.termination_log), tmp_path / "done"
    assert step.run_step(["--termination-log", log, "--done", str(done), "--command", "true"]) == 1
    assert agent.message["reason"] == "InternalError"
    assert json.loads(done.read_bytes())["state"] == "Failed"
