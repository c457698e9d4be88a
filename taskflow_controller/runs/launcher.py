"""Starts a run for resources, with its directory, extra vars, settings and access to the API server."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskflow_controller.config.overrides import Overrides, RunSettings
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.proxy.kubeconfig import environment
from taskflow_controller.runs.extra_vars import extra_vars
from taskflow_controller.runs.log_events import EventLog
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import Runner, RunRequest, RunResult
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.triggers.causes import Causes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A resource that needs a run.

    Attributes:
        key: the resource.
        obj: how it was last seen.
        causes: why it needs the run.
        finalizing: whether its finalizer must run.
    """

    key: ResourceKey
    obj: Object
    causes: Causes
    finalizing: bool = False


class Launcher:
    """Runs a watch's playbook, role or finalizer. Several threads call it, but only one at a time for a resource.

    Args:
        runner: performs the runs.
        workspaces: the directories of the runs.
        overrides: has the settings of each resource.
        arguments: more arguments for ansible-playbook, split as by a shell.
        log_events: which of Ansible's events become log lines, one of ``log_events.LEVELS``.
        log_output: whether to log everything that Ansible prints.
        environment: the environment variables of runs that talk to the API server directly.
        proxy: what the other runs use; None if there are none.
        cancelled: returns true once all runs must end.
    """

    def __init__(
        self,
        runner: Runner,
        workspaces: Workspaces,
        overrides: Overrides,
        *,
        arguments: str = "",
        log_events: str = "nothing",
        log_output: bool = False,
        environment: Mapping[str, str],
        proxy: ApiProxy | None = None,
        cancelled: Callable[[], bool],
    ) -> None:
        self._runner, self._workspaces, self._overrides = runner, workspaces, overrides
        self._environment, self._cancelled = environment, cancelled
        self._arguments, self._proxy = arguments, proxy
        self._log_events, self._log_output = log_events, log_output

    def run(self, watch: Watch, works: Sequence[Work]) -> RunResult:
        """Run once for all these resources. Never raises an exception: an error becomes a failed run.

        If a watch has a batch, a run for a single resource is like one for several: it uses a directory of the kind,
        because thousands of resources would otherwise keep the artifacts of thousands of directories.

        Args:
            watch: the resources' watch.
            works: the resources. One that is being finalized must come alone.
        """
        first = works[0]
        try:
            if watch.batch == 1 or first.finalizing:
                settings = self._overrides.settings(watch, first.key, first.obj)
                return self._run(watch, works, settings, self._workspaces.prepare(first.key))
            with self._workspaces.batch(watch.gvk) as directory:
                return self._run(watch, works, self._overrides.of_watch(watch), directory)
        except OSError as exc:  # such as no space left, which needs no traceback
            return _broken(f"the run broke off: {exc}")
        except Exception as exc:  # a bug in handling one resource must not stop the others
            logger.exception("bug: a run broke off", extra={"resource": str(first.key)})
            return _broken(f"internal error: {type(exc).__name__}: {exc}")

    def kept(self, gvk: GroupVersionKind) -> list[ResourceKey]:
        """Return the resources of a kind that have a directory of ours, whether they still exist or not."""
        return self._workspaces.keys(gvk) if self._workspaces.alone else []

    def clean_up(self, key: ResourceKey) -> None:
        """Remove the directory of a resource that is gone."""
        self._workspaces.remove(key)

    def _run(self, watch: Watch, works: Sequence[Work], settings: RunSettings, directory: Path) -> RunResult:
        single = works[0] if len(works) == 1 else None
        events = EventLog(self._log_events, str(single.key) if single else _name(works), output=self._log_output)
        with self._access(watch, single.obj if single else None, directory) as access:
            result = self._runner.run(
                RunRequest(
                    directory=directory,
                    extra_vars=_variables(watch, works),
                    command=watch.command_for(finalizing=works[0].finalizing),
                    arguments=self._arguments,
                    verbosity=settings.verbosity,
                    max_artifacts=settings.max_artifacts,
                    discovery=self._workspaces.discovery,
                    environment=access,
                    timeout=settings.run_timeout or None,
                    cancelled=self._cancelled,
                    on_event=events.handle,
                )
            )
        events.end()
        return result

    @contextlib.contextmanager
    def _access(self, watch: Watch, owner: Object | None, directory: Path) -> Iterator[Mapping[str, str]]:
        """Yield the environment variables through which a run reaches the API server. They are invalid afterwards."""
        if self._proxy is None or not watch.api_proxy:
            yield self._environment
            return
        with self._proxy.session(watch, owner, directory) as kubeconfig:
            yield environment(kubeconfig, os.environ)


def _name(works: Sequence[Work]) -> str:
    return f"{works[0].key.gvk.kind} batch of {len(works)}"


def _variables(watch: Watch, works: Sequence[Work]) -> dict[str, Any]:
    """Return the extra vars. A batch gets only the resources' names and the watch's vars; its modules read the rest."""
    own = extra_vars(watch, works[0].obj, finalizing=works[0].finalizing)
    if watch.batch == 1:
        return own
    batch = {"ansible_operator_batch": [{"name": work.key.name, "namespace": work.key.namespace} for work in works]}
    return {**batch, **(own if works[0].finalizing else watch.vars)}


def _broken(problem: str) -> RunResult:
    """Return the result of a run that could not be performed."""
    return RunResult(
        rc=-1, status="failed", counts=RunCounts(), failures=(), error=problem, requeue_after=None, duration=0.0
    )
