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
