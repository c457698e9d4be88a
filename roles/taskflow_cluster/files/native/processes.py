"""Daemons known by a pid file that is believed only as long as it names the very process that was started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path


def start_time(pid: int) -> str | None:
    """When a process started, in clock ticks since boot; None if there is no such process, or only its corpse."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def command_line(pid: int | str) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return raw.decode(errors="replace").rstrip("\0").split("\0")


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def end(pids: list[int], grace: float) -> None:
    """Ask processes to end, and after the grace period make them."""
    for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        pids = [pid for pid in pids if start_time(pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + wait
        while any(start_time(pid) for pid in pids):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
    left = [pid for pid in pids if start_time(pid)]
    if left:
        raise SystemExit(f"These processes do not end, not even by SIGKILL: {left}")


class Daemon:
    """One daemon of the cluster in `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.record_path = directory / "run" / f"{name}.pid"
        self.log_path = directory / "log" / f"{name}.log"

    def record(self) -> dict:
        try:
            return json.loads(self.record_path.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def pid(self) -> int | None:
        """The daemon's pid while it runs. A recycled pid differs in its start time, or in its command."""
        record = self.record()
        pid = record.get("pid")
        if pid and start_time(pid) == record["start_time"] and command_line(pid) == record["argv"]:
            return pid
        return None

    def start(self, argv: list[str], env: dict[str, str], digest: str) -> int:
        self.record_path.parent.mkdir(parents=True, exist_ok=True)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            process = subprocess.Popen(
                argv,
                cwd="/",
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        record = {"pid": process.pid, "start_time": start_time(process.pid), "argv": argv, "digest": digest}
        temporary = self.record_path.with_suffix(".new")
        temporary.write_text(json.dumps(record))
        temporary.replace(self.record_path)
        return process.pid

    def stop(self, grace: float = 20.0) -> bool:
        pid = self.pid()
        if pid:
            end([pid], grace)
        existed = self.record_path.exists()
        self.record_path.unlink(missing_ok=True)
        return bool(pid) or existed

    def log_tail(self, lines: int = 20) -> str:
        try:
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"
