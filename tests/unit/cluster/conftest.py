"""Make the programs of the role taskflow_cluster importable: they are plain scripts beside the role."""

from __future__ import annotations

import sys
from pathlib import Path

FILES = Path(__file__).resolve().parents[3] / "roles" / "taskflow_cluster" / "files"

sys.path[:0] = [str(FILES / "engine"), str(FILES / "programs")]
