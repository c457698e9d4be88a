"""Runs a playbook or role once. ``Runner`` is the place where another way of starting a run can be put."""

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ansible_runner

from taskflow_controller.process_tree import kill_by_environment
from taskflow_controller.resource_verdicts import ResourceVerdict
from taskflow_controller.run_events import EventCollector, RunCounts, TaskFailure

CANCEL_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class RunRequest:
    """What to run, and with what.

    ``directory`` is the resource's own (see ``workspace``) and is used by one run at a time. ``playbook`` or
    ``role`` is set. ``environment`` is laid over the controller's own. ``cancelled`` is asked from time to
    time; once it says true, the run is killed.
    """

    directory: Path
    extra_vars: Mapping[str, Any]
    playbook: str | None = None
    role: str | None = None
    verbosity: int = 0
    max_artifacts: int = 20
    environment: Mapping[str, str] | None = None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    ``status`` is ansible-runner's: successful, failed, canceled. ``error`` is the text of a run that never
    reached its recap. ``requeue_after`` and ``duration`` are in seconds. ``resources`` is what a run of several
    resources says of each, by (namespace, name).
    """

    rc: int
    status: str
    counts: RunCounts
    failures: tuple[TaskFailure, ...]
    error: str
    requeue_after: float | None
    duration: float
    resources: Mapping[tuple[str, str], ResourceVerdict] = field(default_factory=dict)

    @property
    def successful(self) -> bool:
        """Whether every task succeeded, or was ignored or rescued."""
        return self.status == "successful"

    @property
    def cancelled(self) -> bool:
        """Whether the run was cut off because ``RunRequest.cancelled`` said so."""
        return self.status == "canceled"


class Runner(Protocol):
    """Anything that can run a request. Called from several threads at once."""

    def run(self, request: RunRequest) -> RunResult:
        """Run to the end, or until cancelled."""


class ColdRunner:
    """Starts a new ``ansible-playbook`` for each run, through ``ansible_runner.run``.

    Safe in threads: given a cancel callback ansible-runner installs no signal handlers, it does not change
    the working directory or the umask of this process, and all its files are in the run's own directory.
    """

    def run(self, request: RunRequest) -> RunResult:
        """See ``Runner``."""
        collector = EventCollector()
        started = time.monotonic()
        ident = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"
        artifacts = str(request.directory / "artifacts" / ident)
        variables = _write_extra_vars(request)
        # In a file, for ansible-runner drops the settings it is given unless there is one.
        settings = {"pexpect_timeout": CANCEL_POLL_SECONDS}
        (request.directory / "env" / "settings").write_text(json.dumps(settings), encoding="utf-8")

        def cancelled() -> bool:
            if not request.cancelled():
                return False
            kill_by_environment("AWX_ISOLATED_DATA_DIR", artifacts)  # set by ansible-runner for its callback
            return True

        try:
            # The working directory is the controller's: an ansible.cfg, roles and collections there count.
            outcome = ansible_runner.run(
                private_data_dir=str(request.directory),
                project_dir=os.getcwd(),
                ident=ident,
                playbook=request.playbook or _play_of(request.role),
                extravars=variables,
                envvars=_environment(request.environment or {}),
                verbosity=request.verbosity,
                rotate_artifacts=request.max_artifacts,
                fact_cache_type="memory",
                quiet=True,
                suppress_env_files=True,
                event_handler=collector.handle,
                status_handler=_remove_command_file,
                cancel_callback=cancelled,
            )
        finally:
            with suppress(FileNotFoundError):
                (request.directory / variables).unlink()
        return RunResult(
            rc=outcome.rc,
            status=outcome.status,
            counts=collector.counts,
            failures=collector.failures(),
            error=collector.error_text() if outcome.status == "failed" else "",
            requeue_after=collector.requeue_after,
            duration=time.monotonic() - started,
            resources=collector.resources(),
        )


def _write_extra_vars(request: RunRequest) -> str:
    """Write the extra vars, readable by this user alone; return the path inside the run's directory.

    Not on the command line: every process may read it, and one argument ends at 128 KiB.
    """
    name = "env/run-vars.json"
    descriptor = os.open(request.directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(request.extra_vars, file)
    return name


def _play_of(role: str | None) -> list[dict[str, Any]]:
    return [{"name": role, "hosts": "localhost", "roles": [role]}]


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return what to add to this process's environment: our own ansible-playbook first on the PATH."""
    own = os.path.dirname(sys.executable)
    return {"PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)]), **extra}


def _remove_command_file(status: Mapping[str, Any], runner_config: Any) -> None:
    """Remove the artifact that has the whole environment in it, as soon as ansible-runner has written it."""
    if status["status"] == "running":
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(runner_config.artifact_dir, "command"))
