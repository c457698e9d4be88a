"""Runs a playbook or role once, through ansible-runner. Another ``Starter`` can start the run in another way."""

import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import ansible_runner
from ansible_runner.interface import init_runner

from taskflow_controller.config.playbooks import Command
from taskflow_controller.runs import discovery_cache
from taskflow_controller.runs.out_of_memory import BE_KILLED_FIRST, OomWatch
from taskflow_controller.runs.process_tree import kill_by_environment
from taskflow_controller.runs.resource_results import ResourceResult
from taskflow_controller.runs.run_events import EventCollector, RunCounts, TaskFailure
from taskflow_controller.runs.workspace import TEMPORARY

CANCEL_POLL_SECONDS = 0.5
_CALLBACKS = Path(__file__).parent / "ansible_plugins" / "callback"
KILLED = 137  # the exit code, as in a shell, of a run that SIGKILL ended
_MARK = "AWX_ISOLATED_DATA_DIR"  # ansible-runner sets it, for its callback, to the run's own artifact directory


@dataclass(frozen=True)
class RunRequest:
    """A run to perform.

    Attributes:
        directory: the run's directory (see ``workspace``), which only one run at a time uses. Its temporary files are
            in ``tmp`` there, and removed when it ends.
        extra_vars: the run's extra vars.
        command: the playbook or role.
        arguments: more arguments for ansible-playbook, split as by a shell.
        verbosity: Ansible's, 0 to 7.
        max_artifacts: how many runs' artifacts are kept in the directory.
        discovery: a folder that keeps what runs learn about the API server's kinds; None for none.
        environment: environment variables that win over the controller's own.
        timeout: in seconds, None for none. A run that takes longer is killed with all its processes.
        cancelled: called from time to time. When it returns true, the run is killed in the same way.
        on_event: gets each of ansible-runner's events as it comes.
    """

    directory: Path
    extra_vars: Mapping[str, Any]
    command: Command
    arguments: str = ""
    verbosity: int = 0
    max_artifacts: int = 20
    discovery: Path | None = None
    environment: Mapping[str, str] | None = None
    timeout: float | None = None
    cancelled: Callable[[], bool] = lambda: False
    on_event: Callable[[Mapping[str, Any]], None] = lambda event: None


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        rc: the exit code of ansible-playbook; -1 if it was not started, ``KILLED`` if it was killed.
        status: ansible-runner's: successful, failed, canceled, timeout.
        counts: the numbers of the play recap.
        failures: the tasks that failed.
        error: why a run broke off before its recap, or that memory ran out; else "".
        requeue_after: in how many seconds a module wants the next run; None for no such run.
        duration: in seconds.
        resources: the results of single resources in a run for several, by (namespace, name).
        warm: whether a fork server started it.
    """

    rc: int
    status: str
    counts: RunCounts
    failures: tuple[TaskFailure, ...]
    error: str
    requeue_after: float | None
    duration: float
    resources: Mapping[tuple[str, str], ResourceResult] = field(default_factory=dict)
    warm: bool = False

    @property
    def successful(self) -> bool:
        """True if every task succeeded, or its failure was ignored or rescued."""
        return self.status == "successful"

    @property
    def cancelled(self) -> bool:
        """True if the run was cut short because ``RunRequest.cancelled`` returned true."""
        return self.status == "canceled"


class Runner(Protocol):
    """Performs runs. Called from several threads at once."""

    def run(self, request: RunRequest) -> RunResult:
        """Run to the end, or until cancelled, and return the result."""


class Starter(Protocol):
    """Starts a run that is prepared. Called from several threads at once."""

    def perform(self, process: ansible_runner.Runner, request: RunRequest) -> bool:
        """Run to the end, and leave no process of the run behind.

        Args:
            process: ansible-runner's object, with its command, environment and callbacks.
            request: the request that it was made from.

        Returns:
            Whether the run was warm.
        """


class ColdStarter:
    """Starts a new ``ansible-playbook`` for each run."""

    def perform(self, process: ansible_runner.Runner, request: RunRequest) -> bool:
        """See ``Starter``."""
        if request.cancelled():  # ansible-runner checks it only after the start
            process.status = "canceled"
            return False
        process.config.command = [*BE_KILLED_FIRST, *process.config.command]
        try:
            process.run()
        finally:
            end_leftovers(process)
        return False


class AnsibleRunner:
    """Runs requests through ansible-runner, which makes the artifacts and the events.

    It is thread-safe: with a cancel callback ansible-runner installs no signal handlers, it does not change the working
    directory or the umask of this process, and all its files are in the run's own directory.

    Args:
        starter: starts the runs; None: a new ``ansible-playbook`` for each.
    """

    def __init__(self, starter: Starter | None = None) -> None:
        self._starter = starter or ColdStarter()

    def run(self, request: RunRequest) -> RunResult:
        """See ``Runner``."""
        collector = EventCollector()

        def handle(event: Mapping[str, Any]) -> bool:
            request.on_event(event)
            return collector.handle(event)

        started = time.monotonic()
        memory = OomWatch()
        ident = f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"
        variables = _write_extra_vars(request)
        _remove_temporary_files(request)  # those that a killed controller left behind
        temporary = request.directory / TEMPORARY
        temporary.mkdir(mode=0o700, exist_ok=True)
        if request.discovery:
            discovery_cache.lend(request.discovery, temporary)
        # In a file, because ansible-runner drops the settings that it is given unless there is one.
        settings = {"pexpect_timeout": CANCEL_POLL_SECONDS}
        (request.directory / "env" / "settings").write_text(json.dumps(settings), encoding="utf-8")
        try:
            # The working directory is the controller's, so that an ansible.cfg, roles and collections there count.
            process = init_runner(
                private_data_dir=str(request.directory),
                project_dir=os.getcwd(),
                ident=ident,
                playbook=request.command.playbook or _play_of(request.command.role),
                inventory=_inventory(),
                extravars=variables,
                envvars=run_environment(request.environment or {}),
                cmdline=request.arguments or None,
                verbosity=request.verbosity,
                rotate_artifacts=request.max_artifacts,
                fact_cache_type="memory",
                quiet=True,
                suppress_env_files=True,
                event_handler=handle,
                status_handler=_remove_command_file,
                cancel_callback=lambda: False,
            )
            process.cancel_callback = _Watchdog(request, process)
            process.config.env.update(TMPDIR=str(temporary), ANSIBLE_LOCAL_TEMP=str(temporary))
            warm = self._starter.perform(process, request)
        finally:
            with suppress(FileNotFoundError):
                (request.directory / variables).unlink()
            if request.discovery:
                discovery_cache.take_back(request.discovery, temporary)
            _remove_temporary_files(request)
        return RunResult(
            rc=KILLED if process.rc is None else process.rc,
            status=process.status,
            counts=collector.counts,
            failures=collector.failures(),
            error=_error_text(request, process, collector, memory),
            requeue_after=collector.requeue_after,
            duration=time.monotonic() - started,
            resources=collector.resources(),
            warm=warm,
        )


def end_leftovers(process: ansible_runner.Runner) -> None:
    """Kill all processes of a run."""
    kill_by_environment(_MARK, process.config.artifact_dir, reap=True)


def end_stray_runs(base: Path) -> int:
    """Kill all processes of runs whose directories are below ``base``, and return how many there were.

    It is for runs of a controller that was killed: a resource must not have two runs at once.
    """
    return kill_by_environment(_MARK, str(base.absolute()), below=True)


class _Watchdog:
    """A run's cancel callback. It ends the run when it is cancelled or its time is up."""

    def __init__(self, request: RunRequest, process: ansible_runner.Runner) -> None:
        self._cancelled, self._process = request.cancelled, process
        self._deadline = None if request.timeout is None else time.monotonic() + request.timeout

    def __call__(self) -> bool:
        """Return whether the run is cancelled. Ansible-runner kills it then, and also if ``timed_out`` is set."""
        cancelled = self._cancelled()
        if not cancelled and self._deadline is not None and time.monotonic() >= self._deadline:
            self._process.timed_out = True
        if cancelled or self._process.timed_out:
            # All processes at once, because ansible-runner waits as long as one of them has the terminal open.
            kill_by_environment(_MARK, self._process.config.artifact_dir)
        return cancelled


