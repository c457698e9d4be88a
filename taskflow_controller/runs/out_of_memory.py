"""Handles a lack of memory: the kernel kills runs before the controller, and a run's result says why it ended."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

_SCORE = 800  # of 1000: the kernel's first choice, unless another process is much larger
_SCORE_FILE = Path("/proc/self/oom_score_adj")

BE_KILLED_FIRST = (
    "/bin/sh", "-c", f'echo {_SCORE} 2>/dev/null >{_SCORE_FILE}; exec "$@"', "sh",
)  # fmt: skip
"""The words to put before a command, so that the kernel kills it and its children first."""

# The memory cgroup of a container as seen from inside: version 2, then version 1.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def be_killed_first() -> None:
    """Let the kernel kill this process, and all that it will fork, first when memory runs out."""
    with contextlib.suppress(OSError):
        _SCORE_FILE.write_text(str(_SCORE))


class OomWatch:
    """Detects whether the kernel has killed a process of our container for lack of memory since this object was made.

    Args:
        files: where the kernel may keep the count; the first that exists is used.
    """

    def __init__(self, files: Iterable[Path] = _COUNTERS) -> None:
        self._file = next((file for file in files if file.exists()), None)
        self._before = self._count()

    def killed(self) -> bool:
        """Return whether a process was killed. Return false if the kernel keeps no count."""
        return self._count() > self._before

    def _count(self) -> int:
        if self._file is not None:
            with contextlib.suppress(OSError):
                for line in self._file.read_text().splitlines():
                    name, _space, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
        return 0
