"""Log lines made of events, and that what no_log hides is nowhere: with real playbooks."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskflow_controller.config.playbooks import Command
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.log_events import EventLog
from taskflow_controller.runs.runner import AnsibleRunner, Runner, RunRequest, RunResult
from taskflow_controller.runs.warm.starter import WarmStarter
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.serve import logs

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
KEY = ResourceKey(WIDGET, "ns", "w")
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
"""
TASKS = """
    - {name: Same, ansible.builtin.command: "true", changed_when: false}
    - {name: New, ansible.builtin.command: "true"}
    - {name: Say, ansible.builtin.debug: {msg: "hello {{ ansible_operator_meta.name }}"}}
    - {name: Not now, ansible.builtin.command: "true", when: false}
    - {name: Ignored, ansible.builtin.fail: {msg: whatever}, ignore_errors: true}
    - {name: Broken, ansible.builtin.fail: {msg: it broke}}
"""
SECRET = "qx7-very-secret-93"
HIDDEN = """
    - {name: Given, ansible.builtin.command: "echo {{ password }}", no_log: true, register: said}
    - {name: Kept, ansible.builtin.set_fact: {fact: "{{ said.stdout }}"}, no_log: true}
    - {name: Loop, ansible.builtin.command: "echo {{ item }}", loop: ["{{ password }}", b], no_log: true}
    - name: Failing ones
      block:
        - {name: Fail, ansible.builtin.fail: {msg: "it is {{ password }}"}, no_log: true}
      rescue:
        - name: Fail in a loop
          ansible.builtin.command: "sh -c 'echo {{ item }} >&2; exit 3'"
          loop: ["{{ password }}"]
          no_log: true
          ignore_errors: true
    - {name: Crash, ansible.builtin.file: {path: "{{ password }}/{{ password }}", state: nonsense}, no_log: true}
"""


@pytest.fixture(params=["cold", "warm"])
def way(request: pytest.FixtureRequest) -> str:
    """Either way to run a playbook."""
    return str(request.param)


@pytest.fixture
def runner(way: str, tmp_path: Path) -> Iterator[Runner]:
    if way == "cold":
        yield AnsibleRunner()
        return
    warm = WarmStarter([Command(str(tmp_path / "play.yml"))])
    yield AnsibleRunner(warm)
    assert warm.problem() is None
    warm.stop()


@pytest.fixture
def run(tmp_path: Path, way: str, runner: Runner) -> Callable[..., RunResult]:
    """Run a playbook of these tasks for a Widget whose spec has a password; its events go to the log."""
    directory = Workspaces(tmp_path / "runner").prepare(KEY)

    def run_(tasks: str, level: str, *, output: bool = False, **request: Any) -> RunResult:
        (tmp_path / "play.yml").write_text(PLAY + tasks)
        events = EventLog(level, str(KEY), output=output)
        variables = {"ansible_operator_meta": {"name": "w", "namespace": "ns"}, "password": SECRET}
        result = runner.run(
            RunRequest(directory, variables, Command(str(tmp_path / "play.yml")), on_event=events.handle, **request)
        )
        events.end()
        assert result.warm is (way == "warm")
        return result

    return run_


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """The log records that came of events."""
    caplog.set_level(logging.INFO)
    return lambda: [record for record in caplog.records if record.name == "taskflow_controller.runs.log_events"]


def test_a_line_for_each_task(run: Callable[..., RunResult], lines: Callable[[], list[Any]]) -> None:
    run(TASKS, "tasks")
    assert [(line.msg, line.task, getattr(line, "result", "")) for line in lines()] == [
        ("task ok", "Same", ""),
        ("task changed", "New", ""),
        ("task ok", "Say", "hello w"),
        ("task skipped", "Not now", ""),
        ("task failed, ignored", "Ignored", "whatever"),
        ("task failed", "Broken", "it broke"),
    ]
    assert {(line.resource, line.host) for line in lines()} == {("Widget ns/w", "localhost")}
    assert [line.levelname for line in lines()] == ["INFO"] * 5 + ["WARNING"]
    assert lines()[1].action == "ansible.builtin.command" and lines()[1].duration > 0


def test_nothing_everything_and_output(run: Callable[..., RunResult], lines: Callable[[], list[Any]]) -> None:
    run(TASKS, "nothing")
    assert lines() == []
    run(TASKS, "everything", output=True)
    *events, output = lines()
    assert {"playbook_on_start", "runner_on_start", "runner_on_ok", "playbook_on_stats"} <= {
        line.event for line in events
    }
    assert [line.data["res"]["msg"] for line in events if line.event == "runner_on_failed"] == ["whatever", "it broke"]
    assert output.msg == "output" and "TASK [Broken]" in output.output and "hello w" in output.output


def test_output_is_bounded(lines: Callable[[], list[Any]]) -> None:
    log = EventLog("nothing", "Widget ns/w", output=True)
    for _ in range(10):
        log.handle({"event": "verbose", "stdout": "x" * 100_000})
    log.end()
    assert len(lines()[0].output) < 300_000 and lines()[0].output.endswith("[cut after 262144 characters]")


@pytest.mark.parametrize("verbosity", [0, 3])
@pytest.mark.parametrize("level", ["tasks", "everything"])
def test_no_log_hides(
    run: Callable[..., RunResult], tmp_path: Path, capfd: pytest.CaptureFixture[str], verbosity: int, level: str
) -> None:
    """Neither in the log, nor in what the run returns, nor in a file that is left."""
    handlers, root_level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure("debug")
        result = run(HIDDEN, level, output=True, verbosity=verbosity)
    finally:
        logging.root.handlers[:], logging.root.level = handlers, root_level
    printed = "".join(capfd.readouterr())
    assert [failure.task for failure in result.failures] == ["Crash"] and result.counts.ok == 4
    assert "Fail in a loop" in printed and "Crash" in printed
    assert SECRET not in printed + repr(result)
    files = [file for file in (tmp_path / "runner").rglob("*") if file.is_file()]
    assert any(file.parent.name == "job_events" for file in files)
    assert [str(file) for file in files if SECRET.encode() in file.read_bytes()] == []


def test_arguments_reach_ansible(run: Callable[..., RunResult]) -> None:
    task = "\n    - {name: Given, ansible.builtin.assert: {that: word == 'two words'}}\n"
    assert run(task, "nothing", arguments="-e \"word='two words'\"").successful
    assert not run(task, "nothing", arguments="-e word=other").successful
