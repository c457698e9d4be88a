"""ColdRunner with real playbooks: what a run's result says."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskflow_controller.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runner import ColdRunner, RunRequest, RunResult
from taskflow_controller.workspace import Workspaces

PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
"""
OK = """
    - ansible.builtin.command: echo {{ some.words }}
      register: said
    - ansible.builtin.assert:
        that:
          - said.stdout == 'two words'
          - large | length == 200000
          - lookup('env', 'FROM_US') == 'yes'
    - ansible.builtin.set_fact: {requeue_after: 42}
    - ansible.builtin.debug: {msg: "{{ requeue_after }}"}
"""
RESCUED_AND_IGNORED = """
    - block:
        - {name: Rescued, ansible.builtin.fail: {msg: rescued}}
      rescue:
        - ansible.builtin.debug: {msg: ok}
    - {name: Ignored, ansible.builtin.fail: {msg: ignored}, ignore_errors: true}
"""
FAILING = """
    - {name: Broken, ansible.builtin.fail: {msg: "it is {{ state }}"}}
"""
HIDDEN = """
    - {name: Hidden, ansible.builtin.fail: {msg: secret}, no_log: true}
"""
LOOP = """
    - {name: Loop, ansible.builtin.fail: {msg: "item {{ item }}"}, loop: [1, 2], when: item == 2}
"""
SLEEP = """
    - ansible.builtin.command: sleep 61.25
"""


@pytest.fixture
def run(tmp_path: Path):
    """Run a playbook of the given tasks."""
    spaces = Workspaces(tmp_path / "base")

    def run_(tasks: str, name: str = "w", **request) -> RunResult:
        playbook = tmp_path / f"{name}.yml"
        playbook.write_text(PLAY + tasks)
        directory = spaces.prepare(ResourceKey(GroupVersionKind("example.com", "v1", "Widget"), "ns", name))
        request.setdefault("extra_vars", {})
        return ColdRunner().run(RunRequest(directory=directory, playbook=str(playbook), **request))

    return run_


def test_success_in_threads(run, tmp_path: Path) -> None:
    """Two at once: each with its own result, and this process's directory and umask as before."""
    before = (os.getcwd(), os.umask(0o22))
    variables = {"some": {"words": "two words"}, "large": "x" * 200_000}
    request = {"extra_vars": variables, "environment": {"FROM_US": "yes"}, "max_artifacts": 1}
    with ThreadPoolExecutor() as pool:
        good = pool.submit(run, OK, "good", **request)
        bad = pool.submit(run, FAILING, "bad", extra_vars={"state": "broken"})
    assert (os.getcwd(), os.umask(before[1])) == before
    result = good.result()
    assert (result.rc, result.status, result.failures, result.error) == (0, "successful", (), "")
    assert (result.counts.ok, result.counts.changed, result.counts.failed) == (4, 1, 0)
    assert result.successful and 0 < result.duration < 60
    result = bad.result()
    assert (result.rc, result.status, result.counts.failed) == (2, "failed", 1)
    (failure,) = result.failures
    assert (failure.task, failure.host, failure.message) == ("Broken", "localhost", "it is broken")
    directory = tmp_path / "base/example.com/v1/Widget/ns/good"
    assert [file.name for file in (directory / "env").iterdir()] == ["settings"]
    (artifacts,) = (directory / "artifacts").iterdir()
    assert (artifacts / "stdout").exists() and not (artifacts / "command").exists()


def test_rescued_and_ignored_are_no_failures(run) -> None:
    result = run(RESCUED_AND_IGNORED)
    assert result.successful and result.failures == ()


def test_only_what_was_not_rescued_counts(run) -> None:
    result = run(RESCUED_AND_IGNORED + FAILING, extra_vars={"state": "broken"})
    assert [failure.task for failure in result.failures] == ["Broken"]


def test_no_log_and_loop(run) -> None:
    (failure,) = run(HIDDEN).failures
    assert failure.task == "Hidden" and "secret" not in failure.message and "no_log" in failure.message
    (failure,) = run(LOOP).failures
    assert failure.message == "item 2"


def test_parse_error_is_told(run) -> None:
    result = run("    - no.such.module: {}\n")
    assert result.status == "failed" and not result.failures and result.counts.ok == 0
    assert "no.such.module" in result.error


def test_cancel(run) -> None:
    stop = threading.Event()
    threading.Timer(1.5, stop.set).start()
    began = time.monotonic()
    result = run(SLEEP, cancelled=stop.is_set)
    assert result.cancelled and not result.successful and time.monotonic() - began < 15
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [line for line in command_lines if b"61.25" in line], "the module's process is left over"


def test_artifacts_are_rotated_and_role_runs(tmp_path: Path) -> None:
    role = tmp_path / "a_role"
    (role / "tasks").mkdir(parents=True)
    (role / "tasks/main.yml").write_text("- ansible.builtin.assert: {that: x == 1}\n")
    directory = Workspaces(tmp_path / "b").prepare(ResourceKey(GroupVersionKind("", "v1", "Secret"), "n", "s"))
    old = [directory / "artifacts" / name for name in ("1", "2")]
    for number, path in enumerate(old):
        path.mkdir()
        os.utime(path, (number, number))
    environment = {"ANSIBLE_GATHERING": "explicit"}
    request = RunRequest(directory, {"x": 1}, role=str(role), max_artifacts=2, environment=environment)
    assert ColdRunner().run(request).successful
    assert not old[0].exists() and old[1].exists()
