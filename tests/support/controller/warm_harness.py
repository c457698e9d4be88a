"""Runs the same playbook cold and warm, and makes both comparable."""

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskflow_controller.config.playbooks import Command
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.runner import AnsibleRunner, ColdStarter, RunRequest, RunResult, Starter
from taskflow_controller.runs.warm.starter import WarmStarter
from taskflow_controller.runs.workspace import Workspaces

# What differs between any two runs, cold ones too.
_UNIQUE = {
    "uuid", "parent_uuid", "playbook_uuid", "play_uuid", "task_uuid", "pid", "created", "start", "end", "duration",
    "delta", "ansible_date_time", "runner_ident", "ansible_job_id", "atime", "ctime", "mtime", "inode", "results_file",
}  # fmt: skip
_REPLACED = [
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),  # colours: a cold run has a terminal
    (re.compile(r"\r"), ""),
    (re.compile(r"\d{4}-\d\d-\d\d[ T][\d:.+]+"), "TIME"),
    (re.compile(r"0:00:0\d\.\d+"), "DURATION"),
    (re.compile(r"(cold|warm)/ns/w"), "RUN/ns/w"),
    (re.compile(r"artifacts/[0-9a-f-]+"), "artifacts/IDENT"),
    (re.compile(r"ansible-tmp-[\d.-]+"), "REMOTE-TMP"),
    (re.compile(r"/[^\s\"']*ansible_\w+_payload_\w+/ansible_[\w.]+_payload\.zip"), "PAYLOAD"),
    (re.compile(r"/[\w/.-]+/\.venv/"), "VENV/"),  # which may be a link
    (re.compile(r"VENV/bin/python(3(\.\d+)?)?\b"), "PYTHON"),
    (re.compile(r"_ansible_tmpdir=[^,]*"), "_ansible_tmpdir=TMP"),  # none is needed where nothing is packed
    (re.compile(r"\n+$"), ""),
    (re.compile(r"\b[jJ]?\d{9,12}\.\d{3,7}\b"), "JOB"),
]


@dataclass(frozen=True)
class Outcome:
    """What a run came to, with what is unique to each run taken out."""

    result: RunResult
    events: list[dict[str, Any]]
    stdout: str
    artifacts: set[str]

    def tasks(self) -> list[tuple[str, str, str]]:
        """Each event of a task: kind, task, host."""
        return [
            (event["event"], event["event_data"].get("task", ""), event["event_data"].get("host", ""))
            for event in self.events
            if event["event"].startswith("runner_")
        ]


class StrictlyWarm(WarmStarter):
    """Fails where WarmStarter would fall back, unless that is what is tested."""

    def __init__(self, playbooks: Iterable[str] = ()) -> None:
        super().__init__([Command(playbook) for playbook in playbooks])
        self.cold_runs = 0
        self.may_be_cold = False

    def perform(self, process: Any, request: RunRequest) -> bool:
        warm = super().perform(process, request)
        if not warm:
            self.cold_runs += 1
            assert self.may_be_cold, f"the run was cold: {self.problem()}"
        return warm


class Project:
    """A folder of playbooks, with whatever belongs to it, and both starters for it."""

    def __init__(self, folder: Path, warm: StrictlyWarm | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.warm = warm or StrictlyWarm()
        self._cold = ColdStarter()
        self._numbers = itertools.count()

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if text.startswith("#!") else 0o644)

    def run(self, playbook: str, starter: Starter | None = None, **request: Any) -> Outcome:
        """Run a playbook of the folder, or another command, warm if not told otherwise."""
        starter = starter or self.warm
        word = "warm" if starter is self.warm else "cold"
        base = self.folder.parent / "runs" / str(next(self._numbers))
        key = ResourceKey(GroupVersionKind("example.com", "v1", word), "ns", "w")
        directory = Workspaces(base).prepare(key)
        request.setdefault("extra_vars", {"given": {"name": "n"}})
        request.setdefault("command", Command(str(self.folder / playbook)))
        result = AnsibleRunner(starter).run(RunRequest(directory=directory, **request))
        (artifacts,) = (directory / "artifacts").iterdir()
        return _outcome(result, artifacts, base)

    def both(self, playbook: str, **request: Any) -> tuple[Outcome, Outcome]:
        """Run cold, then warm, and check that they came to the same."""
        cold, warm = self.run(playbook, self._cold, **request), self.run(playbook, **request)
        assert_same(cold, warm)
        return cold, warm


def assert_same(cold: Outcome, warm: Outcome) -> None:
    """Compare all that a run leaves: its end, its events in their order, its output, its artifacts."""
    for name in ("rc", "status", "counts", "requeue_after", "resources"):
        assert getattr(warm.result, name) == getattr(cold.result, name), (name, warm, cold)
    assert_same_lines(_plain(cold.result.failures), _plain(warm.result.failures))
    assert_same_lines(_lines(cold.events), _lines(warm.events))
    # A colour's end is on a line of its own.
    assert_same_lines(*([line for line in run.stdout.splitlines() if line] for run in (cold, warm)))
    assert warm.artifacts == cold.artifacts


def assert_same_lines(cold: list[str], warm: list[str]) -> None:
    difference = "\n".join(difflib.unified_diff(cold, warm, "cold", "warm", n=2, lineterm=""))
    assert not difference, difference


def _lines(events: list[dict[str, Any]]) -> list[str]:
    return [line for event in events for line in json.dumps(event, indent=1, sort_keys=True).splitlines()]


def _outcome(result: RunResult, artifacts: Path, base: Path) -> Outcome:
    files = sorted((artifacts / "job_events").glob("*.json"), key=lambda path: int(path.name.partition("-")[0]))
    events = [_normal(json.loads(file.read_text()), str(base)) for file in files]
    stdout = _normal((artifacts / "stdout").read_text(), str(base))
    assert not list((artifacts / "job_events").glob("*partial*"))
    return Outcome(result, events, stdout, {path.name for path in artifacts.iterdir()})


def _plain(failures: Any) -> list[str]:
    return [f"{failure.task} {failure.host} {_normal(failure.message)}" for failure in failures]


def _normal(value: Any, base: str = "\0") -> Any:
    if isinstance(value, Mapping):
        return {key: _normal(item, base) for key, item in value.items() if key not in _UNIQUE}
    if isinstance(value, list):
        return [_normal(item, base) for item in value]
    if isinstance(value, str):
        value = value.replace(base, "BASE")
        for pattern, replacement in _REPLACED:
            value = pattern.sub(replacement, value)
    return value
