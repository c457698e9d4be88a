"""The reports of a step: the done file for the next step, and the termination message for the operator."""

import time

from . import flatjson
from .flatjson import Fields
from .fsio import overwrite, read_if_exists, write_renamed
from .outcome import BAD_DONE_FILE, CANCELLED, FAILED, SKIPPED, SUCCEEDED, Outcome, StepError
from .system import strerror

CUT_MARK = "… (cut)"
# The fields to leave out, one after the other, if the limit is too small for all.
EXPENDABLE = ("message", "startedAt", "finishedAt", "signal", "reason", "retries", "continued", "sidecar")
RESULT = "result."
STATES = (SUCCEEDED, FAILED, SKIPPED, CANCELLED)


class Ending:
    """The content of a done file."""

    def __init__(
        self, state: str, exit_code: int, continued: bool = False, reason: str = "", message: str = ""
    ) -> None:
        self.state = state
        self.exit_code = exit_code
        self.reason = reason
        self.message = message
        self.lets_pass = state == SUCCEEDED or (state == FAILED and continued)
        """Whether the steps after it run."""
        self.is_damaged = False
        """Whether the file says nothing of how the step has ended. The message then says why."""

    def __str__(self) -> str:
        return f"{self.state}, exit code {self.exit_code}"

    @property
    def cause(self) -> str:
        """Why the step or sidecar failed, in words."""
        words = f"exit code {self.exit_code}" + (f", {self.reason}" if self.reason not in ("", "Error") else "")
        return f"{words}: {self.message}" if self.message else words


def read_done(path: str) -> Ending | None:
    """Return the content of a done file, or None if it does not exist yet. A damaged one counts as a failure."""
    try:
        fields = _read_fields(path)
    except StepError as error:
        damaged = Ending(FAILED, 1, False, BAD_DONE_FILE, str(error))
        damaged.is_damaged = True
        return damaged
    if fields is None:
        return None
    words = str(fields.get("reason", "")), str(fields.get("message", ""))
    return Ending(str(fields["state"]), int(fields["exitCode"]), fields.get("continued") == 1, *words)


def read_outcome(path: str) -> Outcome | None:
    """Return how an earlier container of the step ended; None if none has.

    Raises:
        StepError: BadDoneFile, the file is damaged.
    """
    fields = _read_fields(path)
    if fields is None:
        return None
    outcome = Outcome(str(fields["state"]), int(fields["exitCode"]), str(fields.get("reason", "")))
    outcome.goes_on = fields.get("continued") == 1
    outcome.fields = fields
    return outcome


def read_results(path: str) -> dict[str, str]:
    """Return the results in a done file; none if it does not exist.

    Raises:
        StepError: BadDoneFile, the file is damaged.
    """
    fields = _read_fields(path) or {}
    return {
        name.removeprefix(RESULT): value
        for name, value in fields.items()
        if name.startswith(RESULT) and isinstance(value, str)
    }


def _read_fields(path: str) -> Fields | None:
    """Return the content of a done file, with a state and an exit code; None if it does not exist.

    Raises:
        StepError: BadDoneFile, there is something else under its name.
    """
    try:
        content = read_if_exists(path)
        if content is None:
            return None
        fields = flatjson.loads(content)
        if fields["state"] in STATES and isinstance(fields["exitCode"], int):
            return fields
        why = "it has no state, or no exit code"
    except OSError as error:
        why = strerror(error)
    except (ValueError, KeyError):
        why = "it is no report of an agent"
    raise StepError(BAD_DONE_FILE, f"the done file {path} is damaged: {why}; only the agent may write there")


def write_done(path: str, outcome: Outcome) -> None:
    """Write the done file: the whole report, which a container that is made again repeats."""
    write_renamed(path, flatjson.dumps(_fields(outcome)) + b"\n")


def own_message(path: str, limit: int) -> str | None:
    """Return what the command itself wrote to the termination log, up to just over `limit` bytes."""
    try:
        content = read_if_exists(path, limit + 1)
    except OSError:
        return None
    return content.decode("utf-8", "replace") if content and content.strip() else None


def write_termination_message(path: str, outcome: Outcome, limit: int) -> None:
    overwrite(path, fit(_fields(outcome), limit))


def fit(fields: Fields, limit: int) -> bytes:
    """Return the fields as JSON of at most `limit` bytes. First the message is cut, then whole fields are left out.

    The results stay, because `results.collect` has checked that there is room for them.
    """
    fields = dict(fields)
    text = flatjson.dumps(fields)
    message = str(fields.get("message", ""))
    if len(text) > limit and message:
        fitting = _longest_fitting(fields, message, limit)
        if fitting is not None:
            fields["message"] = fitting
            return flatjson.dumps(fields)
    for name in EXPENDABLE:
        if len(text) <= limit:
            break
        fields.pop(name, None)
        text = flatjson.dumps(fields)
    return text


def _longest_fitting(fields: Fields, message: str, limit: int) -> str | None:
    """Return the longest start of the message that fits with the mark, or None if not even one character does."""
    low, high = 0, len(message)
    while low < high:
        middle = (low + high + 1) // 2
        if len(flatjson.dumps({**fields, "message": message[:middle] + CUT_MARK})) <= limit:
            low = middle
        else:
            high = middle - 1
    return message[:low] + CUT_MARK if low else None


def timestamp(nanoseconds: int) -> str:
    """Return a time as in RFC 3339, in UTC, with milliseconds."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1_000_000:03d}Z"


def lasting_fields(outcome: Outcome) -> Fields:
    """Return the fields that every report has besides the results."""
    fields: Fields = {
        "state": outcome.state,
        "exitCode": outcome.exit_code,
        "reason": outcome.reason,
    }
    if outcome.told is not None or outcome.signal is not None:
        # Of a command that a signal ended, also that nobody outside sent it: older agents do not say that.
        fields["told"] = outcome.told or 0
    if outcome.retries:
        fields["retries"] = outcome.retries
    if outcome.continued:
        fields["continued"] = 1
    return fields


def _fields(outcome: Outcome) -> Fields:
    if outcome.fields is not None:
        return outcome.fields
    fields = lasting_fields(outcome)
    if outcome.signal is not None:
        fields["signal"] = outcome.signal
    if outcome.sidecar is not None:
        fields["sidecar"] = outcome.sidecar
    fields.update({RESULT + name: value for name, value in outcome.results.items()})
    if outcome.started is not None and outcome.finished is not None:
        fields["startedAt"] = timestamp(outcome.started)
        fields["finishedAt"] = timestamp(outcome.finished)
    if outcome.message:
        fields["message"] = outcome.message
    return fields
