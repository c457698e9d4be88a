"""The agent's own messages: lines on stderr, only if something went wrong."""

from .fsio import write_all
from .system import Ignored


def complain(text: str) -> None:
    """Write one line to stderr."""
    line = " ".join(text.splitlines())
    with Ignored(OSError):
        write_all(2, f"taskflow-agent: {line}\n".encode("utf-8", "surrogateescape"))
