"""The life of the controller's process: start, leadership, signals, a graceful end."""

import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from taskflow_controller.config.overrides import Defaults, Overrides
from taskflow_controller.config.watches import Finalizer, Watch, load_watches
from taskflow_controller.errors import ConfigError
from taskflow_controller.flags import boolean
from taskflow_controller.kube.api import ApiServer, connect
from taskflow_controller.kube.leader import LeaderElector, Timing, default_namespace
from taskflow_controller.kube.objects import Objects
from taskflow_controller.options import Options
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.reconcile.controller import Controller, Limits
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.runs.launcher import Launcher
from taskflow_controller.runs.runner import ColdRunner, end_stray_runs
from taskflow_controller.runs.warm.runner import WarmRunner
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.serve.health import health_endpoint
from taskflow_controller.serve.http_endpoint import HttpEndpoint
from taskflow_controller.serve.metrics import Metrics, metrics_endpoint
from taskflow_controller.serve.user_metrics import user_metrics_endpoint

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 3.0  # how long killed plays may take to be gone
POLL_SECONDS = 0.1
LOST_LEASE = 1


def serve(options: Options, environ: Mapping[str, str]) -> int:
    """Run until a signal or a lost lease ends it; return the exit code. Raises ConfigError at the start."""
    code = _Process(options, environ).run()
    if code == LOST_LEASE:  # at once: a request that hangs would keep its thread, and so this process, for a while
        logging.shutdown()
        os._exit(code)
    return code


class _Process:
    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._options = options
        loaded = load_watches(options.watches_file, environ)
        for warning in loaded.warnings:
            logger.warning(warning)
        # Plain values, no Events: a signal handler must not take a lock that the main thread may hold.
        self._signals = 0
        self._cancelling = False  # running plays are to be killed
        api = ApiServer(connect(options.kubeconfig or None))
        kubeconfig = os.path.abspath(options.kubeconfig) if options.kubeconfig else ""
        self._proxy = ApiProxy(api.client) if any(watch.api_proxy for watch in loaded.watches) else None
        limits = Limits(options.max_concurrent, options.max_total)
        self._metrics = Metrics({watch.gvk: limits.for_watch(watch) for watch in loaded.watches})
        overrides = Overrides(Defaults(options.reconcile_period, options.ansible_verbosity, options.run_timeout))
        self._workspaces = Workspaces(options.runner_dir)
        environment = {"KUBECONFIG": kubeconfig, "K8S_AUTH_KUBECONFIG": kubeconfig} if kubeconfig else {}
        self._warm = None if options.cold else warm_runner(loaded.watches, environment, options.no_worker_fork)
        launcher = Launcher(
            self._warm or ColdRunner(),
            self._workspaces,
            overrides,
            arguments=options.ansible_args,
            log_events=options.ansible_log_events,
            log_output=ansible_debug_logs(environ),
            environment=environment,
            proxy=self._proxy,
            cancelled=self._must_stop,
        )
        reconciler = Reconciler(launcher, Objects(api), overrides, cancelled=self._must_stop, metrics=self._metrics)
        self._controller = Controller(
            api, loaded.watches, reconciler, limits, watched_namespaces(environ), metrics=self._metrics
        )
        self._elector: LeaderElector | None = None
        if options.leader_elect:
            namespace = options.leader_election_namespace or default_namespace()
            timing = Timing(options.lease_duration, options.renew_deadline)
            self._elector = LeaderElector(api.client, options.leader_election_id, namespace, timing)
            self._metrics.leading(options.leader_election_id, leads=False)
        self._endpoints = self._bind_endpoints()

    def _bind_endpoints(self) -> list[HttpEndpoint]:
        health, metrics = self._options.health_address, self._options.metrics_address
        proxy = {"api-proxy": self._proxy.problem} if self._proxy else {}
        warm = {"fork-servers": self._warm.problem} if self._warm else {}
        # An API server that is away makes this replica unready, and no more: a restart would not bring it back.
        checks = {
            "/healthz": {"threads": self._controller.thread_problem, **proxy},
            "/readyz": {
                "informers": self._controller.informer_problem,
                "watches": self._controller.watch_problem,
                **warm,
            },
        }
        endpoints = [health_endpoint(health, checks)] if health else []
        if metrics:
            endpoints.append(metrics_endpoint(metrics, self._metrics))
        return endpoints + self._bind_user_metrics()

    def _bind_user_metrics(self) -> list[HttpEndpoint]:
        """Not at all rather than no start: its port is fixed by the module, and another controller may have it."""
        address = self._options.user_metrics_address
        try:
            return [user_metrics_endpoint(address, self._metrics.registry)] if address else []
        except ConfigError as exc:
            logger.warning("metrics of playbooks are not taken: %s", exc)
            return []

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        if self._proxy:
            self._proxy.start(self._controller.dependents if self._options.inject_owner_ref else None)
        if self._warm:
            self._warm.start()
        self._controller.start_informers()
        for endpoint in self._endpoints:
            endpoint.start()
        if self._elector:
            self._elector.start()
        _end_stray_runs(self._workspaces)
        if self._wait_for_leadership():
            if self._elector:
                self._metrics.leading(self._options.leader_election_id, leads=True)
            self._controller.start_workers()
            logger.info("controller started")
            self._wait_for_end()
        return self._end()

    def _wait_for_leadership(self) -> bool:
        """Return true once this replica leads (or needs not to), false if it is to end before."""
        while self._elector and not self._elector.leading.is_set():
            if self._ending():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _wait_for_end(self) -> None:
        while not self._ending():
            time.sleep(POLL_SECONDS)

    def _ending(self) -> bool:
        return self._signals > 0 or self._lost()

    def _lost(self) -> bool:
        return self._elector is not None and self._elector.lost()

    def _must_stop(self) -> bool:
        """Whether nothing may be run or written any more."""
        return self._cancelling or self._lost()

    def _finish_running(self, timeout: float) -> bool:
        """Wait for the running plays; return whether they ended in time, and before the lease was lost."""
        deadline = time.monotonic() + timeout
        while not self._controller.shut_down(POLL_SECONDS):
            if self._lost() or time.monotonic() >= deadline:
                return False
        return True

    def _cancel_running(self) -> bool:
        """Kill the running plays; return whether they are gone."""
        logger.warning("cancelling %d running", self._controller.queue.working())
        self._cancelling = True
        return self._controller.shut_down(CANCEL_SECONDS)

    def _end(self) -> int:
        timeout = 0.0 if self._lost() else self._options.graceful_shutdown_timeout
        if timeout:
            running = self._controller.queue.working()
            logger.info("stopping: waiting up to %g s for %d running", timeout, running)
        ended = self._finish_running(timeout) or self._cancel_running()
        self._controller.stop_informers()
        if self._proxy:
            self._proxy.stop()
        if self._warm:
            self._warm.stop()
        lost = self._lost()
        if self._elector and not lost and ended:  # else the next leader waits until the lease has run out
            self._elector.release()
        for endpoint in self._endpoints:
            endpoint.stop()
        logger.info("stopped")
        return LOST_LEASE if lost else 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """First signal: a graceful end. Second: kill what runs, and exit at once."""
        self._signals += 1
        if self._signals > 1:
            self._cancelling = True
            # A thread, so that the plays (sessions of their own, deaf to our signals) get killed meanwhile.
            threading.Thread(target=self._exit_at_once, args=(128 + number,), daemon=True).start()

    def _exit_at_once(self, code: int) -> None:
        self._controller.shut_down(timeout=1.0)
        os._exit(code)


