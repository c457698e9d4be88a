"""Sidecar mode: the command runs beside the steps, and is ended when they are over."""

import time

from .command import command_line, start
from .flags import StepOptions, parse_sidecar
from .fsio import directory_of, exists
from .gate import POLL_INTERVAL, Order
from .outcome import SUCCEEDED, Outcome, StepError
from .report import own_message, read_done
from .signals import Dispositions
from .step import conduct, publish, write_ready
from .supervise import Supervisor, conclude, end_rest
from .system import Ignored, take_orphans
from .watch import DirectoryWatch


class Steps:
    """Those that the sidecar runs beside: their done files, in their order, and the order file."""

    def __init__(self, options: StepOptions) -> None:
        self._order = Order(options)
        self._files = options.until
        self._awaited = list(options.until)

    def directories(self) -> list[str]:
        paths = self._files if self._order.path is None else [self._order.path, *self._files]
        return list(dict.fromkeys(directory_of(path) for path in paths))

    def are_over(self) -> bool:
        """The last has ended, or one has in a way that keeps the later ones from running."""
        if self._order.ends_command():
            return True
        for path in list(self._awaited):
            lets_pass = _lets_pass(path)
            if lets_pass is False or (lets_pass and path == self._files[-1]):
                return True
            if lets_pass:
                self._awaited.remove(path)
        return False


def _lets_pass(path: str) -> bool | None:
    """None if there is no such file yet; what cannot be read is the end, as what makes no sense is."""
    try:
        ending = read_done(path)
    except OSError:
        return False
    return None if ending is None else ending.lets_pass


def run_sidecar(arguments: list[str]) -> int:
    """Its ready file is written whatever goes wrong: nobody may wait for a sidecar for ever."""
    options = StepOptions()
    outcome = conduct(arguments, options, parse_sidecar, accompany)
    with Ignored(OSError, StepError):
        if options.ready is not None and not exists(options.ready):
            write_ready(options)
    return publish(options, outcome)


def accompany(options: StepOptions, dispositions: Dispositions) -> Outcome:
    take_orphans()
    steps = Steps(options)
    watch = DirectoryWatch(steps.directories(), POLL_INTERVAL)
    pid = start(command_line(options, options.arguments), options.out, dispositions, [])
    started = time.time_ns()
    try:
        write_ready(options)
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
    return outcome
