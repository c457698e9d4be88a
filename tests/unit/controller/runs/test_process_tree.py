"""Killing processes by what is in their environment."""

import os
import subprocess
from pathlib import Path

from taskflow_controller.runs.process_tree import kill_by_environment


def test_below_a_directory(tmp_path: Path) -> None:
    """Those whose variable names a path below it, and neither the directory's own nor a neighbour's."""
    values = (f"{tmp_path}/a/b", f"{tmp_path}/c", f"{tmp_path}", f"{tmp_path}-other/a")
    started = [subprocess.Popen(["sleep", "1000"], env={**os.environ, "MARK": value}) for value in values]
    try:
        assert kill_by_environment("MARK", str(tmp_path), below=True, reap=True) == 2
        assert [process.poll() is None for process in started] == [False, False, True, True]
    finally:
        for process in started:
            process.kill()
            process.wait()
