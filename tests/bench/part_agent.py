"""What the agent costs: its start, its memory while a step waits, its size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from measurement import Figure, Part, Target
from setting import Setting
from support.agent import measure as agent
from support.agent.executable import build

EXEC = Figure("agent: exec to main", "ms", Target(10))
MEMORY = Figure("agent: memory while waiting", "MB RSS", Target(8))
SIZE = Figure("agent: size", "MB", Target(8))


def _measure(setting: Setting) -> Iterator[tuple[str, float]]:
    executable = Path(build())
    yield SIZE.name, executable.stat().st_size / 1e6
    yield MEMORY.name, agent.waiting_memory_kb(str(executable), Path(setting.folder)) / 1000
    # What starting any process costs is none of the agent's.
    nothing = agent.median_ms(["/bin/true"])
    yield EXEC.name, max(agent.median_ms([str(executable), "--version"]) - nothing, 0.0)


PART = Part("agent", (EXEC, MEMORY, SIZE), _measure)
