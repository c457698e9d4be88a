"""What `make demo` shows."""

from __future__ import annotations

import re
import subprocess

from support import ROOT


def test_the_demo_shows_the_task_run_and_then_the_logs_in_order():
    command = [ROOT / "scripts" / "demo.sh", ROOT / "examples" / "task_example.yaml"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    states = re.findall(r"^example-taskflow +(Pending|Running|Successful)\b", shown, flags=re.MULTILINE)
    assert list(dict.fromkeys(states)) == ["Pending", "Running", "Successful"]
    assert re.search(
        r"^example-taskflow +Successful +3/3 +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +\S+s +\S+", shown, re.MULTILINE
    )
    logs = re.findall(r"^\$ kubectl logs \S+ -c (\S+)$", shown, flags=re.MULTILINE)
    assert logs == ["step1", "step2", "step3"]
    assert shown.index("\nstep1\n") < shown.index("\nstep2\n") < shown.index("1 of 100")