def _end_stray_runs(workspaces: Workspaces) -> None:
    """Kill what a predecessor that was killed has left running, lest two runs of a resource go on at once."""
    if workspaces.claim() and (count := end_stray_runs(workspaces.base)):
        logger.warning("killed %d processes of runs that an earlier controller has left behind", count)


def warm_runner(watches: Sequence[Watch], environment: Mapping[str, str], no_worker_fork: bool) -> WarmRunner:
    """Return a runner that knows beforehand what the watches run."""
    finalizers = [watch.finalizer for watch in watches if watch.finalizer]
    commands: list[Watch | Finalizer] = [*watches, *finalizers]
    playbooks = [command.playbook for command in commands if command.playbook]
    roles = [command.role for command in commands if command.role]
    return WarmRunner(playbooks, roles, environment, no_worker_fork=no_worker_fork)


def watched_namespaces(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the namespaces of ``WATCH_NAMESPACE``, a comma list; none for all."""
    names = (name.strip() for name in environ.get("WATCH_NAMESPACE", "").split(","))
    return tuple(dict.fromkeys(name for name in names if name))


def ansible_debug_logs(environ: Mapping[str, str]) -> bool:
    """Return whether ``ANSIBLE_DEBUG_LOGS`` asks for all that Ansible prints."""
    text = environ.get("ANSIBLE_DEBUG_LOGS", "")
    try:
        return bool(text) and boolean(text)
    except ValueError as exc:
        logger.warning("ANSIBLE_DEBUG_LOGS is ignored: %s", exc)
        return False
