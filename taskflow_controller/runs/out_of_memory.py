"""When memory runs out: a run is killed before the controller is, and its end says why."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

_SCORE = 800  # of 1000: the kernel's first choice, save for what is larger by far
_SCORE_FILE = Path("/proc/self/oom_score_adj")

BE_KILLED_FIRST = (
    "/bin/sh", "-c", f'echo {_SCORE} 2>/dev/null >{_SCORE_FILE}; exec "$@"', "sh",
)  # fmt: skip
"""What to put before a command, so that it and all its children are what the kernel kills first."""

# The memory cgroup of a container as that container sees it: version 2, then version 1.
_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def be_killed_first() -> None:
    """Make this process, and all it will fork, what the kernel kills first when memory runs out."""
    with contextlib.suppress(OSError):
        _SCORE_FILE.write_text(str(_SCORE))


class OomWatch:
    """Tells whether the kernel has killed a process of our container for lack of memory since it was made."""

    def __init__(self, files: Iterable[Path] = _COUNTERS) -> None:
        """Note the count so far; ``files`` are where the kernel keeps it, of which the first there counts."""
        self._file = next((file for file in files if file.exists()), None)
        self._before = self._count()

    def killed(self) -> bool:
        """Return whether a process was killed; false where the kernel keeps no count."""
        return self._count() > self._before

    def _count(self) -> int:
        if self._file is not None:
            with contextlib.suppress(OSError):
                for line in self._file.read_text().splitlines():
                    name, _space, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
        return 0
