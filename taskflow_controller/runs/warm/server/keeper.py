"""Looks after one run from a separate process: forks it, reports its end, and leaves no process of it behind.

All orphans of the run become the keeper's children, so that none can escape, even with its own session or another
environment.
"""

import contextlib
import os
import select
import signal
from collections.abc import Callable
from typing import Any

from taskflow_controller.runs.process_tree import kill_and_wait
from taskflow_controller.runs.warm.protocol import Lines
from taskflow_controller.runs.warm.server import linux

_PASSES = 100  # each kills one generation of a run's descendants

Child = Callable[[dict[str, Any], int], int]
"""Runs a request with the given output descriptor, and returns its exit code."""


def keep(lines: Lines, output: int, stale: bool, child: Child) -> None:
    """Serve one request, from the greeting to the end of all its processes.

    Args:
        lines: the connection to the controller.
        output: the descriptor for the run's output.
        stale: whether the server's knowledge is out of date.
        child: performs the run, in a forked child.
    """
    linux.adopt_orphans()
    lines.send({"keeper": os.getpid(), "stale": stale})
    request = lines.receive()
    if request is None:
        return
    try:
        pid = _fork(lines, request, output, child)
        os.close(output)
        with contextlib.suppress(OSError):  # the controller is gone; the wait below notices
            lines.send({"pid": pid})
        status = _wait(pid, lines)
    finally:
        _end_descendants()
    with contextlib.suppress(OSError):
        lines.send({"exit": os.waitstatus_to_exitcode(status)})


def _fork(lines: Lines, request: dict[str, Any], output: int, child: Child) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            linux.die_with_parent()
            lines.close()
            code = child(request, output)
        finally:
            os._exit(code)
    return pid


def _wait(pid: int, lines: Lines) -> int:
    """Wait for the run's end, or kill it when the controller closes the connection; return its wait status."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(lines.socket, select.POLLIN)
        if descriptor not in dict(poll.poll()):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(descriptor)


def _end_descendants() -> None:
    for _pass in range(_PASSES):
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            kill_and_wait(linux.children())
