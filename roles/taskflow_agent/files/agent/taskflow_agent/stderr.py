"""The agent's own words: lines on stderr, and only when something went wrong."""

from .fsio import write_all
from .system import Ignored


def complain(text: str) -> None:
    """One line on stderr; the only thing that the agent ever says."""
    line = " ".join(text.splitlines())
    with Ignored(OSError):
        write_all(2, f"taskflow-agent: {line}\n".encode("utf-8", "surrogateescape"))
