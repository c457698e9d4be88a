"""Supervises the running command: passes signals on, ends it when it must end, reaps dead processes."""

import time

from .gate import reap_strangers
from .outcome import CANCELLED, FAILED, SIGNAL_BASE, TIMED_OUT, Outcome, of_exit_code
from .signals import ENDING, FORWARDED, next_signal
from .system import Ignored, posix, signal
from .watch import DirectoryWatch

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable

POLL_INTERVAL = 0.25
NEVER = 86400.0
REST_PATIENCE = 1.0
REST_INTERVAL = 0.001


class Supervisor:
    """Supervises the command until it has ended.

    Args:
        pid: the command's process, which leads its group.
        is_to_end: returns true if the command must end; None if nothing can ask for that.
        watch: wakes the agent when `is_to_end` may have changed.
        grace: seconds between SIGTERM and SIGKILL.
        timeout: seconds after which the command must end; None for no limit.

    Attributes:
        ordered: whether `is_to_end` has ended the command.
        timed_out: whether the timeout has ended it.
        told: the first signal from outside that should end it.
    """

    def __init__(
        self,
        pid: int,
        is_to_end: "Callable[[], bool] | None",
        watch: DirectoryWatch,
        grace: float,
        timeout: float | None = None,
    ) -> None:
        self._pid = pid
        self._is_to_end = is_to_end
        self._watch = watch
        self._interval = NEVER if is_to_end is None else max(watch.interval, POLL_INTERVAL)
        self._grace = grace
        self.timeout = timeout
        self._timeout_at = None if timeout is None else time.monotonic() + timeout
        self._kill_at: float | None = None
        self._killed = False
        self.ordered = False
        self.timed_out = False
        self.told: int | None = None

    def run(self) -> int:
        """Wait for the command to end, and return its exit code as in waitstatus_to_exitcode."""
        while True:
            self._end_if_due()
            number = next_signal(self._patience())
            if number in FORWARDED:
                if self.told is None and number in ENDING:
                    self.told = number
                self._signal_group(number)
            status = self._reap()
            if status is not None:
                end_rest(self._pid)
                return posix.waitstatus_to_exitcode(status)
            self._watch.forget_events()
            self._kill_if_due()

    def _end_if_due(self) -> None:
        if self._kill_at is not None:
            return
        self.ordered = self._is_to_end is not None and self._is_to_end()
        self.timed_out = not self.ordered and self._timeout_at is not None and time.monotonic() >= self._timeout_at
        if self.ordered or self.timed_out:
            self._kill_at = time.monotonic() + self._grace
            self._signal_group(signal.SIGTERM)
            self._signal_group(signal.SIGCONT)  # a stopped process would not notice

    def _patience(self) -> float:
        until = self._timeout_at if self._kill_at is None else self._kill_at
        if until is None or self._killed:
            return self._interval
        return max(0.0, min(self._interval, until - time.monotonic()))

    def _kill_if_due(self) -> None:
        if self._kill_at is not None and not self._killed and time.monotonic() >= self._kill_at:
            self._killed = True
            end_rest(self._pid)

    def _signal_group(self, number: int) -> None:
        with Ignored(OSError):  # it has just ended, or changed its user
            posix.killpg(self._pid, number)

    def _reap(self) -> int | None:
        """Reap every dead process, as PID 1 must; return the status of the command if it was among them."""
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
    """Kill the remaining processes of the step, as the kernel does when a container's first process ends.

    They must end before the next step begins. As PID 1 the agent can kill everything in the container; in a shared
    process namespace only the group.
    """
    with Ignored(OSError):  # no process is left
        _signal_rest(group, signal.SIGKILL)


def await_end_of_rest(group: int) -> None:
    """Wait until killed processes have ended, before the command runs again; but only `REST_PATIENCE` seconds."""
    limit = time.monotonic() + REST_PATIENCE
    with Ignored(OSError):  # no process is left
        while time.monotonic() < limit:
            reap_strangers()
            _signal_rest(group, 0)
            time.sleep(REST_INTERVAL)


def _signal_rest(group: int, number: int) -> None:
    if posix.getpid() == 1:
        posix.kill(-1, number)
    else:
        posix.killpg(group, number)


def conclude(supervisor: Supervisor, exit_code: int) -> Outcome:
    outcome = of_exit_code(exit_code)
    if supervisor.timed_out:
        killed = exit_code == -signal.SIGKILL
        message = f"the command did not end within {supervisor.timeout:.10g} s"
        outcome = Outcome(FAILED, SIGNAL_BASE + signal.SIGKILL if killed else TIMED_OUT, "TimedOut", message)
    elif supervisor.told is not None and outcome.state == FAILED:
        outcome.message = f"signal {supervisor.told} from outside told it to end"
    if supervisor.ordered:
        outcome.state = CANCELLED
        outcome.reason = "Cancelled"
        outcome.message = "cancelled while it was running"
    return outcome
