"""A warm run comes to what a cold one does: result, events, output, artifacts. No cluster is needed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.controller.warm_files import FILES
from support.controller.warm_harness import Project, StrictlyWarm, assert_same
from support.controller.warm_playbooks import HEAD, TASKS, WHOLE

from taskflow_controller.config.playbooks import Command
from taskflow_controller.runs.runner import ColdStarter


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """One folder for all: its server is to stand whatever the runs do."""
    folder = tmp_path_factory.mktemp("semantics") / "project"
    playbooks = {_file(name): HEAD + tasks for name, (tasks, _) in TASKS.items()}
    playbooks |= {_file(name): text for name, (text, _) in WHOLE.items()}
    warm = StrictlyWarm([str(folder / name) for name in playbooks])
    project = Project(folder, warm)
    project.write(FILES | playbooks)
    warm.start()
    yield project
    warm.stop()


def _file(name: str) -> str:
    return f"{name.replace(' ', '_')}.yml"


@pytest.mark.parametrize("name", [*TASKS, *WHOLE])
def test_warm_is_as_cold(project: Project, name: str) -> None:
    _compare(project, name)


def test_temporary_directories_need_no_shell(project: Project, tmp_path: Path) -> None:
    shell, log = tmp_path / "shell", tmp_path / "log"
    shell.write_text(f'#!/bin/sh\necho "$*" >>{log}\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    file, environment = _file("temporary directory"), {"ANSIBLE_EXECUTABLE": str(shell)}
    assert project.run(file, environment=environment).result.successful
    assert not log.exists()
    assert project.run(file, ColdStarter(), environment=environment).result.successful
    assert {"mkdir", "chmod", "rm"} <= set(re.findall(r"\w+", log.read_text()))


def _compare(project: Project, name: str) -> None:
    variables: dict[str, Any] = {"given": {"name": "n"}, "braces": {"__ansible_unsafe": "{{ not_a_template }}"}}
    cold, warm = project.both(_file(name), extra_vars=variables, environment={"FROM_REQUEST": "yes"})
    assert cold.result.status == (TASKS | WHOLE)[name][1], cold.stdout
    assert "counting from the start" in warm.stdout or not warm.events or warm.result.counts.ok == 0


LATER = """
    - ansible.builtin.command: sleep 0.2
      async: 60
      poll: 0
      register: job
    - ansible.builtin.async_status: {jid: '{{ job.ansible_job_id }}'}
      register: ended
      until: ended is finished
      delay: 1
      retries: 60
    - ansible.builtin.assert: {that: [ended.rc == 0, ended.changed]}
