"""Install mode: the work of the init container, once per Pod."""

from .flags import InstallOptions, parse_install
from .fsio import copy_renamed, write_renamed
from .outcome import StepError
from .stderr import complain
from .system import Ignored, posix, strerror

PROGRAM_NAME = "taskflow-agent"
OWN_EXECUTABLE = "/proc/self/exe"


def run_install(arguments: list[str]) -> int:
    try:
        install(parse_install(arguments), OWN_EXECUTABLE)
    except StepError as error:
        complain(str(error))
        return error.outcome.exit_code
    return 0


def install(options: InstallOptions, executable: str) -> None:
    target = f"{options.directory}/{PROGRAM_NAME}"
    try:
        _make_directory(options.directory)
        copy_renamed(executable, target, 0o755)
        if options.scripts_dir is not None:
            target = options.scripts_dir
            _make_directory(target)
        for name, pieces in options.scripts.items():
            target = f"{options.scripts_dir}/{name}"
            write_renamed(target, "".join(pieces).encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise StepError("Error", f"install: cannot write {target}: {strerror(error)}") from None


def _make_directory(path: str) -> None:
    with Ignored(FileExistsError):
        posix.mkdir(path, 0o755)
