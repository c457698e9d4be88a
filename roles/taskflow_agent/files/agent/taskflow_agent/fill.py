"""Results of earlier steps, in place of the marks that stand for them."""

from .flags import StepOptions
from .outcome import StepError
from .report import read_results

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable


class EarlierResults:
    """Looks the results up in the done files; each file is read once."""

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
    """The words of the command, and the variables of its environment."""
    opening, look_up = f"{{{mark}:", EarlierResults(options.results_of).value
    words = [filled(word, opening, look_up) for word in options.arguments]
    return words, [(name, filled(text, opening, look_up)) for name, text in options.env]


def filled(text: str, opening: str, look_up: "Callable[[str, str], str]") -> str:
    """Replace every `<opening>STEP/NAME}`, in one pass: what is put in is not looked at again."""
    first, *rest = text.split(opening)
    pieces = [first]
    for piece in rest:
        reference, brace, tail = piece.partition("}")
        step, slash, name = reference.partition("/")
        pieces += [look_up(step, name), tail] if brace and slash else [opening, piece]
    return "".join(pieces)


def _can_be_passed_on(value: str) -> bool:
    """No agent writes anything else."""
    try:
        return b"\0" not in value.encode("utf-8")
    except UnicodeEncodeError:
        return False
