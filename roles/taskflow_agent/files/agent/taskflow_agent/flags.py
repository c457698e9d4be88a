"""The command line."""

from .outcome import StepError

TYPE_CHECKING = False  # not typing's: see system
if TYPE_CHECKING:
    from collections.abc import Callable

    FlagTable = dict[str, tuple[str, Callable[[str, str], object]]]

KUBELET_MESSAGE_LIMIT = 4096
SMALLEST_MESSAGE_LIMIT = 48  # room for state, exit code and the signal that told the step to end
MOST_RETRIES = 100
STOP, CONTINUE = "stop", "continue"
END, STAY = "end", "stay"


class FlagError(StepError):
    """The command line is wrong. The message names the flag."""

    def __init__(self, message: str) -> None:
        super().__init__("BadFlags", message, exit_code=2)


class StepOptions:
    """The values of the flags of step mode and sidecar mode. The attributes are named after the flags."""

    def __init__(self) -> None:
        self.wait: str | None = None
        self.waitcontent: str | None = None
        self.quit = "-1"
        self.ready: str | None = None
        self.begun: str | None = None
        self.started: str | None = None
        self.await_files: list[str] = []
        self.sidecars: list[tuple[str, str]] = []
        """The name and the done file of each."""
        self.after: str | None = None
        self.until: list[str] = []
        self.done: str | None = None
        self.termination_log = "/dev/termination-log"
        self.termination_log_is_default = True
        self.termination_limit = KUBELET_MESSAGE_LIMIT
        self.out = "stdout"
        self.grace = 10.0
        self.timeout: float | None = None
        self.on_error = STOP
        self.on_success = END
        self.hold: str | None = None
        self.retries = 0
        self.results_dir: str | None = None
        self.results: list[str] = []
        self.fill: str | None = None
        self.results_of: list[tuple[str, str]] = []
        """The name and the done file of each step."""
        self.env: list[tuple[str, str]] = []
        self.encodefile: str | None = None
        self.script_dir: str | None = None
        self.arguments: list[str] = []
        """The command with its arguments, or the arguments of the script."""


class InstallOptions:
    """The values of the arguments of install mode."""

    def __init__(self) -> None:
        self.directory = ""
        self.scripts_dir: str | None = None
        self.scripts: dict[str, list[str]] = {}
        """The pieces of each script, in order."""


def _text(_flag: str, value: str) -> str:
    return value


