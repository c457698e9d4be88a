"""Selects the mode, and imports only its modules, because others would delay every step."""

from . import __version__
from .fsio import write_all
from .step import run_step


def main(arguments: list[str]) -> int:
    """Run the agent, and return the exit code of the process."""
    if arguments == ["--version"]:
        write_all(1, f"taskflow-agent {__version__}\n".encode())
        return 0
    if arguments[:1] == ["install"]:
        from .install import run_install  # noqa: PLC0415

        return run_install(arguments[1:])
    if arguments[:1] == ["sidecar"]:
        from .sidecar import run_sidecar  # noqa: PLC0415

        return run_sidecar(arguments[1:])
    return run_step(arguments)
