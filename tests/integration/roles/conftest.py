"""The tests of the roles take the registries of the plugins' tests, and the base image of the agent's."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("plugins", "agent")]
