"""To be woken when a file appears in one of some directories."""

import fcntl

from .system import Ignored, inotify_open, inotify_watch, posix

SAFETY_INTERVAL = 1.0
"""Look again this often, in seconds, although the kernel would tell: some file systems do not."""


class DirectoryWatch:
    """Sends SIGIO to this process when a file is renamed into one of the directories.

    A changed order arrives as the rename of the `..data` symbolic link; the agents' own files are renamed
    into place too. Where the kernel cannot tell (no helper, no inotify instance left, a directory that does
    not exist yet), the interval is short instead.
    """

    def __init__(self, directories: list[str], poll_interval: float) -> None:
        self._descriptor = inotify_open() if directories else None
        complete = self._descriptor is not None
        for directory in directories:
            complete = complete and inotify_watch(self._descriptor or 0, directory)
        self.interval = SAFETY_INTERVAL if complete or not directories else poll_interval
        if self._descriptor is not None:
            fcntl.fcntl(self._descriptor, fcntl.F_SETOWN, posix.getpid())
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, posix.O_NONBLOCK | fcntl.FASYNC)

    # Never closed: closing the last reference of an inotify instance takes the kernel 8 ms and more, which
    # would delay the command. The descriptor is close-on-exec.

    def forget_events(self) -> None:
        """To be called after every wake-up, before looking at the files."""
        if self._descriptor is not None:
            with Ignored(BlockingIOError):
                posix.read(self._descriptor, 1 << 16)
