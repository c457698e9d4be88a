"""What the process does at its end, and in which order others may take over."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from taskflow_controller import process


class Controller:
    """Has one run that ends as told."""

    def __init__(self, ends: bool) -> None:
        self.queue = SimpleNamespace(working=lambda: 0 if ends else 1)
        self._ends = ends

    def shut_down(self, timeout: float) -> bool:
        return self._ends

    def stop_informers(self) -> None:
        pass


@pytest.mark.parametrize("ends", [True, False])
def test_the_lease_is_kept_while_a_run_can_not_be_ended(ends: bool) -> None:
    """The next leader would begin with the same resource at once."""
    released: list[bool] = []
    elector: Any = SimpleNamespace(lost=lambda: False, release=lambda: released.append(True))
    parts: Any = SimpleNamespace(
        controller=Controller(ends), elector=elector, proxy=None, warm=None, endpoints=(), metrics=None
    )
    options: Any = SimpleNamespace(graceful_shutdown_timeout=0.01)
    stopping = process.Stopping(elector)
    assert process.Process(options, parts, stopping)._end() == 0
    assert released == [True] * ends and stopping.cancelling is not ends


HANGING = """
import threading, time
from types import SimpleNamespace
from taskflow_controller import process
threading.Thread(target=time.sleep, args=(600,)).start()
process.serve(SimpleNamespace(run=lambda: process.LOST_LEASE))
"""


def test_a_request_that_hangs_does_not_keep_a_process_that_has_lost_its_lease() -> None:
    done = subprocess.run([sys.executable, "-c", HANGING], timeout=60, check=False)
    assert done.returncode == process.LOST_LEASE
