"""The time while the command runs: pass signals on, end it when it is due, collect the dead."""

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
    """Runs until the command has ended.

    It ends the command when `is_to_end` (None: nobody ever says so) returns true, or when the time is up,
    whatever comes first; `ordered` and `timed_out` tell. `signalled` tells of a signal from outside that
    was meant to end the command.
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
        self.signalled = False

    def run(self) -> int:
        """The exit code as of waitstatus_to_exitcode."""
        while True:
            self._end_if_due()
            number = next_signal(self._patience())
            if number in FORWARDED:
                self.signalled = self.signalled or number in ENDING
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
            self._signal_group(signal.SIGCONT)  # a stopped process would not even notice

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
        _signal_rest(group, signal.SIGKILL)


def await_end_of_rest(group: int) -> None:
    """Let the killed be gone before the command runs again; one that cannot die holds up nothing."""
    limit = time.monotonic() + REST_PATIENCE
    with Ignored(OSError):  # nobody left
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
        return Outcome(FAILED, SIGNAL_BASE + signal.SIGKILL if killed else TIMED_OUT, "TimedOut", message)
    if supervisor.ordered:
        outcome.state = CANCELLED
        outcome.reason = "Cancelled"
        outcome.message = "cancelled while it was running"
    return outcome
