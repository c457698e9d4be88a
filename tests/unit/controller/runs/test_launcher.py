"""Which timeout a run gets: its watch's own, else the flag's; 0 is none."""

from pathlib import Path

import pytest

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.launcher import Launcher, Work
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.triggers.causes import Cause, Causes

KEY = ResourceKey(GroupVersionKind("example.com", "v1", "Widget"), "ns", "w")


class Runner:
    def run(self, request: RunRequest) -> RunResult:
        self.request = request
        return RunResult(0, "successful", RunCounts(), (), "", None, 0.0)


@pytest.mark.parametrize(
    ("flag", "field", "expected"),
    [(0.0, None, None), (60.0, None, 60.0), (60.0, 5.0, 5.0), (60.0, 0.0, None)],
)
def test_timeout_of_a_run(tmp_path: Path, flag: float, field: float | None, expected: float | None) -> None:
    watch = Watch(
        gvk=KEY.gvk,
        command=Command(playbook="/p.yml"),
        vars={},
        reconcile_period=None,
        max_runner_artifacts=2,
        snake_case_parameters=True,
        watch_annotations_changes=False,
        dependents=(),
        max_concurrent=None,
        verbosity=None,
        run_timeout=field,
    )
    runner = Runner()
    spaces = Workspaces(tmp_path / "runner")
    overrides = Overrides(Defaults(reconcile_period=0, verbosity=0, run_timeout=flag))
    launcher = Launcher(runner, spaces, overrides, environment={}, cancelled=lambda: False)
    launcher.run(watch, [Work(KEY, {"metadata": {}}, Causes((Cause.event("test"),)))])
    assert runner.request.timeout == expected
