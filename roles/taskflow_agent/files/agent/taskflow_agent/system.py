"""The system calls that the agent uses, from the built-in modules behind `os` and `signal`.

`native` is the C helper of the executable. From source it is missing, and so are its features.
"""

TYPE_CHECKING = False  # not typing's, because importing typing takes longer than everything else together

if TYPE_CHECKING:
    import os as posix
    import signal
else:
    import _signal as signal
    import posix

try:
    import _tfsys as native  # type: ignore[import-not-found]
except ImportError:
    native = None

__all__ = [
    "Ignored",
    "environment_value",
    "inherited_signal_mask",
    "inotify_open",
    "inotify_watch",
    "posix",
    "signal",
    "strerror",
    "take_orphans",
]


class Ignored:
    """`contextlib.suppress`, without the imports that it costs."""

    def __init__(self, *errors: type[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, _error: object, _traceback: object) -> bool:
        return kind is not None and issubclass(kind, self._errors)


def environment_value(name: bytes) -> bytes | None:
    environ: dict[bytes, bytes] = posix.environ  # type: ignore[assignment]  # posix's, unlike os's, is of bytes
    return environ.get(name)


def strerror(error: OSError) -> str:
    """Return the system's text for an error, without Python's `[Errno 2]` and file name around it."""
    return error.strerror or str(error)


def take_orphans() -> None:
    """Become the parent of processes whose parent has ended, even if the agent is not PID 1."""
    if native is not None:
        native.set_child_subreaper()


def inherited_signal_mask() -> list[int] | None:
    """Return the signals that were blocked before the executable's launcher blocked its own; None from source."""
    return list(native.inherited_signal_mask()) if native is not None else None


def inotify_open() -> int | None:
    """Return a new inotify descriptor, or None if there is none available."""
    if native is None:
        return None
    try:
        return int(native.inotify_init())
    except OSError:
        return None


def inotify_watch(descriptor: int, directory: str) -> bool:
    """Watch for files that are moved into a directory. Return false if it can't be watched."""
    try:
        native.inotify_watch_moves_into(descriptor, directory)
    except OSError:
        return False
    return True
