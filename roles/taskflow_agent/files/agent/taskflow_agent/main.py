"""Which mode?"""

from . import __version__
from .fsio import write_all
from .install import run_install
from .step import run_step


def main(arguments: list[str]) -> int:
    """The exit code of the process."""
    if arguments == ["--version"]:
        write_all(1, f"taskflow-agent {__version__}\n".encode())
        return 0
    if arguments[:1] == ["install"]:
        return run_install(arguments[1:])
    return run_step(arguments)
