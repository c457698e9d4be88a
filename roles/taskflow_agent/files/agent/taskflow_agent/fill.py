"""Replaces the marks in a command and its environment with the results of earlier steps."""

from .flags import StepOptions
from .outcome import StepError
from .report import read_results

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable


class EarlierResults:
    """Looks results up in the done files, each of which is read only once."""

    def __init__(self, done_files: list[tuple[str, str]]) -> None:
        self._done_files = dict(done_files)
        self._read: dict[str, dict[str, str]] = {}

    def value(self, step: str, name: str) -> str:
        if step in self._done_files and step not in self._read:
            self._read[step] = read_results(self._done_files[step])
        value = self._read.get(step, {}).get(name)
        if value is None or not _can_be_passed_on(value):
            raise StepError("ResultMissing", f"step {step!r} wrote no result {name!r}")
        return value


def fill_in(options: StepOptions, mark: str) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the words of the command, and the variables of its environment, with all marks replaced.

    Args:
        options: the options of step mode.
        mark: the word with which the marks begin.

    Raises:
        StepError: ResultMissing, an earlier step has not written a result.
    """
    opening, look_up = f"{{{mark}:", EarlierResults(options.results_of).value
    words = [filled(word, opening, look_up) for word in options.arguments]
    return words, [(name, filled(text, opening, look_up)) for name, text in options.env]


def filled(text: str, opening: str, look_up: "Callable[[str, str], str]") -> str:
    """Replace every `<opening>STEP/NAME}` in one pass, so that no mark in a result is replaced."""
    first, *rest = text.split(opening)
    pieces = [first]
    for piece in rest:
        reference, brace, tail = piece.partition("}")
        step, slash, name = reference.partition("/")
        pieces += [look_up(step, name), tail] if brace and slash else [opening, piece]
    return "".join(pieces)


def _can_be_passed_on(value: str) -> bool:
    """Return whether a value can be an argument. An agent writes no others."""
    try:
        return b"\0" not in value.encode("utf-8")
    except UnicodeEncodeError:
        return False
