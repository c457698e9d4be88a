"""The outcome of a step."""

SUCCEEDED = "Succeeded"
FAILED = "Failed"
SKIPPED = "Skipped"
CANCELLED = "Cancelled"

DID_NOT_RUN = 1  # exit code of a step that was skipped or cancelled before it started
TIMED_OUT = 124  # as timeout(1) has it
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SIGNAL_BASE = 128

BAD_DONE_FILE = "BadDoneFile"  # somebody else than the agent has written it


class Outcome:
    """How a step ended: state, exit code, and the reason in one word and in a sentence.

    The times are in nanoseconds since 1970.
    """

    def __init__(self, state: str, exit_code: int, reason: str, message: str | None = None) -> None:
        self.state = state
        self.exit_code = exit_code
        self.reason = reason
        self.message = message
        self.signal: int | None = None
        self.told: int | None = None
        """The signal by which something outside told the agent to end, before the step had ended by itself."""
        self.started: int | None = None
        self.finished: int | None = None
        self.retries = 0
        self.results: dict[str, str] = {}
        self.from_outside = False
        """Whether a sidecar was told to end."""
        self.sidecar: str | None = None
        """The failed sidecar because of which the step was not started."""
        self.goes_on = False
        """Whether the steps after it run even if it failed."""
        self.fields: dict[str, str | int] | None = None
        """The whole report, where an earlier container of the step has left it."""

    @property
    def continued(self) -> bool:
        return self.goes_on and self.state == FAILED

    @property
    def lets_pass(self) -> bool:
        """Whether the steps after it run."""
        return self.state == SUCCEEDED or self.continued

    def fail(self, reason: str, message: str) -> None:
        """Make it a failure after which no step runs."""
        self.state, self.reason, self.message = FAILED, reason, message
        self.exit_code = self.exit_code or 1
        self.goes_on = False


class StepError(Exception):
    """The step cannot go on. `outcome` says how it ends."""

    def __init__(self, reason: str, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.outcome = Outcome(FAILED, exit_code, reason, message)


def of_exit_code(code: int) -> Outcome:
    """Return the outcome of a command with this exit code, as in waitstatus_to_exitcode: negative for a signal."""
    if code < 0:
        outcome = Outcome(FAILED, SIGNAL_BASE - code, "Signal", f"the command was ended by signal {-code}")
        outcome.signal = -code
        return outcome
    if code:
        return Outcome(FAILED, code, "Error")
    return Outcome(SUCCEEDED, 0, "Completed")
