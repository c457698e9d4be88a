"""Step mode, from the flags to the exit code."""

import time

from .flags import CONTINUE, StepOptions, parse_step
from .fsio import create_once, exists, lies_at, modified, occupy_standard_descriptors, write_renamed
from .gate import POLL_INTERVAL, Gate, Order, wait_at
from .outcome import BAD_DONE_FILE, DID_NOT_RUN, FAILED, Outcome, StepError
from .report import read_outcome, write_done, write_termination_message
from .signals import Dispositions
from .stderr import complain
from .system import strerror, take_orphans
from .tries import Tries
from .watch import DirectoryWatch

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable


def run_step(arguments: list[str]) -> int:
    options = StepOptions()
    return publish(options, conduct(arguments, options, parse_step, wait_and_run), must_be_told=True)


def conduct(
    arguments: list[str],
    options: StepOptions,
    parse: "Callable[[list[str], StepOptions], None]",
    work: "Callable[[StepOptions, Dispositions], Outcome]",
) -> Outcome:
    """Parse the arguments, do the work, and return its outcome.

    Every error becomes an outcome, because other containers wait for the done file.

    Args:
        arguments: the command line.
        options: get the values of the flags.
        parse: parses the command line.
        work: what to do then.
    """
    occupy_standard_descriptors()
    dispositions = Dispositions()
    try:
        parse(arguments, options)
        return work(options, dispositions)
    except StepError as error:
        complain(str(error))
        return error.outcome
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {error}"
        complain(text)
        return Outcome(FAILED, 1, "InternalError", text)


def wait_and_run(options: StepOptions, dispositions: Dispositions) -> Outcome:
    earlier = earlier_outcome(options)
    if earlier is not None:
        return earlier
    take_orphans()
    order = Order(options)
    gate = Gate(options, order)
    watch = DirectoryWatch(gate.directories(), POLL_INTERVAL)
    write_mark("--ready", options.ready)
    refused = wait_at(gate, watch)
    if refused is not None:
        return refused
    begin(options)
    outcome = Tries(options, order, watch, dispositions).run()
    check_done_file(options, outcome)
    return outcome


def earlier_outcome(options: StepOptions) -> Outcome | None:
    """Return how the step ended in an earlier container of the same Pod; None if its command has never begun.

    The kubelet makes a container again when the runtime has lost it, whatever the Pod's restartPolicy. The command must
    not run twice.

    Raises:
        StepError: BadDoneFile or Error, what the earlier container has left cannot be read.
    """
    ended = None if options.done is None else read_outcome(options.done)
    if ended is not None or options.started is None:
        return ended
    try:
        return restarted(options) if exists(options.started) else None
    except OSError as error:
        raise StepError("Error", f"--started: cannot read {options.started}: {strerror(error)}") from None


def restarted(options: StepOptions) -> Outcome:
    """Return how a step ends whose command an earlier container has started."""
    text = "the container was made again after its command had begun, and the command must not run twice"
    complain(text)
    outcome = Outcome(FAILED, DID_NOT_RUN, "Restarted", text)
    outcome.goes_on = options.on_error == CONTINUE
    outcome.finished = time.time_ns()
    outcome.started = min(modified(options.started or ""), outcome.finished)
    return outcome


def begin(options: StepOptions) -> None:
    """Leave the marks of a command that starts now. Another container of the Pod cannot have left them by now."""
    try:
        if options.started is not None and not create_once(options.started):
            raise StepError("Restarted", "another container of the Pod has just started the command")
    except OSError as error:
        raise StepError("Error", f"--started: cannot create {options.started}: {strerror(error)}") from None
    write_mark("--begun", options.begun)


def check_done_file(options: StepOptions, outcome: Outcome) -> None:
    """Make a failure of a step whose command has written a done file: the next step may have believed it."""
    if options.done is not None and outcome.lets_pass and lies_at(options.done):
        text = f"{options.done} was written while the command ran: only the agent may tell the next step how it ended"
        complain(text)
        outcome.fail(BAD_DONE_FILE, text)


def write_mark(flag: str, path: str | None) -> None:
    if path is None:
        return
    try:
        write_renamed(path, b"")
    except OSError as error:
        raise StepError("Error", f"{flag}: cannot write {path}: {strerror(error)}") from None


def publish(options: StepOptions, outcome: Outcome, must_be_told: bool = False) -> int:
    """Write the reports, and return the exit code.

    Args:
        options: name the files.
        outcome: what to report. One that an earlier container has left is in the done file already.
        must_be_told: a success that the termination message can't tell is none. So that message comes first, and then
            the done file, after which the next step begins.
    """
    problem = tell_operator(options, outcome)
    if problem is not None and must_be_told and outcome.lets_pass:
        outcome.fail("ReportError", problem)
    if options.done is not None and outcome.fields is None:
        try:
            write_done(options.done, outcome)
        except OSError as error:
            text = f"--done: cannot write {options.done}: {strerror(error)}"
            complain(text)
            outcome.fail("DoneFileError", text)
            outcome.results = {}
            tell_operator(options, outcome)
    return 0 if outcome.continued else outcome.exit_code


def tell_operator(options: StepOptions, outcome: Outcome) -> str | None:
    """Write the termination message. Return what keeps it from being written, in words; None if nothing does."""
    try:
        write_termination_message(options.termination_log, outcome, options.termination_limit)
    except OSError as error:
        # Outside a Pod the default file does not exist, and nobody asked for it.
        if not (options.termination_log_is_default and isinstance(error, FileNotFoundError)):
            text = f"--termination-log: cannot write {options.termination_log}: {strerror(error)}"
            complain(text)
            return text
    return None