def _error_text(
    request: RunRequest, process: ansible_runner.Runner, collector: EventCollector, memory: OomWatch
) -> str:
    if process.status == "timeout":
        return f"the run was killed: it took longer than its timeout of {request.timeout:g} s"
    if process.status != "failed":
        return ""
    texts = [collector.error_text()]
    if process.rc is None:
        texts.append("the run broke off: its ansible-playbook was killed by a signal")
    if memory.killed():
        texts.append("the kernel killed a process for lack of memory during the run")
    return "\n".join(filter(None, texts))


def _remove_temporary_files(request: RunRequest) -> None:
    """Remove what a killed run had no time to remove: packed modules, files that it was about to copy."""
    shutil.rmtree(request.directory / TEMPORARY, ignore_errors=True)


def _write_extra_vars(request: RunRequest) -> str:
    """Write the extra vars to a file that only this user can read; return its path in the run's directory.

    They are not on the command line, because every process may read that, and an argument is limited to 128 KiB.
    """
    name = "env/run-vars.json"
    descriptor = os.open(request.directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(request.extra_vars, file)
    return name


def _play_of(role: str | None) -> list[dict[str, Any]]:
    return [{"name": role, "hosts": "localhost", "roles": [role]}]


def _inventory() -> str | None:
    """Return the inventory that the controller's environment names, or None for that in the run's directory."""
    path = os.environ.get("ANSIBLE_INVENTORY")
    return os.path.abspath(path) if path and os.path.exists(path) else None


def run_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to add to this process's environment for a run.

    Args:
        extra: the run's own variables. Our ansible-playbook and callbacks come before any that they name.
    """
    own = {"PATH": os.path.dirname(sys.executable), "ANSIBLE_CALLBACK_PLUGINS": str(_CALLBACKS)}
    others = {"PATH": os.defpath, **os.environ, **extra}
    return {**extra, **{name: os.pathsep.join(filter(None, [first, others.get(name)])) for name, first in own.items()}}


def _remove_command_file(status: Mapping[str, Any], runner_config: Any) -> None:
    """Remove the artifact that contains the whole environment, as soon as ansible-runner has written it."""
    if status["status"] == "running":
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(runner_config.artifact_dir, "command"))
