"""The life of the controller's process: start, leadership, signals, graceful end."""

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from types import FrameType

from taskflow_controller.kube.leader import LeaderElector
from taskflow_controller.options import Options
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.reconcile.controller import Controller
from taskflow_controller.runs.runner import end_stray_runs
from taskflow_controller.runs.warm.starter import WarmStarter
from taskflow_controller.runs.workspace import Workspaces
from taskflow_controller.serve.http_endpoint import HttpEndpoint
from taskflow_controller.serve.metrics import Metrics

logger = logging.getLogger(__name__)

CANCEL_SECONDS = 3.0  # how long killed runs may take to end
POLL_SECONDS = 0.1
LOST_LEASE = 1


def serve(process: "Process") -> int:
    """Run a process until a signal or a lost lease ends it; return the exit code.

    After a lost lease this function does not return, but ends the Python process.
    """
    code = process.run()
    if code == LOST_LEASE:  # at once: a request that hangs would keep its thread, and so this process, alive
        logging.shutdown()
        os._exit(code)
    return code


class Stopping:
    """Says whether the process should end, and how.

    It has plain values instead of Events, because a signal handler must not take a lock that the main thread may hold.

    Args:
        elector: says whether the lease is lost; None without leader election.

    Attributes:
        signals: how many signals to end have come.
        cancelling: whether the current runs are being killed.
    """

    def __init__(self, elector: LeaderElector | None) -> None:
        self._elector = elector
        self.signals = 0
        self.cancelling = False

    def asked(self) -> bool:
        """Return whether the process should end."""
        return self.signals > 0 or self.lost()

    def at_once(self) -> bool:
        """Return whether nothing may be run or written any more."""
        return self.cancelling or self.lost()

    def lost(self) -> bool:
        """Return whether the lease is lost, so that another replica may lead."""
        return self._elector is not None and self._elector.lost()


@dataclass(frozen=True)
class Parts:
    """The parts that a process starts and stops; ``compose`` makes them. Those that are None are not wanted."""

    controller: Controller
    metrics: Metrics
    workspaces: Workspaces
    endpoints: tuple[HttpEndpoint, ...]
    proxy: ApiProxy | None
    warm: WarmStarter | None
    elector: LeaderElector | None


class Process:
    """A controller's process, from its start to its end.

    Args:
        options: the values of the flags.
        parts: what the process starts and stops.
        stopping: says when the process should end.
    """

    def __init__(self, options: Options, parts: Parts, stopping: Stopping) -> None:
        self._options, self._parts, self._stopping = options, parts, stopping

    def run(self) -> int:
        """Run until a signal or a lost lease ends it; return the exit code."""
        parts = self._parts
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        self._lead(False)
        if parts.proxy:
            parts.proxy.start(parts.controller.dependents if self._options.inject_owner_ref else None)
        if parts.warm:
            parts.warm.start()
        parts.controller.start_informers()
        for endpoint in parts.endpoints:
            endpoint.start()
        if parts.elector:
            parts.elector.start()
        _end_stray_runs(parts.workspaces)
        if self._wait_for_leadership():
            self._lead(True)
            parts.controller.start_workers()
            logger.info("controller started")
            self._wait_for_end()
        return self._end()

    def _lead(self, leads: bool) -> None:
        if self._parts.elector:
            self._parts.metrics.leading(self._options.leader_election_id, leads=leads)

    def _wait_for_leadership(self) -> bool:
        """Return true once this replica leads, or if there is no election; false if it should end before that."""
        elector = self._parts.elector
        while elector and not elector.leading.is_set():
            if self._stopping.asked():
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _wait_for_end(self) -> None:
        while not self._stopping.asked():
            time.sleep(POLL_SECONDS)

    def _finish_running(self, timeout: float) -> bool:
        """Wait for the current runs; return whether they ended in time, and before the lease was lost."""
        deadline = time.monotonic() + timeout
        while not self._parts.controller.shut_down(POLL_SECONDS):
            if self._stopping.lost() or time.monotonic() >= deadline:
                return False
        return True

    def _cancel_running(self) -> bool:
        """Kill the current runs; return whether they have ended."""
        controller = self._parts.controller
        logger.warning("cancelling the runs of %d resources", controller.queue.working())
        self._stopping.cancelling = True
        return controller.shut_down(CANCEL_SECONDS)

    def _end(self) -> int:
        parts = self._parts
        timeout = 0.0 if self._stopping.lost() else self._options.graceful_shutdown_timeout
        if timeout:
            running = parts.controller.queue.working()
            logger.info("stopping: waiting up to %g s for the runs of %d resources", timeout, running)
        ended = self._finish_running(timeout) or self._cancel_running()
        parts.controller.stop_informers()
        if parts.proxy:
            parts.proxy.stop()
        if parts.warm:
            parts.warm.stop()
        lost = self._stopping.lost()
        if parts.elector and not lost and ended:  # otherwise the next leader waits until the lease has expired
            parts.elector.release()
        for endpoint in parts.endpoints:
            endpoint.stop()
        logger.info("stopped")
        return LOST_LEASE if lost else 0

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        """End gracefully at the first signal; at the second, kill the runs and exit at once."""
        self._stopping.signals += 1
        if self._stopping.signals > 1:
            self._stopping.cancelling = True
            # In a thread, so that the workers can kill the runs before: these have their own sessions, which our
            # signals don't reach.
            threading.Thread(target=self._exit_at_once, args=(128 + number,), daemon=True).start()

    def _exit_at_once(self, code: int) -> None:
        self._parts.controller.shut_down(timeout=1.0)
        os._exit(code)


def _end_stray_runs(workspaces: Workspaces) -> None:
    """Kill runs that a killed predecessor left behind: a resource must not have two runs at once."""
    if workspaces.claim() and (count := end_stray_runs(workspaces.base)):
        logger.warning("killed %d processes of runs that an earlier controller left behind", count)
