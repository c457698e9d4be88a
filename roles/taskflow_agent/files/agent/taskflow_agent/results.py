"""Reads the results that the command leaves for later steps: one small text file for each.

The command controls these files. Nothing that it puts in their place may block the agent, or make it read a file that
the command could not read.
"""

from . import flatjson
from .flatjson import Fields
from .fsio import read_and_close
from .outcome import SUCCEEDED, Outcome, StepError
from .report import RESULT, lasting_fields
from .stderr import complain
from .system import Ignored, posix, strerror

FOR_ANYBODY = 0o777
FILE_TYPE, REGULAR = 0o170000, 0o100000
TOO_MANY_LINKS = 40  # ELOOP
NO_SUCH_DEVICE = 6  # ENXIO


class Found:
    """A result's file: its text, or None if it is too large for any report, and its bytes on disk and in JSON."""

    def __init__(self, name: str, text: str | None, size: int) -> None:
        self.name = name
        self.text = text
        self.size = size
        pair: Fields = {RESULT + name: text or ""}
        self.needs = len(flatjson.dumps(pair)) - len("{}") + len(",") + (size if text is None else 0)


class BadResult(Exception):
    """A result's file is not as it should be. The text says why, to follow the result's name."""


class Results:
    """The results of one step: their directory, their names, and the size of the reports they go into."""

    def __init__(self, directory: str, names: list[str], limit: int) -> None:
        self._directory = directory
        self._names = names
        self._limit = limit

    def make_directory(self) -> None:
        """Make the directory, writable by everybody, because the command may change its user.

        Raises:
            StepError: Error, it can't be made.
        """
        before = posix.umask(0)
        try:
            with Ignored(FileExistsError):
                posix.mkdir(self._directory, FOR_ANYBODY)
        except OSError as error:
            text = f"--results-dir: cannot make {self._directory}: {strerror(error)}"
            raise StepError("Error", text) from None
        finally:
            posix.umask(before)

    def remove(self, number: int) -> None:
        """Remove the results that the try with this number has written.

        Raises:
            StepError: BadResult, one can't be removed.
        """
        for name in self._names:
            try:
                with Ignored(FileNotFoundError):
                    _remove(self._directory, name, f".{name}.{number}")
            except OSError as error:
                raise StepError("BadResult", f"result {name!r} cannot be removed: {strerror(error)}") from None

    def collect(self, outcome: Outcome) -> None:
        """Add the results to the outcome. A wrong result makes a step that has succeeded fail."""
        found, problem = self._find()
        if outcome.state == SUCCEEDED:
            problem = problem or _lack_of_room(found, self._room(outcome))
            if problem is not None:
                _fail(outcome, problem)
        room = self._room(outcome)
        for result in found:
            if result.text is not None and result.needs <= room:
                room -= result.needs
                outcome.results[result.name] = result.text

    def _room(self, outcome: Outcome) -> int:
        return max(0, self._limit - len(flatjson.dumps(lasting_fields(outcome))))

    def _find(self) -> tuple[list[Found], StepError | None]:
        """Return the results that exist, and the problem of the first wrong one."""
        found: list[Found] = []
        problem = None
        for name in self._names:
            try:
                result = _read(self._directory, name, self._limit)
            except BadResult as error:
                problem = problem or StepError("BadResult", f"result {name!r} {error}")
            else:
                found += [] if result is None else [result]
        return found, problem


def _fail(outcome: Outcome, problem: StepError) -> None:
    complain(str(problem))
    outcome.state = problem.outcome.state
    outcome.exit_code = problem.outcome.exit_code
    outcome.reason = problem.outcome.reason
    outcome.message = problem.outcome.message


def _lack_of_room(found: list[Found], room: int) -> StepError | None:
    needed = sum(result.needs for result in found)
    if needed <= room:
        return None
    largest = max(found, key=lambda result: result.needs)
    have = f"the results need {needed} bytes, and this step's report has room for {room}"
    return StepError("ResultsTooLarge", f"{have} (largest: {largest.name}, {largest.size} bytes)")


def _read(directory: str, name: str, limit: int) -> Found | None:
    try:
        descriptor = _open(directory, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadResult(_explain(error)) from None
    status = posix.fstat(descriptor)
    if status.st_mode & FILE_TYPE != REGULAR:
        posix.close(descriptor)
        raise BadResult("is not a regular file")
    try:
        content = read_and_close(descriptor, limit + 1)
    except OSError as error:
        raise BadResult(_explain(error)) from None
    if len(content) > limit:
        return Found(name, None, max(status.st_size, len(content)))
    return Found(name, _text(content), len(content))


def _open(directory: str, name: str) -> int:
    place = _open_directory(directory)
    try:
        return posix.open(name, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOFOLLOW | posix.O_CLOEXEC, dir_fd=place)
    finally:
        posix.close(place)


def _open_directory(path: str) -> int:
    """Open the directory itself, which must not be a link either."""
    return posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC)


def _remove(directory: str, name: str, other_name: str) -> None:
    place = _open_directory(directory)
    try:
        posix.unlink(name, dir_fd=place)
    except IsADirectoryError:  # it may not be empty
        posix.rename(name, other_name, src_dir_fd=place, dst_dir_fd=place)
    finally:
        posix.close(place)


def _explain(error: OSError) -> str:
    if error.errno == TOO_MANY_LINKS:
        return "is a symbolic link"
    if error.errno == NO_SUCH_DEVICE:
        return "is not a regular file"
    return f"cannot be read: {strerror(error)}"


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise BadResult("is not text in UTF-8") from None
    if "\0" in text:
        raise BadResult("holds a NUL character")
    return text.rstrip("\n")
