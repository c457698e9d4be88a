"""The command's tries: the first, and as many more as --retries allows."""

import time

from .command import command_line, start
from .flags import CONTINUE, StepOptions
from .fsio import overwrite
from .gate import Order
from .outcome import FAILED, Outcome, StepError
from .report import own_message
from .signals import ENDING, Dispositions, next_signal
from .stderr import complain
from .supervise import Supervisor, await_end_of_rest, conclude
from .system import Ignored
from .watch import DirectoryWatch

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from .results import Results


class Tries:
    """Runs the command until it does not fail, or may not run again."""

    def __init__(self, options: StepOptions, order: Order, watch: DirectoryWatch, dispositions: Dispositions) -> None:
        self._options = options
        self._results = results_of(options)
        self._order = order
        self._watch = watch
        self._dispositions = dispositions
        self._retries = 0
        self._started: int | None = None
        self._told: int | None = None

    def run(self) -> Outcome:
        """Return the outcome of the last try, with its results. The times span all tries."""
        try:
            outcome = self._run_all()
        except StepError as error:
            complain(str(error))
            outcome = error.outcome
        options = self._options
        outcome.retries = self._retries
        outcome.told = self._told
        # When the Pod is being ended, nothing else may begin.
        outcome.goes_on = options.on_error == CONTINUE and self._told is None
        if self._started is not None:
            outcome.started = self._started
            outcome.finished = max(self._started, time.time_ns())
            outcome.message = own_message(options.termination_log, options.termination_limit) or outcome.message
            if self._results is not None:
                self._results.collect(outcome)
        return outcome

    def _run_all(self) -> Outcome:
        arguments, variables = filled_in(self._options)
        while True:
            command = command_line(self._options, arguments)  # a script may have changed itself in the try before
            if self._results is not None:
                self._results.make_directory()
            pid = start(command, self._options.out, self._dispositions, variables)
            self._started = self._started or time.time_ns()
            supervisor = self._supervisor(pid)
            outcome = conclude(supervisor, supervisor.run())
            self._told = supervisor.told
            if not self._may_run_again(outcome):
                return outcome
            self._prepare_next(pid, outcome)

    def _supervisor(self, pid: int) -> Supervisor:
        is_to_end = None if self._order.path is None else self._order.ends_command
        return Supervisor(pid, is_to_end, self._watch, self._options.grace, self._options.timeout)

    def _may_run_again(self, outcome: Outcome) -> bool:
        if outcome.state != FAILED or self._retries == self._options.retries:
            return False
        self._told = self._told or _waiting_ending_signal()
        return self._told is None and not self._order.ends_command()

    def _prepare_next(self, pid: int, outcome: Outcome) -> None:
        self._retries += 1
        which = f"try {self._retries} of {self._options.retries + 1}"
        complain(f"{which} failed (exit code {outcome.exit_code}), trying again")
        await_end_of_rest(pid)
        if self._results is not None:
            self._results.remove(self._retries)
        with Ignored(OSError):  # the end reports it if the file does not exist
            overwrite(self._options.termination_log, b"")


# Few steps need these modules, so the two functions import them, to not delay the other steps.


def filled_in(options: StepOptions) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the words of the command, and the variables of its environment, with all marks replaced."""
    if options.fill is None:
        return options.arguments, options.env
    from .fill import fill_in  # noqa: PLC0415

    return fill_in(options, options.fill)


def results_of(options: StepOptions) -> "Results | None":
    if options.results_dir is None:
        return None
    from .results import Results  # noqa: PLC0415

    return Results(options.results_dir, options.results, options.termination_limit)


def _waiting_ending_signal() -> int | None:
    """Return the ending signal that came while there was no command to pass it on to; None without one."""
    while (number := next_signal(0)) is not None:
        if number in ENDING:
            return number
    return None
