"""The time while the command runs: pass signals on, watch for cancellation, collect the dead."""

import time

from .gate import Order
from .outcome import CANCELLED, Outcome, of_exit_code
from .signals import FORWARDED, next_signal
from .system import Ignored, posix, signal
from .watch import DirectoryWatch

POLL_INTERVAL = 0.25
NEVER = 86400.0


class Supervisor:
    """Runs until the command has ended; `cancelled` tells whether that was on order."""

    def __init__(self, pid: int, order: Order, watch: DirectoryWatch, grace: float) -> None:
        self._pid = pid
        self._order = order
        self._watch = watch
        self._interval = NEVER if order.path is None else max(watch.interval, POLL_INTERVAL)
        self._grace = grace
        self._kill_at: float | None = None
        self._killed = False
        self.cancelled = False

    def run(self) -> int:
        """The exit code as of waitstatus_to_exitcode."""
        while True:
            self._obey_order()
            number = next_signal(self._patience())
            if number in FORWARDED:
                self._signal_group(number)
            status = self._reap()
            if status is not None:
                end_rest(self._pid)
                return posix.waitstatus_to_exitcode(status)
            self._watch.forget_events()
            self._kill_if_due()

    def _obey_order(self) -> None:
        if self.cancelled or not self._says_quit():
            return
        self.cancelled = True
        self._kill_at = time.monotonic() + self._grace
        self._signal_group(signal.SIGTERM)
        self._signal_group(signal.SIGCONT)  # a stopped process would not even notice

    def _says_quit(self) -> bool:
        try:
            return self._order.says_quit(self._order.content())
        except OSError:
            return False  # the command is worth more than the remote control

    def _patience(self) -> float:
        if self._kill_at is None or self._killed:
            return self._interval
        return max(0.0, min(self._interval, self._kill_at - time.monotonic()))

    def _kill_if_due(self) -> None:
        if self._kill_at is not None and not self._killed and time.monotonic() >= self._kill_at:
            self._killed = True
            end_rest(self._pid)

    def _signal_group(self, number: int) -> None:
        with Ignored(OSError):  # it has just ended, or became another user's
            posix.killpg(self._pid, number)

    def _reap(self) -> int | None:
        """Collect every ended process, as PID 1 must; the status of the command if it was among them."""
        status = None
        try:
            while True:
                pid, found = posix.waitpid(-1, posix.WNOHANG)
                if pid == 0:
                    return status
                if pid == self._pid:
                    status = found
        except ChildProcessError:
            return status


def end_rest(group: int) -> None:
    """Kill what is left of the step, as the kernel does when a container's first process ends.

    It must be over before the next step begins. As PID 1 the agent reaches everything in the container;
    in a shared process namespace only the group.
    """
    with Ignored(OSError):  # nobody left
        if posix.getpid() == 1:
            posix.kill(-1, signal.SIGKILL)
        else:
            posix.killpg(group, signal.SIGKILL)


def conclude(supervisor: Supervisor, exit_code: int) -> Outcome:
    outcome = of_exit_code(exit_code)
    if supervisor.cancelled:
        outcome.state = CANCELLED
        outcome.reason = "Cancelled"
        outcome.message = "cancelled while it was running"
    return outcome
