"""The agent from source: its modules importable, and itself as a program."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(__file__).parents[3] / "roles/taskflow_agent/files/agent"


class SourceAgent:
    """Runs `python3 -m taskflow_agent` with files in a directory of its own."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.termination_log = directory / "termination-log"
        self.termination_log.touch()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "taskflow_agent", *arguments],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def step(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start("--termination-log", str(self.termination_log), *arguments)

    def run_step(self, *arguments: str) -> tuple[int, bytes, bytes]:
        process = self.step(*arguments)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    @property
    def message(self) -> dict[str, object]:
        return json.loads(self.termination_log.read_bytes())


@pytest.fixture
def agent(tmp_path):
    return SourceAgent(tmp_path)
