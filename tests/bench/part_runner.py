"""One run of a playbook: by the warm runner, by ansible_runner.run in process, and as the Operator SDK starts it."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from measurement import Figure, NotMeasuredError, Part, Target, in_turn, milliseconds
from setting import ROOT, Setting

from taskflow_controller.config.playbooks import Command
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.runner import AnsibleRunner, Runner, RunRequest
from taskflow_controller.runs.workspace import Workspaces

WARM, COLD, SDK = "warm", "ansible_runner.run", "ansible-runner run"
ROUNDS = 7
# A warm run is short; three in a row are as in a controller that has work.
IN_TURN = (WARM, WARM, WARM, COLD, SDK)
PLAYS = Path(__file__).parent / "plays"
NAMES = {"noop": "a module that does nothing", "one_get": "a module with one GET", "role": "a role with one GET"}


def _against(name: str, other: str, target: float) -> Figure:
    return Figure(f"warm run, {NAMES[name]}: against {other}", "x faster", Target(target, at_least=True))


def _time(name: str, kind: str) -> Figure:
    return Figure(f"run, {NAMES[name]}: {kind}", "ms, median")


AGAINST_COLD = {name: _against(name, COLD, 10) for name in NAMES}
AGAINST_SDK = {name: _against(name, SDK, 15) for name in NAMES}
TIMES = {(name, kind): _time(name, kind) for name in NAMES for kind in (WARM, COLD, SDK)}


def _measure(setting: Setting) -> Iterator[tuple[str, float]]:
    # Not at the top: it may refuse the versions that are installed.
    from taskflow_controller.runs.warm.starter import WarmStarter

    environment = {"KUBECONFIG": str(setting.control_plane.kubeconfig), "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    environment["K8S_AUTH_KUBECONFIG"] = environment["KUBECONFIG"]
    os.environ.update(environment)
    warm = WarmStarter([Command(str(PLAYS / f"{name}.yml")) for name in NAMES])
    warm.start()
    try:
        workspaces = Workspaces(setting.folder / "runs")
        for name in NAMES:
            yield from _one_play(name, {WARM: AnsibleRunner(warm), COLD: AnsibleRunner()}, workspaces)
    finally:
        warm.stop()


def _one_play(name: str, runners: Mapping[str, Runner], workspaces: Workspaces) -> Iterator[tuple[str, float]]:
    playbook = str(PLAYS / f"{name}.yml")
    gvk = GroupVersionKind("bench.example.com", "v1", "Bench")

    def once(kind: str) -> float:
        directory = workspaces.prepare(ResourceKey(gvk, name.replace("_", "-"), "-".join(re.findall(r"\w+", kind))))
        if kind == SDK:
            return milliseconds(lambda: run_as_the_sdk_does(directory, playbook))
        request = RunRequest(directory, extra_vars(), Command(playbook), discovery=workspaces.discovery)
        return milliseconds(lambda: _run(runners[kind], request))

    once(WARM)  # what the first run of a playbook reads and compiles is kept for the others
    times = {kind: statistics.median(values) for kind, values in in_turn(IN_TURN, ROUNDS, once).items()}
    for kind, value in times.items():
        yield TIMES[name, kind].name, value
    yield AGAINST_COLD[name].name, times[COLD] / times[WARM]
    yield AGAINST_SDK[name].name, times[SDK] / times[WARM]


def _run(runner: Runner, request: RunRequest) -> None:
    result = runner.run(request)
    if not result.successful:
        raise NotMeasuredError(f"{request.command.playbook} failed: {result.error or result.failures}")


def extra_vars() -> dict[str, object]:
    """Return about what a small resource brings along."""
    return {"ansible_operator_meta": {"name": "bench", "namespace": "default"}, "size": 3}


def run_as_the_sdk_does(directory: Path, playbook: str) -> None:
    """Start ansible-runner as the Operator SDK does for each event; without the plugin that sends it the events."""
    (directory / "env" / "extravars").write_text(json.dumps(extra_vars()), encoding="utf-8")
    command = ["ansible-runner", "run", str(directory), "-p", playbook, "-i", uuid.uuid4().hex]
    command += ["--rotate-artifacts", "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasuredError(f"{' '.join(command)} failed: {done.stdout[-500:]}{done.stderr[-500:]}")


FIGURES = (*AGAINST_COLD.values(), *AGAINST_SDK.values(), *TIMES.values())
PART = Part("warm", FIGURES, _measure)
