"""Measures what the project promises, and prints it beside the targets: bench.py [--only PART,...] [--out FOLDER]

Nothing is asserted, and a part that fails does not keep the others from being measured. docs/performance.md explains
the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from setting import ROOT, Setting, use_few_cores

sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

import part_agent
import part_controller
import part_runner
import part_steps
import report
from measurement import Measurement, run_part

PARTS = (
    part_agent.PART,
    part_steps.STEPS,
    part_steps.HANDOFF_MODES,
    part_runner.PART,
    part_controller.EVENT,
    part_controller.QUEUE,
    part_controller.BURST,
    part_controller.MEMORY,
)


def main() -> None:
    """Read the flags, measure, print and save."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description="Measures what the project promises.")
    parser.add_argument("--only", default="", metavar="PART,...", help=f"of: {', '.join(names)}")
    parser.add_argument("--out", type=Path, default=ROOT / "build", metavar="FOLDER", help="for bench.json, bench.svg")
    options = parser.parse_args()
    wanted = [name for name in options.only.split(",") if name] or names
    if unknown := set(wanted) - set(names):
        parser.error(f"--only: there is no part {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    print(f"On {use_few_cores()} cores; the load of the machine before: {os.getloadavg()[0]:.1f}")
    measurements: list[Measurement] = []
    with tempfile.TemporaryDirectory(prefix="taskflow-bench-") as folder:
        setting = Setting(Path(folder))
        try:
            for part in (p for p in PARTS if p.name in wanted):
                print(f"$ {part.command}")
                measured = list(run_part(part, setting))
                measurements += measured
                print("\n".join(report.lines(measured)))
        finally:
            setting.close()
    report.save(measurements, options.out / "bench.json")
    (options.out / "bench-series.json").write_text(json.dumps(setting.series), encoding="utf-8")
    report.plot(measurements, setting.series, options.out / "bench.svg")
    print(f"Saved: {options.out}/bench.json, {options.out}/bench.svg")


if __name__ == "__main__":
    main()
