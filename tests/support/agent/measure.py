"""What the agent costs: measure.py EXECUTABLE

Prints medians in milliseconds, and sizes. Nothing is judged here: the machine may be busy.
"""

import itertools
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 100
STEPS = 20


def median_ms(words: list[str]) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1000


def waiting_memory_kb(agent: str, directory: pathlib.Path) -> int:
    words = [
        agent,
        "--after",
        str(directory / "never"),
        "--ready",
        str(directory / "ready"),
        "--command",
        "true",
    ]
    process = subprocess.Popen(words)
    while not (directory / "ready").exists():
        time.sleep(0.001)
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    process.terminate()
    process.wait()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def hand_offs_ms(agent: str, directory: pathlib.Path) -> list[float]:
    """From one command's own clock reading to the next one's: its end, the hand-off, and a start."""
    log = directory / "log"
    processes = []
    for k in reversed(range(STEPS)):
        before = ["--await", str(directory / "go")] if k == 0 else ["--after", str(directory / f"done{k - 1}")]
        files = [
            "--done",
            str(directory / f"done{k}"),
            "--ready",
            str(directory / f"ready{k}"),
            "--out",
            str(log),
        ]
        processes.append(subprocess.Popen([agent, *before, *files, "--command", "date", "+%s%N"]))
    while len(list(directory.glob("ready*"))) < STEPS + 1:  # and the one of waiting_memory_kb
        time.sleep(0.001)
    (directory / "go.tmp").touch()
    (directory / "go.tmp").rename(directory / "go")
    for process in processes:
        process.wait()
    readings = [int(line) for line in log.read_text().split()]
    return [(later - earlier) / 1e6 for earlier, later in itertools.pairwise(readings)]


def main() -> None:
    agent = sys.argv[1]
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        nothing = median_ms(["/bin/true"])
        print(f"size                      {pathlib.Path(agent).stat().st_size / 1e6:.2f} MB")
        print(f"a process that does nothing {nothing:.1f} ms")
        print(f"exec to main, and exit    {median_ms([agent, '--version']) - nothing:.1f} ms more")
        print(f"a whole step              {median_ms([agent, '--command', '/bin/true']) - nothing:.1f} ms more")
        print(f"memory while waiting      {waiting_memory_kb(agent, directory) / 1000:.1f} MB")
        print(f"hand-off                  {statistics.median(hand_offs_ms(agent, directory)):.1f} ms")


if __name__ == "__main__":
    main()
