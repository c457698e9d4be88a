"""Warm runs that are cut, killed, or go wrong; runs that try to spoil the next; servers that die. No cluster."""

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.controller.controller_harness import until
from support.controller.warm_harness import Project, StrictlyWarm

from taskflow_controller.runs.runner import ColdStarter

HEAD = "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
OK = HEAD + "    - ansible.builtin.ping:\n"
SLEEP = HEAD + "    - ansible.builtin.command: sleep {{ seconds }}\n"
DAEMONS = (
    HEAD
    + """
    - ansible.builtin.shell: setsid sh -c 'sleep {{ seconds }} & exit' </dev/null >/dev/null 2>&1 &
    - ansible.builtin.shell: env -i /usr/bin/setsid -f sleep {{ seconds }} </dev/null >/dev/null 2>&1
    - daemonises: {seconds: '{{ seconds }}'}
    - {ansible.builtin.command: 'sleep {{ seconds }}', async: 500, poll: 0}
"""
)
DAEMONISES = """
import os, time
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({'seconds': {'type': 'str'}})
if os.fork() == 0:
    os.setsid()
    for descriptor in range(3):
        os.close(descriptor)
    if os.fork():
        os._exit(0)
    if os.fork():
        os.environ.clear()
        os.execvp('sleep', ['sleep', module.params['seconds']])
    time.sleep(600)
    os._exit(0)
module.exit_json()
"""
SPOILS = """
import gc, os, signal, sys
from ansible.module_utils import basic
module = basic.AnsibleModule({})
os.chdir('/')
os.umask(0o777)
os.environ.clear()
os.environ['SPOILED'] = 'yes'
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.path[:] = []
sys.modules.pop('json')
basic.AnsibleModule.exit_json = None
gc.disable()
print('{"changed": true, "spoiled": true}')
sys.exit(0)
"""
TELLS = """
import gc, os, signal, sys
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({})
module.exit_json(cwd=os.getcwd(), umask=os.umask(0), spoiled=os.environ.get('SPOILED'), path='PATH' in os.environ,
                 term=str(signal.getsignal(signal.SIGTERM)), sys_path=len(sys.path), gc=gc.isenabled())
"""
TELL = """
    - tells:
      register: told
    - ansible.builtin.assert:
        that:
          - told.cwd == playbook_dir
          - told.umask == 0o022
          - told.spoiled is none
          - told.path
          - told.term == '0'
          - told.sys_path > 2
          - told.gc
          - shade is not defined
          - lookup('env', 'SPOILED') == ''
"""
SPOIL = HEAD + "    - spoils:\n" + TELL + "    - ansible.builtin.set_fact: {shade: 1, cacheable: true}\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("robustness") / "project"
    project = Project(folder, StrictlyWarm([str(folder / "ok.yml")]))
    project.write(
        {
            "ok.yml": OK,
            "sleep.yml": SLEEP,
            "daemons.yml": DAEMONS,
            "spoil.yml": SPOIL,
            "tell.yml": HEAD + TELL,
            "library/daemonises.py": DAEMONISES,
            "library/spoils.py": SPOILS,
            "library/tells.py": TELLS,
        }
    )
    yield project
    project.warm.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Make a project with a server of its own."""
    made = []

    def make(files: dict[str, str], **warm: Any) -> Project:
        project = Project(tmp_path / f"p{len(made)}" / "project", StrictlyWarm(**warm))
        project.write(files)
        made.append(project)
        return project

    yield make
    for project in made:
        project.warm.stop()


def processes(text: str) -> list[int]:
    """The processes with this in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def children(pid: int) -> set[int]:
    """A process's children, as far as they are alive or not reaped."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(path.parent.name))
    return found


def server(project: Project) -> int:
    (slot,) = project.warm._servers._slots.values()
    assert slot.server
    return slot.server.pid


def start(project: Project, playbook: str, **request: Any) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(project.run(playbook, **request).result))
    thread.start()
    return thread, results


def test_a_run_out_of_time_is_killed_whole(shared: Project) -> None:
    shared.run("ok.yml")  # so that the server is there
    results = [
        shared.run("sleep.yml", starter, extra_vars={"seconds": "71.25"}, timeout=2.0).result
        for starter in (ColdStarter(), shared.warm)
    ]
    assert {(result.status, result.rc, result.successful) for result in results} == {("timeout", 254, False)}
    assert {result.error for result in results} == {"the run was killed: it took longer than its timeout of 2 s"}
    assert not processes("71.25")
    until(lambda: not children(server(shared)), what="the end of the keeper")


def test_a_cancelled_run_is_killed_whole(shared: Project) -> None:
    stop = threading.Event()
    thread, results = start(shared, "sleep.yml", extra_vars={"seconds": "72.25"}, cancelled=stop.is_set)
    until(lambda: processes("72.25"), what="the module's start")
    stop.set()
    thread.join(30)
    assert results[0].cancelled and not processes("72.25")


def test_nothing_outlives_a_run(shared: Project) -> None:
    """Neither daemons with sessions and environments of their own, nor an async task that nobody waits for."""
    outcome = shared.run("daemons.yml", extra_vars={"seconds": "73.25"})
    assert outcome.result.successful, outcome.stdout
    assert not processes("73.25")
    until(lambda: not children(server(shared)), what="the end of the keeper")


def test_a_killed_run_has_failed_and_says_so(shared: Project) -> None:
    thread, results = start(shared, "sleep.yml", extra_vars={"seconds": "74.25"})
    until(lambda: processes("74.25"), what="the module's start")
    (keeper,) = children(server(shared))
    (run,) = children(keeper)
    os.kill(run, signal.SIGKILL)
    thread.join(30)
    assert (results[0].status, results[0].rc) == ("failed", 137)
    assert "killed" in results[0].error and not processes("74.25")


def test_a_killed_keeper_takes_its_run_with_it(shared: Project) -> None:
    thread, results = start(shared, "sleep.yml", extra_vars={"seconds": "75.25"})
    until(lambda: processes("75.25"), what="the module's start")
    (keeper,) = children(server(shared))
    os.kill(keeper, signal.SIGKILL)
    thread.join(30)
    assert results[0].status == "failed" and "killed" in results[0].error
    until(lambda: not processes("75.25"), what="the end of the module")
    until(lambda: not children(server(shared)), what="the server's having reaped all")
    assert shared.run("ok.yml").result.successful


def test_a_run_survives_its_server(own: Callable[..., Project], caplog: pytest.LogCaptureFixture) -> None:
    """And the next finds another one; until that is ready, runs are cold."""
    project = own({"ok.yml": OK, "sleep.yml": SLEEP})
    assert project.run("ok.yml").result.successful
    thread, results = start(project, "sleep.yml", extra_vars={"seconds": "3.75"})
    until(lambda: processes("3.75"), what="the module's start")
    before = server(project)
    os.kill(before, signal.SIGKILL)
    project.warm.may_be_cold = True
    until(project.warm.problem, what="the server's death being noticed")
    assert project.run("ok.yml").result.successful
    thread.join(30)
    assert results[0].successful
    until(lambda: project.warm.problem() is None, what="another server")
    project.warm.may_be_cold = False
    assert project.run("ok.yml").result.successful and server(project) != before
    assert any("fork server ended: Killed" in record.getMessage() for record in caplog.records)


def test_servers_and_runs_end_with_the_controller(tmp_path: Path) -> None:
    """Also when it is killed, and nothing of theirs stays in the temporary directory."""
    (tmp_path / "sleep.yml").write_text(SLEEP.replace("{{ seconds }}", "76.25"))
    (tmp_path / "temporary").mkdir()
    pid = os.fork()
    if pid == 0:
        os.environ["TMPDIR"] = str(tmp_path / "temporary")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        os.execv(sys.executable, [sys.executable, "-c", CONTROLLER, str(tmp_path)])
    try:
        until(lambda: processes("sleep\x0076.25"), what="the module's start")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    until(lambda: not processes("76.25"), what="the end of the run")
    until(lambda: not processes(str(tmp_path / "temporary")), what="the end of the server")
    assert not list((tmp_path / "temporary").iterdir())


CONTROLLER = """
import sys
from pathlib import Path
from support.controller.warm_harness import Project
project = Project(Path(sys.argv[1]))
project.run('sleep.yml')
"""


def test_a_run_does_not_spoil_the_next(shared: Project) -> None:
    for playbook in ("spoil.yml", "tell.yml", "spoil.yml", "tell.yml"):
        outcome = shared.run(playbook)
        assert outcome.result.successful, outcome.stdout


def test_runs_at_once(shared: Project) -> None:
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(shared.run, "tell.yml" if number % 2 else "spoil.yml") for number in range(8)]
        assert all(run.result().result.successful for run in runs)


def test_edited_files_are_seen(own: Callable[..., Project]) -> None:
    """Playbook, role and vars at once; what is code with another server."""
    files = {
        "play.yml": HEAD.replace("tasks", "roles: [edited]\n  tasks") + "    - tells:\n    - acts:\n",
        "roles/edited/tasks/main.yml": "- ansible.builtin.debug: {msg: 'role 1 {{ shade }}'}",
        "roles/edited/vars/main.yml": "shade: red",
        "library/tells.py": MODULE.format("module 1"),
        "module_utils/words.py": "WORD = 'utils 1'",
        "action_plugins/acts.py": ACTION.format("action 1"),
    }
    project = own(files, playbooks=["placeholder"])
    project.warm = StrictlyWarm([str(project.folder / "play.yml")])
    try:
        _has(project, "role 1 red", "module 1", "utils 1", "action 1")
        project.write({"roles/edited/tasks/main.yml": "- ansible.builtin.debug: {msg: 'role 2 {{ shade }}'}"})
        _has(project, "role 2 red", "module 1")
        project.write({"roles/edited/vars/main.yml": "shade: blue"})
        _has(project, "role 2 blue")
        project.write({"play.yml": files["play.yml"] + "    - ansible.builtin.debug: {msg: added}\n"})
        _has(project, "added")
        project.write({"library/tells.py": MODULE.format("module 2"), "module_utils/words.py": "WORD = 'utils 2'"})
        _has(project, "module 2", "utils 2")
        project.write({"action_plugins/acts.py": ACTION.format("action 2")})
        _has(project, "action 2")
        project.write({"filter_plugins/new.py": FILTER, "play.yml": OK + "    - debug: {msg: '{{ 1 | new }}'}\n"})
        _has(project, "new filter")
    finally:
        project.warm.stop()


MODULE = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.words import WORD
AnsibleModule({{}}).exit_json(msg='{} ' + WORD)
"""
ACTION = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return {{'msg': '{}'}}
"""
FILTER = "class FilterModule:\n    def filters(self): return {'new': lambda x: 'new filter'}"


def _has(project: Project, *words: str) -> None:
    outcome = project.run("play.yml")
    text = str(outcome.events)
    assert outcome.result.successful, outcome.stdout
    assert all(word in text for word in words), (words, outcome.stdout)


def test_other_settings_get_another_server(own: Callable[..., Project]) -> None:
    project = own(
        {"play.yml": HEAD + "    - ansible.builtin.debug: {msg: \"{{ lookup('config', 'DEFAULT_FORKS') }}\"}"}
    )
    for forks in ("7", "9", "7"):
        outcome = project.run("play.yml", environment={"ANSIBLE_FORKS": forks})
        assert f'"msg": {forks}' in outcome.stdout
    assert len(project.warm._servers._slots) == 2


def test_what_asks_on_a_terminal_is_cold(own: Callable[..., Project]) -> None:
    project = own({"ok.yml": OK})
    project.warm.may_be_cold = True
    project.run("ok.yml", arguments="--ask-become-pass", timeout=10.0)
    assert project.warm.cold_runs == 1


def test_unknown_versions_are_cold(
    own: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("taskflow_controller.runs.warm.versions.KNOWN", {"ansible-core": ("9.9",)})
    project = own({"ok.yml": OK})
    project.warm.may_be_cold = True
    project.warm.start()
    assert project.run("ok.yml").result.successful
    assert project.warm.cold_runs == 1 and project.warm.problem() is None
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "ansible-core 2." in warning and "9.9.*" in warning


def test_a_server_that_does_not_start_is_told_and_runs_are_cold(
    own: Callable[..., Project], caplog: pytest.LogCaptureFixture
) -> None:
    project = own({"ok.yml": OK})
    project.warm.may_be_cold = True
    outcome = project.run("ok.yml", environment={"ANSIBLE_FORKS": "many"})
    assert outcome.result.status == "failed"
    problem = project.warm.problem() or ""
    assert "fork server did not start: it ended as it started" in problem and "many" in problem
    assert project.warm.cold_runs == 1
    assert sum("did not start" in record.getMessage() for record in caplog.records) >= 1


def test_settings_do_not_keep_a_server_from_warming_up(
    own: Callable[..., Project], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What Ansible says of them is in the controller's log; the rehearsal leaves no trace in that of Ansible."""
    project = own({"play.yml": OK.replace("  tasks", "  become: false\n  tasks")})
    environment = {
        "ANSIBLE_BECOME": "true",
        "ANSIBLE_BECOME_USER": "nobody",
        "ANSIBLE_STRATEGY": "free",
        "ANSIBLE_ENABLE_TASK_DEBUGGER": "true",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.tree",
        "ANSIBLE_LOG_PATH": str(tmp_path / "log"),
        "ANSIBLE_LOG_VERBOSITY": "0",
        "ANSIBLE_CACHE_PLUGIN": "no_such",
    }
    missing = {**environment, "ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "missing")}
    outcome = project.run("play.yml", environment=missing)
    assert outcome.result.status == "failed" and "missing" in outcome.stdout  # as it would cold
    assert project.run("play.yml", environment=environment).result.successful
    log = (tmp_path / "log").read_text()
    assert "Rehearse" not in log and "PLAY [localhost]" in log
    assert "fork server: [WARNING]: Unable to load the cache plugin 'no_such'" in caplog.text
