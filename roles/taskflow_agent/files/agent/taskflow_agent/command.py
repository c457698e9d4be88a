"""Starting the command: fork and exec, with nothing of the agent left in the new process."""

from .fsio import open_nothing, read_if_exists
from .outcome import NOT_EXECUTABLE, NOT_FOUND, StepError
from .signals import Dispositions
from .system import Ignored, environment_value, posix, strerror

DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNEXPECTED = 5  # EIO
_GOES_ON = (FileNotFoundError, NotADirectoryError)


def start(arguments: list[str], out: str, dispositions: Dispositions) -> int:
    """Start the command in a process group of its own; returns its process id, once it runs.

    The environment is the agent's own, untouched: execv passes the block on as the kernel gave it, with
    duplicates and oddities that a dictionary would lose.
    """
    encoded = [argument.encode("utf-8", "surrogateescape") for argument in arguments]
    nothing = open_nothing()
    output = open_output(out)
    reading, writing = posix.pipe()  # close-on-exec: stays silent if exec succeeds
    pid = posix.fork()
    if pid == 0:
        _become_command(encoded, nothing, output, writing, dispositions)
    posix.close(writing)
    posix.close(nothing)
    _set_group(pid)
    report = posix.read(reading, 16)
    posix.close(reading)
    if report:
        posix.waitpid(pid, 0)
        raise explain(arguments[0], int(report))
    return pid


def open_output(out: str) -> int:
    if out == "stdout":
        return 1
    try:
        return posix.open(out, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StepError("OutputError", f"--out: cannot open {out}: {strerror(error)}") from None


def _become_command(arguments: list[bytes], nothing: int, output: int, report: int, dispositions: Dispositions) -> None:
    number = UNEXPECTED
    try:
        _set_group(0)
        _take_terminal()
        posix.dup2(nothing, 0)
        posix.dup2(output, 1)
        dispositions.restore_in_child()
        execute(arguments)
    except OSError as error:
        number = error.errno or UNEXPECTED
    finally:
        posix.write(report, b"%d" % number)
        posix._exit(NOT_EXECUTABLE)


def _set_group(pid: int) -> None:
    """Called by parent and child alike: whoever comes first, the group exists before it is needed."""
    with Ignored(OSError):  # the other one did, and the command runs already
        posix.setpgid(pid, pid)


def _take_terminal() -> None:
    """Where the container has a terminal, a group in its background would be stopped for using it."""
    if posix.isatty(1):
        with Ignored(OSError):  # a terminal, but not this session's
            posix.tcsetpgrp(1, posix.getpid())


def execute(arguments: list[bytes]) -> None:
    """Replace this process by the command; returns never, raises the OSError that says most."""
    refused: OSError | None = None
    missing: OSError = FileNotFoundError(2, "No such file or directory")
    for path in candidates(arguments[0], environment_value(b"PATH") or DEFAULT_PATH):
        try:
            posix.execv(path, arguments)
        except _GOES_ON as error:
            missing = error
        except OSError as error:
            refused = refused or error
    raise refused or missing


def candidates(name: bytes, search_path: bytes) -> list[bytes]:
    """Where to look for a program, as the container runtime does."""
    if not name:
        return []
    if b"/" in name:
        return [name]
    return [(directory or b".") + b"/" + name for directory in search_path.split(b":")]


def explain(name: str, number: int) -> StepError:
    """The exit code that a shell gives, and the sentence that it should."""
    words = strerror(OSError(number, posix.strerror(number)))
    if isinstance(OSError(number, words), _GOES_ON):
        interpreter = _interpreter_of(name)
        if interpreter:
            words = f"its interpreter {interpreter!r} is not in this image"
        elif name == "sh":
            words = "there is no sh in this image (a script without a #! line needs it)"
        return StepError("CommandNotFound", f"cannot run {name!r}: {words}", NOT_FOUND)
    return StepError("NotExecutable", f"cannot run {name!r}: {words}", NOT_EXECUTABLE)


def _interpreter_of(path: str) -> str:
    try:
        start_of_file = read_if_exists(path, 256) if "/" in path else None
    except OSError:
        return ""
    if not start_of_file or not start_of_file.startswith(b"#!"):
        return ""
    words = start_of_file[2:].split(b"\n")[0].split()
    carriage_return = "\r" if b"\r" in start_of_file.split(b"\n")[0] else ""
    return words[0].decode("utf-8", "replace") + carriage_return if words else ""