def _seconds(flag: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise FlagError(f"{flag} needs a number of seconds, not {value!r}")
    return seconds


def _positive_seconds(flag: str, value: str) -> float:
    seconds = _seconds(flag, value)
    if not seconds:
        raise FlagError(f"{flag} needs a number of seconds above 0, not {value!r}")
    return seconds


def _whole_number(flag: str, value: str, least: int, most: int) -> int:
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    if not is_number or not least <= int(value) <= most:
        raise FlagError(f"{flag} needs a number from {least} to {most}, not {value[:40]!r}")
    return int(value)


def _message_limit(flag: str, value: str) -> int:
    return _whole_number(flag, value, SMALLEST_MESSAGE_LIMIT, KUBELET_MESSAGE_LIMIT)


def _retries(flag: str, value: str) -> int:
    return _whole_number(flag, value, 0, MOST_RETRIES)


def _on_error(flag: str, value: str) -> str:
    if value not in (STOP, CONTINUE):
        raise FlagError(f"{flag} needs {STOP} or {CONTINUE}, not {value[:40]!r}")
    return value


def _on_success(flag: str, value: str) -> str:
    if value not in (END, STAY):
        raise FlagError(f"{flag} needs {END} or {STAY}, not {value[:40]!r}")
    return value


def _result_name(flag: str, value: str) -> str:
    plain = value.replace("-", "_").replace("_", "0")
    if value.startswith("-") or not plain.isascii() or not plain.isalnum():
        raise FlagError(f"{flag} needs a name of letters, digits, - and _, not {value[:40]!r}")
    return value


def _pair(flag: str, value: str) -> tuple[str, str]:
    name, equals, text = value.partition("=")
    if not name or not equals:
        raise FlagError(f"{flag} needs NAME=VALUE, not {value[:40]!r}")
    return name, text


def _done_file_of(flag: str, value: str) -> tuple[str, str]:
    name, path = _pair(flag, value)
    if not path:
        raise FlagError(f"{flag} needs NAME=DONEFILE, not {value[:40]!r}")
    return name, path


COMMON_FLAGS: "FlagTable" = {
    "--wait": ("wait", _text),
    "--quit": ("quit", _text),
    "--ready": ("ready", _text),
    "--done": ("done", _text),
    "--termination-log": ("termination_log", _text),
    "--termination-limit": ("termination_limit", _message_limit),
    "--out": ("out", _text),
    "--grace": ("grace", _seconds),
    "--encodefile": ("encodefile", _text),
    "--script-dir": ("script_dir", _text),
}
SIDECAR_FLAGS: "FlagTable" = {
    **COMMON_FLAGS,
    "--until": ("until", _text),
    "--on-success": ("on_success", _on_success),
    "--hold": ("hold", _text),
}
STEP_FLAGS: "FlagTable" = {
    **COMMON_FLAGS,
    "--waitcontent": ("waitcontent", _text),
    "--await": ("await_files", _text),
    "--after": ("after", _text),
    "--sidecar": ("sidecars", _done_file_of),
    "--begun": ("begun", _text),
    "--started": ("started", _text),
    "--timeout": ("timeout", _positive_seconds),
    "--on-error": ("on_error", _on_error),
    "--retries": ("retries", _retries),
    "--results-dir": ("results_dir", _text),
    "--result": ("results", _result_name),
    "--fill": ("fill", _text),
    "--results-of": ("results_of", _done_file_of),
    "--env": ("env", _pair),
}
MAY_BE_EMPTY = ("--waitcontent",)
NEEDS = (
    ("--waitcontent", "--wait"),
    ("--quit", "--wait"),
    ("--result", "--results-dir"),
    ("--results-of", "--fill"),
    ("--encodefile", "--script-dir"),
    ("--script-dir", "--encodefile"),
    ("--", "--encodefile"),
)


def parse_step(arguments: list[str], options: StepOptions) -> None:
    """Parse the flags of step mode.

    Args:
        arguments: the command line.
        options: get the values. After an error they have those of the flags before the wrong one.

    Raises:
        FlagError: the command line is wrong.
    """
    _parse(arguments, options, STEP_FLAGS)


def parse_sidecar(arguments: list[str], options: StepOptions) -> None:
    """Parse the flags of sidecar mode, like `parse_step`."""
    _parse(arguments, options, SIDECAR_FLAGS)


def _parse(arguments: list[str], options: StepOptions, known: "FlagTable") -> None:
    seen: set[str] = set()
    index = 0
    while index < len(arguments):
        flag = arguments[index]
        if flag in ("--command", "--"):
            options.arguments = arguments[index + 1 :]
            seen.add(flag)
            break
        if flag not in known:
            raise FlagError(f"unknown flag {flag!r}")
        attribute, read = known[flag]
        value = read(flag, _value_of(arguments, index))
        _set(options, attribute, value, flag, flag in seen)
        seen.add(flag)
        index += 2
    options.termination_log_is_default = "--termination-log" not in seen
    _check(options, seen)


def _value_of(arguments: list[str], index: int) -> str:
    flag = arguments[index]
    if index + 1 == len(arguments):
        raise FlagError(f"{flag} needs a value")
    value = arguments[index + 1]
    if not value and flag not in MAY_BE_EMPTY:
        raise FlagError(f"{flag} needs a value that is not empty")
    return value


def _set(options: StepOptions, attribute: str, value: object, flag: str, again: bool) -> None:
    before = getattr(options, attribute)
    if isinstance(before, list):
        before.append(value)
    elif again:
        raise FlagError(f"{flag} is given twice")
    else:
        setattr(options, attribute, value)


def _check(options: StepOptions, seen: set[str]) -> None:
    for flag, needed in NEEDS:
        if flag in seen and needed not in seen:
            raise FlagError(f"{flag} needs {needed}")
    _check_unique("--result", options.results)
    _check_unique("--results-of", [step for step, _path in options.results_of])
    _check_unique("--sidecar", [name for name, _path in options.sidecars])
    if "--command" in seen:
        if options.encodefile is not None:
            raise FlagError("--command and --encodefile exclude each other")
        if not options.arguments:
            raise FlagError("--command needs a command after it")
    elif options.encodefile is None:
        raise FlagError("nothing to run: --command or --encodefile is needed")


def _check_unique(flag: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise FlagError(f"{flag} is given twice for one name")


def parse_install(arguments: list[str]) -> InstallOptions:
    """Return the values of the arguments of install mode.

    Raises:
        FlagError: the command line is wrong.
    """
    options = InstallOptions()
    if not arguments or arguments[0].startswith("--") or not arguments[0]:
        raise FlagError("install needs a directory")
    options.directory = arguments[0]
    index = 1
    while index < len(arguments):
        flag = arguments[index]
        if flag not in ("--script", "--scripts-dir"):
            raise FlagError(f"unknown flag {flag!r} of install")
        if index + 1 == len(arguments) or not arguments[index + 1]:
            raise FlagError(f"{flag} needs a value")
        if flag == "--script":
            _add_script_piece(options, arguments[index + 1])
        elif options.scripts_dir is not None:
            raise FlagError("--scripts-dir is given twice")
        else:
            options.scripts_dir = arguments[index + 1]
        index += 2
    if options.scripts and options.scripts_dir is None:
        raise FlagError("--script needs --scripts-dir")
    return options


def _add_script_piece(options: InstallOptions, value: str) -> None:
    name, equals, piece = value.partition("=")
    if not equals or not name or "/" in name or name.startswith("."):
        raise FlagError(f"--script needs NAME=CHUNK with a plain file name, not {value[:40]!r}")
    options.scripts.setdefault(name, []).append(piece)
