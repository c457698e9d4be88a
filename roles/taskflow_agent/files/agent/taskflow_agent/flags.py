"""The command line."""

from .outcome import StepError

KUBELET_MESSAGE_LIMIT = 4096
SMALLEST_MESSAGE_LIMIT = 40  # room for state and exit code


class FlagError(StepError):
    """The command line is wrong; names the flag."""

    def __init__(self, message: str) -> None:
        super().__init__("BadFlags", message, exit_code=2)


class StepOptions:
    """What the flags of step mode say; the attributes are named after them."""

    def __init__(self) -> None:
        self.wait: str | None = None
        self.waitcontent: str | None = None
        self.quit = "-1"
        self.ready: str | None = None
        self.await_files: list[str] = []
        self.after: str | None = None
        self.done: str | None = None
        self.termination_log = "/dev/termination-log"
        self.termination_log_is_default = True
        self.termination_limit = KUBELET_MESSAGE_LIMIT
        self.out = "stdout"
        self.grace = 10.0
        self.encodefile: str | None = None
        self.script_dir: str | None = None
        self.arguments: list[str] = []
        """The command with its arguments, or the arguments of the script."""


class InstallOptions:
    def __init__(self) -> None:
        self.directory = ""
        self.scripts_dir: str | None = None
        self.scripts: dict[str, list[str]] = {}
        """For every script its pieces, in order."""


TEXT_FLAGS = {
    "--wait": "wait",
    "--waitcontent": "waitcontent",
    "--quit": "quit",
    "--ready": "ready",
    "--after": "after",
    "--done": "done",
    "--termination-log": "termination_log",
    "--out": "out",
    "--encodefile": "encodefile",
    "--script-dir": "script_dir",
}
MAY_BE_EMPTY = ("--waitcontent",)


def parse_step(arguments: list[str], options: StepOptions) -> None:
    """Fill the options; on a FlagError they hold what came before the wrong flag."""
    seen: set[str] = set()
    index = 0
    while index < len(arguments):
        flag = arguments[index]
        if flag in ("--command", "--"):
            options.arguments = arguments[index + 1 :]
            seen.add(flag)
            break
        if flag in seen:
            raise FlagError(f"{flag} is given twice")
        _set_step_flag(options, flag, _value_of(arguments, index))
        if flag != "--await":
            seen.add(flag)
        index += 2
    _check_step(options, seen)


def _value_of(arguments: list[str], index: int) -> str:
    flag = arguments[index]
    if flag not in TEXT_FLAGS and flag not in ("--await", "--grace", "--termination-limit"):
        raise FlagError(f"unknown flag {flag!r}")
    if index + 1 == len(arguments):
        raise FlagError(f"{flag} needs a value")
    value = arguments[index + 1]
    if not value and flag not in MAY_BE_EMPTY:
        raise FlagError(f"{flag} needs a value that is not empty")
    return value


def _set_step_flag(options: StepOptions, flag: str, value: str) -> None:
    if flag == "--await":
        options.await_files.append(value)
    elif flag == "--grace":
        options.grace = _seconds(flag, value)
    elif flag == "--termination-limit":
        options.termination_limit = _message_limit(flag, value)
    else:
        setattr(options, TEXT_FLAGS[flag], value)
        if flag == "--termination-log":
            options.termination_log_is_default = False


def _seconds(flag: str, value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise FlagError(f"{flag} needs a number of seconds, not {value!r}")
    return seconds


def _message_limit(flag: str, value: str) -> int:
    limit = int(value) if value.isascii() and value.isdigit() else 0
    if not SMALLEST_MESSAGE_LIMIT <= limit <= KUBELET_MESSAGE_LIMIT:
        wanted = f"a number from {SMALLEST_MESSAGE_LIMIT} to {KUBELET_MESSAGE_LIMIT}"
        raise FlagError(f"{flag} needs {wanted}, not {value!r}")
    return limit


def _check_step(options: StepOptions, seen: set[str]) -> None:
    for flag, needed in (
        ("--waitcontent", "--wait"),
        ("--quit", "--wait"),
        ("--encodefile", "--script-dir"),
        ("--script-dir", "--encodefile"),
        ("--", "--encodefile"),
    ):
        if flag in seen and needed not in seen:
            raise FlagError(f"{flag} needs {needed}")
    if "--command" in seen:
        if options.encodefile is not None:
            raise FlagError("--command and --encodefile exclude each other")
        if not options.arguments:
            raise FlagError("--command needs a command after it")
    elif options.encodefile is None:
        raise FlagError("nothing to run: --command or --encodefile is needed")


def parse_install(arguments: list[str]) -> InstallOptions:
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