"""


def test_async_task_that_is_asked_for_later(project: Project) -> None:
    """How often it has to be asked for differs."""
    project.write({"later.yml": HEAD + LATER})
    for outcome in (project.run("later.yml", ColdStarter()), project.run("later.yml")):
        assert outcome.result.successful, outcome.stdout
        assert outcome.result.counts.ok == 3


MODULE = "from ansible.module_utils.basic import AnsibleModule\nAnsibleModule({{}}).exit_json(msg='{}')\n"
FILTER = "class FilterModule:\n    def filters(self): return {{'whose': lambda x: '{}'}}\n"
DEBUG = """
from ansible.plugins.action import ActionBase
class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        return {'msg': 'debug of the role'}
"""
UTILS = "def to_text(value, *args, **kwargs): return str(value)\nWORD = 'of the project'\n"
USES_UTILS = """
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import WORD
AnsibleModule({}).exit_json(msg=WORD)
"""
PLUGINS = {
    "first.yml": "- {hosts: localhost, gather_facts: false, roles: [first]}",
    "second.yml": "- {hosts: localhost, gather_facts: false, roles: [second]}",
    "roles/first/library/owned.py": MODULE.format("of the first"),
    "roles/second/library/owned.py": MODULE.format("of the second"),
    "roles/first/filter_plugins/own.py": FILTER.format("of the first"),
    "roles/second/filter_plugins/own.py": FILTER.format("of the second"),
    "roles/first/tasks/main.yml": "- owned:\n- ansible.builtin.debug: {msg: \"{{ 1 | whose }}\"}\n",
    "roles/second/tasks/main.yml": "- owned:\n- ansible.builtin.debug: {msg: \"{{ 1 | whose }}\"}\n- debug:\n",
    "roles/second/action_plugins/debug.py": DEBUG,
    "later.yml": HEAD + "    - ansible.builtin.include_role: {name: second}\n",
    "none.yml": HEAD + "    - owned:\n",
}  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Any]:
    """Make a project with a server of its own, which knows all its playbooks."""
    made: list[Project] = []

    def make(files: dict[str, str]) -> Project:
        folder = tmp_path / str(len(made)) / "project"
        warm = StrictlyWarm([str(folder / name) for name in files if "/" not in name])
        made.append(Project(folder, warm))
        made[-1].write(files)
        return made[-1]

    yield make
    for project in made:
        project.warm.stop()


def test_plugins_of_roles(own: Any) -> None:
    """Each role has its own, also where another role, or Ansible, has one of that name."""
    project = own(PLUGINS)
    for playbook, word in (
        ("first.yml", "of the first"),
        ("second.yml", "of the second"),
        ("first.yml", "of the first"),
    ):
        cold, _ = project.both(playbook)
        assert str(cold.events).count(word) >= 2, cold.stdout
    cold, _ = project.both("later.yml")
    assert "debug of the role" in str(cold.events)
    cold, _ = project.both("none.yml")
    assert "couldn't resolve module/action 'owned'" in cold.stdout


def test_module_utils_that_override_those_of_ansible(own: Any) -> None:
    project = own(
        {
            "play.yml": HEAD
            + "    - utilised:\n      register: used\n    - assert: {that: used.msg == 'of the project'}",
            "library/utilised.py": USES_UTILS,
            "module_utils/urls.py": UTILS,
        }
    )
    cold, _ = project.both("play.yml")
    assert cold.result.successful, cold.stdout


COLLECTION_MODULE = """
from ansible.module_utils.basic import AnsibleModule
from ..module_utils.words import WORD
from ansible_collections.our.own.plugins.module_utils.words import WORD as ABSOLUTE
AnsibleModule({}).exit_json(msg=WORD + ABSOLUTE)
"""


def test_collection_beside_the_playbook(own: Any) -> None:
    """Its module with relative imports, its role, its playbook by name."""
    base = "collections/ansible_collections/our/own/"
    project = own(
        {
            "play.yml": HEAD + "    - our.own.tell:\n    - ansible.builtin.import_role: {name: our.own.part}\n",
            base + "galaxy.yml": "{namespace: our, name: own, version: 1.0.0, readme: r, authors: [a]}",
            base + "plugins/modules/tell.py": COLLECTION_MODULE,
            base + "plugins/module_utils/words.py": "WORD = 'words'",
            base + "roles/part/tasks/main.yml": "- tell:\n",
            base + "playbooks/whole.yml": HEAD + "    - tell:\n",
        }
    )
    cold, _ = project.both("play.yml")
    assert cold.result.counts.ok == 2, cold.stdout
    collections = {"ANSIBLE_COLLECTIONS_PATH": str(project.folder / "collections")}
    cold, warm = (
        project.run("", starter, command=Command("our.own.whole"), environment=collections)
        for starter in (ColdStarter(), project.warm)
    )
    assert_same(cold, warm)
    assert warm.result.counts.ok == 1, warm.stdout


def test_role(own: Any) -> None:
    project = own({"roles/greeting/tasks/main.yml": "- ansible.builtin.command: echo {{ given.name }}\n"})
    cold, _ = project.both(
        "", command=Command(role=str(project.folder / "roles/greeting")), environment={"ANSIBLE_GATHERING": "explicit"}
    )
    assert cold.result.counts.changed == 1, cold.stdout


@pytest.mark.parametrize("password", ["right", "wrong", None])
def test_vault(own: Any, tmp_path: Path, password: str | None) -> None:
    """A file and a value, by a password file in the environment, or on the command line."""
    (tmp_path / "right").write_text("right")
    project = own({"play.yml": HEAD.replace("tasks:", "vars_files: [secret.yml]\n  tasks:") + VAULT_TASKS})
    vault = subprocess.run(
        ["ansible-vault", "encrypt", "--vault-password-file", str(tmp_path / "right"), "--output", "-"],
        input=b"from_file: hidden in a file\n", stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    value = subprocess.run(
        ["ansible-vault", "encrypt_string", "--vault-password-file", str(tmp_path / "right"), "hidden in a value"],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    project.write({"secret.yml": vault.stdout.decode(), "group_vars/all.yml": f"from_value: {value.stdout}"})
    request: dict[str, Any] = {}
    if password:
        (tmp_path / "wrong").write_text("wrong")
        request["environment"] = {"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / password)}
    cold, _ = project.both("play.yml", **request)
    assert cold.result.successful == (password == "right"), cold.stdout
    if password == "right":
        cold, _ = project.both("play.yml", arguments=f"--vault-password-file {tmp_path / 'right'}")
        assert cold.result.successful, cold.stdout


VAULT_TASKS = """
    - ansible.builtin.assert: {that: [from_file == 'hidden in a file', from_value == 'hidden in a value']}
    - ansible.builtin.debug: {var: from_value}
"""


@pytest.mark.parametrize("setting", ["ANSIBLE_DISPLAY_ARGS_TO_STDOUT", "ANSIBLE_DISPLAY_SKIPPED_HOSTS", "verbose"])
def test_settings_of_the_output(project: Project, setting: str) -> None:
    request = {"verbosity": 2} if setting == "verbose" else {"environment": {setting: "false"}}
    if setting == "ANSIBLE_DISPLAY_ARGS_TO_STDOUT":
        request["environment"] = {setting: "true"}
    project.write({"output.yml": HEAD + "    - ansible.builtin.ping:\n    - {ping: , when: false}\n"})
    project.both("output.yml", **request)


KUBECONFIG_MODULE = """
from ansible.module_utils.basic import AnsibleModule
from kubernetes import config
from kubernetes.config import kube_config
AnsibleModule({}).exit_json(msg=f"{config.KUBE_CONFIG_DEFAULT_LOCATION} {kube_config.KUBE_CONFIG_DEFAULT_LOCATION}")
"""
KUBECONFIG_TASKS = """
    - default_kubeconfig:
      register: of_the_run
    - default_kubeconfig:
      environment: {KUBECONFIG: /of/the/task}
      register: of_the_task
    - ansible.builtin.assert:
        that: [of_the_run.msg == given ~ ' ' ~ given, of_the_task.msg == '/of/the/task /of/the/task']
"""


@pytest.mark.parametrize("path", ["/of/one/run", "/of/another"])
def test_the_default_kubeconfig_is_the_run_s(project: Project, path: str) -> None:
    """The Kubernetes client reads KUBECONFIG when it is imported, which the fork server has done long before."""
    project.write({"where.yml": HEAD + KUBECONFIG_TASKS, "library/default_kubeconfig.py": KUBECONFIG_MODULE})
    _, warm = project.both("where.yml", environment={"KUBECONFIG": path}, extra_vars={"given": path})
    assert warm.result.successful, warm.stdout
