"""Step mode, from the flags to the exit code."""

import time

from .command import start
from .flags import StepOptions, parse_step
from .fsio import directory_of, occupy_standard_descriptors, write_all, write_renamed
from .gate import POLL_INTERVAL, Gate, Order, wait_at
from .outcome import FAILED, Outcome, StepError
from .report import own_message, write_done, write_termination_message
from .script import unpack
from .signals import Dispositions
from .supervise import Supervisor, conclude
from .system import Ignored, strerror, take_orphans
from .watch import DirectoryWatch


def run_step(arguments: list[str]) -> int:
    """Everything that can go wrong ends in an outcome: somebody waits for the done file."""
    occupy_standard_descriptors()
    dispositions = Dispositions()
    options = StepOptions()
    try:
        parse_step(arguments, options)
        outcome = wait_and_run(options, dispositions)
    except StepError as error:
        complain(str(error))
        outcome = error.outcome
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {error}"
        complain(text)
        outcome = Outcome(FAILED, 1, "InternalError", text)
    return publish(options, outcome)


def wait_and_run(options: StepOptions, dispositions: Dispositions) -> Outcome:
    take_orphans()
    order = Order(options)
    gate = Gate(options, order)
    watch = DirectoryWatch(gate.directories(), POLL_INTERVAL)
    if options.ready is not None:
        write_ready(options.ready)
    refused = wait_at(gate, watch)
    if refused is not None:
        return refused
    return run_command(options, order, watch, dispositions)


def write_ready(path: str) -> None:
    try:
        write_renamed(path, b"")
    except OSError as error:
        raise StepError("Error", f"--ready: cannot write {path}: {strerror(error)}") from None


def run_command(options: StepOptions, order: Order, watch: DirectoryWatch, dispositions: Dispositions) -> Outcome:
    command = options.arguments
    if options.encodefile is not None:
        command = unpack(options.encodefile, options.script_dir or directory_of(options.encodefile), command)
    pid = start(command, options.out, dispositions)
    started = time.time_ns()
    supervisor = Supervisor(pid, order, watch, options.grace)
    outcome = conclude(supervisor, supervisor.run())
    outcome.started = started
    outcome.finished = max(started, time.time_ns())
    outcome.message = own_message(options.termination_log, options.termination_limit) or outcome.message
    return outcome


def publish(options: StepOptions, outcome: Outcome) -> int:
    """The done file first: the next step is waiting for it."""
    if options.done is not None:
        try:
            write_done(options.done, outcome)
        except OSError as error:
            text = f"--done: cannot write {options.done}: {strerror(error)}"
            complain(text)
            outcome.state = FAILED
            outcome.exit_code = outcome.exit_code or 1
            outcome.reason = "DoneFileError"
            outcome.message = text
    try:
        write_termination_message(options.termination_log, outcome, options.termination_limit)
    except OSError as error:
        # Outside a Pod there is none; nobody asked for one either.
        if not (options.termination_log_is_default and isinstance(error, FileNotFoundError)):
            complain(f"--termination-log: cannot write {options.termination_log}: {strerror(error)}")
    return outcome.exit_code


def complain(text: str) -> None:
    """One line on stderr; the only thing that the agent ever says."""
    line = " ".join(text.splitlines())
    with Ignored(OSError):
        write_all(2, f"taskflow-agent: {line}\n".encode("utf-8", "surrogateescape"))
