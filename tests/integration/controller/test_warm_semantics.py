"""A warm run comes to what a cold one does: result, events, output, artifacts. No cluster is needed."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from warm_harness import Project, StrictlyWarm
from warm_playbooks import FILES, HEAD, TASKS, WHOLE

from taskflow_controller.runner import ColdRunner


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
    for outcome in (project.run("later.yml", ColdRunner()), project.run("later.yml")):
        assert outcome.result.successful, outcome.stdout
        assert outcome.result.counts.ok == 3
