"""AnsibleRunner with real playbooks: what a run's result says."""

import contextlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskflow_controller.config.playbooks import Command
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.out_of_memory import OomWatch
from taskflow_controller.runs.runner import AnsibleRunner, RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces

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


DAEMON = """
    - ansible.builtin.shell: setsid sh -c 'sleep 63.25 & exit' </dev/null >/dev/null 2>&1 &
"""
# Its worker is a child of ansible-playbook.
KILLED = """
    - ansible.builtin.debug: {msg: "{{ lookup('pipe', 'kill -9 $(sed -n s/PPid://p /proc/$PPID/status)') }}"}
"""
SCORE = """
    - ansible.builtin.command: cat /proc/self/oom_score_adj
      register: score
    - ansible.builtin.assert: {that: score.stdout | int == 800}
"""
# The directories: that of every program, of Ansible itself, and of modules.
TEMPORARY = """
    - ansible.builtin.command: mktemp
      register: made
    - ansible.builtin.copy:
        dest: "{{ log }}"
        content: |
          {{ made.stdout }}
          {{ lookup('config', 'DEFAULT_LOCAL_TMP') }}
          {{ ansible_remote_tmp }}
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
        return AnsibleRunner().run(RunRequest(directory, command=Command(playbook=str(playbook)), **request))

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
    """Once the module's process is there."""
    result = run(SLEEP, cancelled=lambda: bool(_command_lines(b"61.25")))
    assert result.cancelled and not result.successful
    assert not _command_lines(b"61.25"), "the module's process is left over"


def test_what_is_cancelled_before_it_begins_does_not_begin(run, tmp_path: Path) -> None:
    result = run(f"    - ansible.builtin.file: {{path: {tmp_path}/made, state: touch}}\n", cancelled=lambda: True)
    assert result.cancelled and not result.successful and not result.error
    assert not (tmp_path / "made").exists() and not list((tmp_path / "base").rglob("job_events"))


def test_a_run_out_of_time_is_killed_whole(run) -> None:
    """Its worker and the module's process, which are in sessions of their own, too."""
    result = run(SLEEP.replace("61.25", "62.25"), timeout=2.0)
    assert (result.status, result.successful, result.cancelled) == ("timeout", False, False)
    assert "timeout of 2 s" in result.error
    assert not _command_lines(b"62.25")


def test_a_run_in_time_is_left_alone(run) -> None:
    assert run(FAILING, extra_vars={"state": "broken"}, timeout=100.0).status == "failed"


def test_nothing_outlives_a_run(run) -> None:
    """Not even a daemon: a grandchild in a session of its own, whose parent is gone."""
    assert run(DAEMON).successful
    assert not _command_lines(b"63.25")


def test_temporary_files_go_with_a_run(run, tmp_path: Path) -> None:
    """Those that a run did not remove itself, and those of an earlier one that nobody could remove."""
    own = tmp_path / "base/example.com/v1/Widget/ns/w/tmp"
    own.mkdir(parents=True)
    (own / "old").touch()
    assert run(TEMPORARY, extra_vars={"log": str(tmp_path / "log")}).successful
    places = (tmp_path / "log").read_text().split()
    assert len(places) == 3 and all(Path(place).is_relative_to(own) for place in places), places
    assert not own.exists()


def test_a_killed_run_has_failed_and_says_so(run) -> None:
    result = run(KILLED)
    assert (result.status, result.rc) == ("failed", 137)
    assert "killed by a signal" in result.error


def test_a_run_is_what_the_kernel_kills_first(run) -> None:
    before = Path("/proc/self/oom_score_adj").read_text()
    assert run(SCORE).successful
    assert Path("/proc/self/oom_score_adj").read_text() == before


def test_lack_of_memory_is_noticed(tmp_path: Path) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom 0\noom_kill 3\n")
    watch = OomWatch([tmp_path / "missing", counter])
    assert not watch.killed()
    counter.write_text("oom 1\noom_kill 4\n")
    assert watch.killed()
    assert not OomWatch([tmp_path / "missing"]).killed()


def test_lack_of_memory_is_told(run, monkeypatch) -> None:
    monkeypatch.setattr(OomWatch, "killed", lambda self: True)
    assert "lack of memory" in run(FAILING, extra_vars={"state": "broken"}).error
    assert run(RESCUED_AND_IGNORED, name="good").error == ""


def _command_lines(text: bytes) -> list[bytes]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_bytes())
    return [line for line in lines if text in line]


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
    request = RunRequest(directory, {"x": 1}, Command(role=str(role)), max_artifacts=2, environment=environment)
    assert AnsibleRunner().run(request).successful
    assert not old[0].exists() and old[1].exists()


def test_failed_runs_are_rotated_too(run, tmp_path: Path) -> None:
    for _ in range(3):
        assert not run(FAILING, max_artifacts=2, extra_vars={"state": "broken"}).successful
    assert len(list((tmp_path / "base/example.com/v1/Widget/ns/w/artifacts").iterdir())) == 2


def test_inventory_of_the_environment_is_used(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inventory = tmp_path / "inventory.ini"
    inventory.write_text(f"elsewhere ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    hosts = "\n- hosts: elsewhere\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: 'true'\n"
    monkeypatch.setenv("ANSIBLE_INVENTORY", str(inventory))
    assert run(hosts).counts.changed == 1
    monkeypatch.setenv("ANSIBLE_INVENTORY", str(tmp_path / "missing"))
    assert run(hosts, name="v").counts.changed == 0
