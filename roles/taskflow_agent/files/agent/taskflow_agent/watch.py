"""Wakes the agent when a file appears in one of several directories."""

import fcntl

from .system import Ignored, inotify_open, inotify_watch, posix

SAFETY_INTERVAL = 1.0
"""Seconds after which to look again even without a notification, because some file systems send none."""


class DirectoryWatch:
    """Sends SIGIO to this process when a file is renamed into one of the directories.

    A changed order file arrives as the rename of the `..data` symbolic link; the agents' own files are renamed into
    place, too. If the kernel can't notify (no helper, no inotify instance left, a directory that does not exist yet),
    the interval is short instead.

    Args:
        directories: where to watch.
        poll_interval: the seconds after which to look again if the kernel can't notify.

    Attributes:
        interval: the seconds after which to look again.
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
        """Forget the notifications so far. Call it after every wake-up, before looking at the files."""
        if self._descriptor is not None:
            with Ignored(BlockingIOError):
                posix.read(self._descriptor, 1 << 16)
