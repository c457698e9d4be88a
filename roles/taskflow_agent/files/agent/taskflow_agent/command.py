"""Starts the command with fork and exec, and leaves nothing of the agent in the new process."""

from .flags import StepOptions
from .fsio import directory_of, open_nothing, read_if_exists
from .outcome import NOT_EXECUTABLE, NOT_FOUND, StepError
from .signals import Dispositions
from .system import Ignored, environment_value, posix, strerror

Variables = list[tuple[bytes, bytes]]
DEFAULT_PATH = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
UNEXPECTED = 5  # EIO
STDOUT = 1
_GOES_ON = (FileNotFoundError, NotADirectoryError)


def command_line(options: StepOptions, arguments: list[str]) -> list[str]:
    """Return the command to run. With a script, unpack it; the arguments are then the script's.

    Raises:
        StepError: ScriptError, the script can't be unpacked.
    """
    if options.encodefile is None:
        return arguments
    from .script import unpack  # noqa: PLC0415 - few steps need it, so it must not delay the others

    return unpack(options.encodefile, options.script_dir or directory_of(options.encodefile), arguments)


def start(arguments: list[str], out: str, dispositions: Dispositions, variables: list[tuple[str, str]]) -> int:
    """Start the command in its own process group, and return its process id once it runs.

    The environment is the agent's own, unchanged except for the variables: execv passes it on as the kernel gave it,
    with duplicates and oddities that a dictionary would lose.

    Args:
        arguments: the command.
        out: "stdout", or the file that gets the command's output.
        dispositions: restores the signals in the command's process.
        variables: names and values to set in the environment.

    Raises:
        StepError: OutputError, `out` can't be opened; CommandNotFound or NotExecutable, the command can't be run.
    """
    encoded = [as_bytes(argument) for argument in arguments]
    encoded_variables = [(as_bytes(name), as_bytes(value)) for name, value in variables]
    nothing = open_nothing()
    output = open_output(out)
    reading, writing = posix.pipe()  # close-on-exec: stays silent if exec succeeds
    pid = posix.fork()
    if pid == 0:
        _become_command(encoded, encoded_variables, (nothing, output), writing, dispositions)
    for descriptor in (writing, nothing) if output == STDOUT else (writing, nothing, output):
        posix.close(descriptor)
    _set_group(pid)
    report = posix.read(reading, 16)
    posix.close(reading)
    if report:
        posix.waitpid(pid, 0)
        raise explain(arguments[0], int(report))
    return pid


def as_bytes(text: str) -> bytes:
    """Return an argument in its original bytes. Python has decoded invalid ones as surrogates."""
    return text.encode("utf-8", "surrogateescape")


def open_output(out: str) -> int:
    if out == "stdout":
        return STDOUT
    try:
        return posix.open(out, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StepError("OutputError", f"--out: cannot open {out}: {strerror(error)}") from None


def _become_command(
    arguments: list[bytes], variables: Variables, streams: tuple[int, int], report: int, dispositions: Dispositions
) -> None:
    failure = UNEXPECTED
    try:
        _set_group(0)
        _take_terminal()
        for number, descriptor in enumerate(streams):
            posix.dup2(descriptor, number)
        dispositions.restore_in_child()
        set_variables(variables)
        search_path = dict(variables).get(b"PATH", environment_value(b"PATH"))
        execute(arguments, search_path or DEFAULT_PATH)
    except OSError as error:
        failure = error.errno or UNEXPECTED
    finally:
        posix.write(report, b"%d" % failure)
        posix._exit(NOT_EXECUTABLE)


def _set_group(pid: int) -> None:
    """Make the process group. Parent and child both call this, so that it exists before either needs it."""
    with Ignored(OSError):  # the other one has done it, and the command already runs
        posix.setpgid(pid, pid)


def _take_terminal() -> None:
    """Bring the group to the foreground of the container's terminal, if any: using it would stop a background group."""
    if posix.isatty(1):
        with Ignored(OSError):  # a terminal, but not this session's
            posix.tcsetpgrp(1, posix.getpid())


def set_variables(variables: Variables) -> None:
    """Set each variable once, at the end of this process's environment."""
    for name, value in variables:
        posix.unsetenv(name)  # the environment may have it twice
        posix.putenv(name, value)


def execute(arguments: list[bytes], search_path: bytes) -> None:
    """Replace this process by the command. Never returns.

    Raises:
        OSError: the command can't be run. Of the errors for several paths, this is the most telling one.
    """
    refused: OSError | None = None
    missing: OSError = FileNotFoundError(2, "No such file or directory")
    for path in candidates(arguments[0], search_path):
        try:
            posix.execv(path, arguments)
        except _GOES_ON as error:
            missing = error
        except OSError as error:
            refused = refused or error
    raise refused or missing


def candidates(name: bytes, search_path: bytes) -> list[bytes]:
    """Return the paths at which to look for a program, like the container runtime."""
    if not name:
        return []
    if b"/" in name:
        return [name]
    return [(directory or b".") + b"/" + name for directory in search_path.split(b":")]


def explain(name: str, number: int) -> StepError:
    """Return the error for a command that can't be run, with the exit code that a shell would give.

    Args:
        name: the command.
        number: the errno of the failed exec.
    """
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
