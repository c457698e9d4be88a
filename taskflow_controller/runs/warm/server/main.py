"""The fork server's process: warms up, then forks a keeper for each run that the controller asks for.

    python -P -c "from taskflow_controller.runs.warm.server.main import main; main()" <descriptor> <directory>

``descriptor`` is the server's end of the control socket. ``directory`` has ``spec.json``; the server uses it while it
warms up, and then removes it.
"""

import contextlib
import gc
import os
import select
import shutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from taskflow_controller.runs.process_tree import kill_and_wait
from taskflow_controller.runs.warm.protocol import Lines, receive_asked, send_ready
from taskflow_controller.runs.warm.server import linux
from taskflow_controller.runs.warm.server.keeper import keep
from taskflow_controller.runs.warm.spec import Spec

if TYPE_CHECKING:
    from taskflow_controller.runs.warm.server.warmup import Warm

_GARBAGE = 20_000  # objects that a child may make before it looks for garbage; most runs end with fewer


def main() -> None:
    """Serve until the controller has closed its end, or is gone, and the last run has ended."""
    control, directory = socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; only the controller should end
    try:
        spec = Spec.read(directory)
        from taskflow_controller.runs.warm.server.warmup import warm_up  # noqa: PLC0415  imports Ansible, by spec's settings

        warm = warm_up(spec, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    gc.collect()
    gc.freeze()  # a collection in a child would write to shared memory, and so copy it
    gc.set_threshold(_GARBAGE)
    linux.adopt_orphans()
    sys.stderr.flush()
    send_ready(control, warm.warnings)
    _Server(control, warm).serve()


class _Server:
    def __init__(self, control: socket.socket, warm: "Warm") -> None:
        self._control, self._warm = control, warm
        self._keepers: dict[int, int] = {}  # process id by its descriptor

    def serve(self) -> None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        asked = True  # whether more runs may be asked for
        while asked or self._keepers:
            for descriptor, _event in poll.poll():
                if descriptor in self._keepers:
                    poll.unregister(descriptor)
                    self._ended(descriptor)
                elif asked:
                    try:
                        poll.register(self._start_keeper(), select.POLLIN)
                    except EOFError:
                        poll.unregister(self._control)
                        asked = False

    def _start_keeper(self) -> int:
        connection, output = receive_asked(self._control)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                self._control.close()
                for descriptor in self._keepers:
                    os.close(descriptor)
                keep(Lines(connection), output, self._warm.stale(), self._warm.run)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        connection.close()
        os.close(output)
        descriptor = os.pidfd_open(pid)
        self._keepers[descriptor] = pid
        return descriptor

    def _ended(self, descriptor: int) -> None:
        """Reap a keeper. If it was killed, its run's processes are this process's children now, so kill them."""
        _pid, status = os.waitpid(self._keepers.pop(descriptor), 0)
        os.close(descriptor)
        while status and (orphans := linux.children() - set(self._keepers.values())):
            kill_and_wait(orphans)
            for pid in orphans:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
