"""What the parts make of what they saw."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from part_steps import hand_offs
from process_usage import Sampler, shared_memory_once, usage

BUSY = """
import time
while time.process_time() < 0.3: pass
print('done', flush=True)
time.sleep(600)
"""


def test_a_hand_off_is_from_a_steps_end_to_the_next_ones_begin():
    times = [("24.100Z", "24.200Z"), ("24.204Z", "25.000Z"), ("25.010Z", "25.011Z")]
    steps = [{"startedAt": f"2024-01-06T22:19:{a}", "finishedAt": f"2024-01-06T22:19:{b}"} for a, b in times]
    assert hand_offs({"status": {"steps": steps}}) == pytest.approx([4, 10])


@pytest.fixture
def family():
    """A process with a child that has been busy."""
    child = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}]).wait()"
    parent = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, start_new_session=True)
    parent.stdout.readline()
    yield parent.pid
    os.killpg(parent.pid, 9)
    parent.wait()
    parent.stdout.close()


def test_what_a_process_uses_includes_its_children(family):
    used = usage([family])
    assert used.processes == 2
    assert used.cpu >= 0.2  # of 0.3 s, counted in ticks of 10 ms
    assert used.rss >= shared_memory_once([family]) > 1_000_000
    assert usage([family, family]).processes == 2


def test_a_process_that_is_gone_uses_nothing():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert usage([gone.pid]).processes == 0


def test_samples_over_time(family):
    with Sampler({"family": [family]}, lambda: {"made": 3}, interval=0.01) as sampler:
        deadline = time.monotonic() + 60
        while len(sampler.samples) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert {sample["made"] for sample in sampler.samples} == {3}
    assert sampler.peak_rss("family") == max(s["family"]["rss"] for s in sampler.samples)
    assert sampler.cpu_seconds("family") >= 0
