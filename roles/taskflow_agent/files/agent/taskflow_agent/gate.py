"""Decides whether the step may start."""

from .flags import StepOptions
from .fsio import directory_of, exists, read_if_exists
from .outcome import BAD_DONE_FILE, CANCELLED, DID_NOT_RUN, FAILED, SIGNAL_BASE, SKIPPED, Outcome, StepError
from .report import read_done
from .signals import ENDING, next_signal
from .system import posix, signal, strerror
from .watch import DirectoryWatch

POLL_INTERVAL = 0.020


class Order:
    """The order file, which says which step's turn it is, or that the steps are cancelled."""

    def __init__(self, options: StepOptions) -> None:
        self.path = options.wait
        self._turn = (options.waitcontent or "").encode("utf-8", "surrogateescape").strip()
        self._quit = options.quit.encode("utf-8", "surrogateescape").strip()

    def content(self) -> bytes | None:
        found = read_if_exists(self.path) if self.path is not None else None
        return None if found is None else found.strip()

    def says_quit(self, content: bytes | None) -> bool:
        return content == self._quit

    def ends_command(self) -> bool:
        """Return whether a running command must end. If the order file can't be read, the command goes on."""
        try:
            return self.says_quit(self.content())
        except OSError:
            return False

    def says_start(self, content: bytes | None) -> bool:
        return not self._turn or content == self._turn


class Gate:
    """Opens when all conditions of the flags are met; `look` checks them."""

    def __init__(self, options: StepOptions, order: Order) -> None:
        self._order = order
        self._after = options.after
        self._missing = list(options.await_files)
        self._sidecars = options.sidecars

    def directories(self) -> list[str]:
        paths = [path for path in (self._after, self._order.path) if path is not None] + self._missing
        paths += [path for _name, path in self._sidecars]
        return list(dict.fromkeys(directory_of(path) for path in paths))

    def look(self) -> Outcome | bool:
        """Check the conditions. Return true: start. False: not yet. An outcome: never.

        Raises:
            StepError: Error, a file can't be read; BadDoneFile, the previous step has damaged its own.
        """
        try:
            return self._look()
        except OSError as error:
            path = error.filename or "a watched file"
            raise StepError("Error", f"cannot read {path}: {strerror(error)}") from None

    def _look(self) -> Outcome | bool:
        previous_has_ended = True
        if self._after is not None:
            ending = read_done(self._after)
            if ending is not None and ending.is_damaged:
                raise StepError(BAD_DONE_FILE, f"nobody knows how the previous step ended: {ending.message}")
            if ending is not None and not ending.lets_pass:
                message = f"the previous step did not succeed: {ending}"
                return Outcome(SKIPPED, DID_NOT_RUN, "Skipped", message)
            previous_has_ended = ending is not None
        content = self._order.content()
        if self._order.says_quit(content):
            return Outcome(CANCELLED, DID_NOT_RUN, "Cancelled", "cancelled before it was started")
        self._missing = [path for path in self._missing if not exists(path)]
        # After the check of which have started: a sidecar that has started, and not failed by now, is fine.
        failure = self._failed_sidecar()
        if failure is not None:
            return failure
        return previous_has_ended and not self._missing and self._order.says_start(content)

    def _failed_sidecar(self) -> Outcome | None:
        for name, path in self._sidecars:
            ending = read_done(path)
            if ending is not None and not ending.lets_pass:
                message = f'sidecar "{name}" ended before the first step began: {ending.cause}'
                outcome = Outcome(SKIPPED, DID_NOT_RUN, "SidecarFailed", message)
                outcome.sidecar = name
                return outcome
        return None


def wait_at(gate: Gate, watch: DirectoryWatch) -> Outcome | None:
    """Wait until the step may start, and return None; or return how it ended without having started."""
    while (answer := gate.look()) is False:
        number = next_signal(watch.interval)
        if number == signal.SIGCHLD:
            reap_strangers()
        elif number in ENDING:
            return ended_early(number, gate)
        watch.forget_events()
    return None if answer is True else answer


def ended_early(number: int, gate: Gate) -> Outcome:
    """Return how a step ends that a signal ended before its turn: as its order or the step before says, if they do.

    Args:
        number: the signal.
        gate: it is looked at once more. What keeps it from being read is told, too.
    """
    try:
        answer = gate.look()
    except StepError as error:
        answer = error.outcome
    if isinstance(answer, bool):
        message = f"signal {number} ended it before its turn"
        answer = Outcome(FAILED, SIGNAL_BASE + number, "EndedBeforeItsTurn", message)
    answer.told = number
    return answer


def reap_strangers() -> None:
    """Reap other processes than the command. As PID 1 the agent adopts those of kubectl exec, for example."""
    try:
        while posix.waitpid(-1, posix.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
