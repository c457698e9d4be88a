"""Starts runs in fork servers, without a new start of Ansible for each."""

import logging
import os
import tempfile
import threading
import types
from collections.abc import Iterable, Mapping
from typing import Any

import ansible_runner
from ansible_runner import runner as runner_module
from ansible_runner.interface import init_runner

from taskflow_controller.config.playbooks import Command
from taskflow_controller.runs.runner import ColdStarter, RunRequest, Starter, end_leftovers, run_environment
from taskflow_controller.runs.warm.process import WarmProcess
from taskflow_controller.runs.warm.servers import ForkServers
from taskflow_controller.runs.warm.spec import Spec, settings_of
from taskflow_controller.runs.warm.versions import unknown_version

logger = logging.getLogger(__name__)

# Options of ansible-playbook that prompt on a terminal.
_ASKING = {"-k", "--ask-pass", "-K", "--ask-become-pass", "-J", "--ask-vault-password", "--ask-vault-pass", "--step"}


class WarmStarter:
    """Starts runs in children of fork servers, and those for which this is not possible with another starter.

    ansible-runner still performs the runs; only the function with which it starts its process is replaced.

    Args:
        commands: the playbooks and roles that will run. They are read in advance.
        environment: environment variables that win over the controller's own, as in RunRequest.
        cold: starts the runs that can't be warm; None for a ``ColdStarter``.
    """

    def __init__(
        self,
        commands: Iterable[Command] = (),
        environment: Mapping[str, str] | None = None,
        cold: Starter | None = None,
    ) -> None:
        self._environment = dict(environment or {})
        self._commands = tuple(dict.fromkeys(commands))
        self._cold = cold or ColdStarter()
        self._servers = ForkServers()
        self._unknown = unknown_version()
        if self._unknown:
            logger.warning("all runs are cold: %s", self._unknown)

    def start(self) -> None:
        """Start the servers for the known commands, so that the first runs need not wait long. Does not wait.

        The servers are for the given environment. A run with other Ansible settings starts another server.
        """
        if not self._unknown:
            threading.Thread(target=self._start_servers, name="fork-servers", daemon=True).start()

    def _start_servers(self) -> None:
        actual = _actual_environment(self._environment)
        for folder in sorted(set(map(_folder, self._commands))):
            self._servers.start(self._spec(folder, os.getcwd(), actual), actual)

    def stop(self) -> None:
        """Let the servers end, each with the last of its runs."""
        self._servers.stop()

    def problem(self) -> str | None:
        """Return why runs are cold that could be warm, or None if there are no such runs."""
        return self._servers.problem()

    def perform(self, process: ansible_runner.Runner, request: RunRequest) -> bool:
        """See ``Starter``."""
        config = process.config
        warm = None
        if not self._unknown and _can_be_warm(config):
            spec = self._spec(_folder(request.command), config.cwd, config.env)
            warm = self._servers.open(spec, config.env)
        if warm is not None and request.cancelled():  # while a server started
            warm.close()
            warm = None
        if warm is None:
            return self._cold.perform(process, request)
        try:
            _run_in(warm, process)
        finally:
            warm.close()
        if warm.signalstatus:
            end_leftovers(process)  # its keeper may have been killed with it
        return True

    def _spec(self, folder: str, cwd: str, environment: Mapping[str, str]) -> Spec:
        known = [command for command in self._commands if _folder(command) == folder]
        return Spec(
            cwd=cwd,
            folder=folder,
            settings=settings_of(environment),
            playbooks=tuple(command.playbook for command in known if command.playbook),
            roles=tuple(command.role for command in known if command.role),
        )


def _folder(command: Command) -> str:
    """Return the folder whose plugins count for a playbook, or "" for a role and for a collection's playbook."""
    playbook = command.playbook
    return os.path.dirname(os.path.abspath(playbook)) if playbook and os.path.isfile(playbook) else ""


def _actual_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that ansible-runner will give to a run."""
    with tempfile.TemporaryDirectory() as directory:
        process = init_runner(
            private_data_dir=directory,
            ident="none",
            playbook="none",
            envvars=run_environment(extra),
            fact_cache_type="memory",
            suppress_env_files=True,
            cancel_callback=lambda: False,
        )
        environment: dict[str, str] = process.config.env
        return environment


def _can_be_warm(config: Any) -> bool:
    """Return whether a run is a plain ansible-playbook that prompts for nothing."""
    return bool(
        config.runner_mode == "pexpect"
        and not config.containerized
        and not config.sandboxed
        and not config.ssh_key_data
        and not config.passwords
        and config.playbook
        and config.command[0] == "ansible-playbook"
        and not _ASKING.intersection(config.command)
    )


def _run_in(warm: WarmProcess, process: ansible_runner.Runner) -> None:
    """Call ansible-runner's own ``run`` with ``pexpect.spawn`` replaced."""

    def spawn(command: str, arguments: list[str], cwd: str, env: Mapping[str, str], **_: Any) -> WarmProcess:
        warm.start([command, *arguments], cwd, env)
        return warm

    pexpect = runner_module.pexpect
    replaced = types.SimpleNamespace(
        spawn=spawn, exceptions=pexpect.exceptions, EOF=pexpect.EOF, TIMEOUT=pexpect.TIMEOUT
    )
    original = ansible_runner.Runner.run
    names = {**vars(runner_module), "pexpect": replaced}
    run = types.FunctionType(original.__code__, names, original.__name__, original.__defaults__, original.__closure__)
    run(process)
