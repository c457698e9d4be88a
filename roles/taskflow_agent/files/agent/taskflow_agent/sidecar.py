"""Sidecar mode: runs the command beside the steps, and ends it when they are over."""

import time

from .command import command_line, start
from .flags import STAY, StepOptions, parse_sidecar
from .fsio import directory_of, exists
from .gate import POLL_INTERVAL, Order, reap_strangers
from .outcome import BAD_DONE_FILE, FAILED, SIGNAL_BASE, SUCCEEDED, Outcome, StepError
from .report import own_message, read_done, write_done
from .signals import ENDING, Dispositions, next_signal
from .step import conduct, publish, write_mark
from .supervise import NEVER, Supervisor, conclude, end_rest
from .system import Ignored, signal, strerror, take_orphans
from .watch import DirectoryWatch

KILLED = SIGNAL_BASE + signal.SIGKILL
HOLD_LIMIT = 30.0
"""Seconds for which a failed sidecar may delay the end of its container."""


class Steps:
    """The steps that the sidecar runs beside: their done files, in order, and the order file."""

    def __init__(self, options: StepOptions) -> None:
        self._order = Order(options)
        self._files = options.until
        self._awaited = list(options.until)

    def directories(self) -> list[str]:
        paths = self._files if self._order.path is None else [self._order.path, *self._files]
        return list(dict.fromkeys(directory_of(path) for path in paths))

    def are_over(self) -> bool:
        """Return whether the last step has ended, or later ones will not run: one has failed, or all are cancelled.

        A step may have been ended before its turn. The steps before it go on, and need the sidecar.
        """
        if self._order.ends_command():
            return True
        while self._awaited:
            ending = read_done(self._awaited[0])
            if ending is None:
                return False
            if not ending.lets_pass:
                return True
            del self._awaited[0]
        return bool(self._files)


def run_sidecar(arguments: list[str]) -> int:
    """Run sidecar mode, and return the exit code.

    A sidecar that fails before it writes its ready file still writes a done file, so that no step waits forever.
    """
    options = StepOptions()
    outcome = conduct(arguments, options, parse_sidecar, accompany)
    exit_code = publish(options, outcome)
    if not outcome.from_outside:
        linger(options, outcome)
    return exit_code


def accompany(options: StepOptions, dispositions: Dispositions) -> Outcome:
    take_orphans()
    keep_failure(options)
    steps = Steps(options)
    watch = DirectoryWatch(steps.directories(), POLL_INTERVAL)
    pid = start(command_line(options, options.arguments), options.out, dispositions, [])
    started = time.time_ns()
    try:
        write_mark("--ready", options.ready)
    except StepError:
        end_rest(pid)
        raise
    supervisor = Supervisor(pid, steps.are_over if steps.directories() else None, watch, options.grace)
    outcome = conclude(supervisor, supervisor.run())
    if supervisor.ordered:
        outcome = Outcome(SUCCEEDED, 0, "Stopped")
    outcome.started = started
    outcome.finished = max(started, time.time_ns())
    outcome.message = own_message(options.termination_log, options.termination_limit) or outcome.message
    outcome.told = supervisor.told
    outcome.from_outside = supervisor.ordered or supervisor.told is not None
    return outcome


def keep_failure(options: StepOptions) -> None:
    """Keep a failure in the done file if the container is started again.

    So the first step sees it whenever it looks, if it has not begun yet. Once it has begun, nobody reads the file.
    """
    try:
        was_started = options.ready is not None and exists(options.ready)
        ending = None if options.done is None else read_done(options.done)
    except OSError as error:
        raise StepError("Error", f"cannot read {error.filename}: {strerror(error)}") from None
    if ending is not None and ending.is_damaged:
        raise StepError(BAD_DONE_FILE, ending.message)
    if options.done is not None and was_started and ending is None:
        leave_killed(options.done)
        options.done = None
    elif ending is not None and not ending.lets_pass:
        options.done = None


def leave_killed(done: str) -> None:
    try:
        killed = Outcome(FAILED, KILLED, "Killed", "the container was killed, with its agent")
        write_done(done, killed)
    except OSError as error:
        raise StepError("DoneFileError", f"--done: cannot write {done}: {strerror(error)}") from None


def linger(options: StepOptions, outcome: Outcome) -> None:
    """Stay until a signal ends the agent, if the kubelet would otherwise start the container again for nothing.

    That is so after a success, and also after a failure because of which no step will begin: the next start would
    replace its log.
    """
    if outcome.state == SUCCEEDED and options.on_success == STAY:
        await_end()
    elif outcome.state != SUCCEEDED and options.hold is not None:
        with Ignored(OSError):  # don't stay if the file can't be read
            await_begin(options.hold)


def await_end() -> None:
    while next_signal(NEVER) not in ENDING:
        reap_strangers()


def await_begin(begun: str) -> None:
    """Stay until the file exists, a signal comes, or `HOLD_LIMIT` is over, because the first step may never begin."""
    watch, limit = DirectoryWatch([directory_of(begun)], POLL_INTERVAL), time.monotonic() + HOLD_LIMIT
    while not exists(begun) and (left := limit - time.monotonic()) > 0:
        if next_signal(min(left, watch.interval)) in ENDING:
            return
        reap_strangers()
        watch.forget_events()
