"""One run for one resource: prepare its directory and extra vars, run, log why and how it ended."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from taskflow_controller.extra_vars import extra_vars
from taskflow_controller.kinds import Object, ResourceKey
from taskflow_controller.log_events import EventLog
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.proxy.kubeconfig import environment
from taskflow_controller.runner import Runner, RunRequest, RunResult
from taskflow_controller.watches import Watch
from taskflow_controller.workspace import Workspaces

logger = logging.getLogger(__name__)


class Reconciler:
    """Runs a watch's playbook on an object. Called from several threads, for one key at a time."""

    def __init__(
        self,
        runner: Runner,
        workspaces: Workspaces,
        *,
        verbosity: int,
        arguments: str = "",
        log_events: str = "nothing",
        log_output: bool = False,
        run_timeout: float = 0.0,
        environment: Mapping[str, str],
        proxy: ApiProxy | None = None,
        cancelled: Callable[[], bool],
    ) -> None:
        """``environment`` is for runs that talk to the API server directly, the others use ``proxy``."""
        self._runner, self._workspaces = runner, workspaces
        self._verbosity, self._environment, self._cancelled = verbosity, environment, cancelled
        self._run_timeout, self._arguments, self._proxy = run_timeout, arguments, proxy
        self._log_events, self._log_output = log_events, log_output

    def reconcile(self, watch: Watch, key: ResourceKey, obj: Object, reason: str) -> RunResult:
        """Run the watch's playbook or role on ``obj`` and return how it ended."""
        logger.info("run started", extra={"resource": str(key), "reason": reason})
        events = EventLog(self._log_events, str(key), output=self._log_output)
        directory = self._workspaces.prepare(key)
        with self._access(watch, obj, directory) as access:
            result = self._runner.run(
                RunRequest(
                    directory=directory,
                    extra_vars=extra_vars(watch, obj),
                    playbook=watch.playbook,
                    role=watch.role,
                    arguments=self._arguments,
                    verbosity=self._verbosity if watch.verbosity is None else watch.verbosity,
                    max_artifacts=watch.max_runner_artifacts,
                    environment=access,
                    timeout=(self._run_timeout if watch.run_timeout is None else watch.run_timeout) or None,
                    cancelled=self._cancelled,
                    on_event=events.handle,
                )
            )
        events.end()
        _log_end(key, result)
        return result

    @contextlib.contextmanager
    def _access(self, watch: Watch, obj: Object, directory: Path) -> Iterator[Mapping[str, str]]:
        """Yield the environment by which a run reaches the API server; it is void afterwards."""
        if self._proxy is None or not watch.api_proxy:
            yield self._environment
            return
        with self._proxy.session(watch, obj, directory) as kubeconfig:
            yield environment(kubeconfig, os.environ)

    def clean_up(self, key: ResourceKey) -> None:
        """Remove what is kept for a resource that is gone."""
        self._workspaces.remove(key)
        logger.info("resource is gone, its directory removed", extra={"resource": str(key)})


def _log_end(key: ResourceKey, result: RunResult) -> None:
    fields = {
        "resource": str(key),
        "rc": result.rc,
        "status": result.status,
        "duration": round(result.duration, 3),
        "ok": result.counts.ok,
        "changed": result.counts.changed,
        "failed": result.counts.failed,
    }
    if result.successful:
        logger.info("run succeeded", extra=fields)
    elif result.cancelled:
        logger.warning("run cancelled", extra=fields)
    else:
        failures = [dataclasses.asdict(failure) for failure in result.failures]
        error = {"error": result.error} if result.error else {}
        logger.error("run failed", extra={**fields, "failures": failures, **error})
