"""A run in a child of the fork server, which does what the command ``ansible-playbook`` does."""

import atexit
import io
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from ansible import constants
from ansible.cli.playbook import PlaybookCLI
from ansible.utils import display as ansible_display

from taskflow_controller.runs.out_of_memory import be_killed_first
from taskflow_controller.runs.warm.server import singletons

_OUTPUT_BUFFER = 65536


def run(cli: type[PlaybookCLI], request: Mapping[str, Any], output: int) -> int:
    """Run a playbook to its end, and return the exit code that ansible-playbook would have.

    Args:
        cli: Ansible's command line.
        request: ``argv``, ``cwd`` and ``env`` of the run.
        output: the descriptor for stdout and stderr.
    """
    os.setsid()
    be_killed_first()
    atexit._clear()  # the server's handlers, which must not run after each run
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    _open_streams(output)
    singletons.reset()
    singletons.reread_kubeconfig()
    # The server's own folder has packed modules by name, and another playbook may have another module of that name.
    constants.DEFAULT_LOCAL_TMP = request["env"]["ANSIBLE_LOCAL_TEMP"]
    tempfile.tempdir = None  # make it read TMPDIR again
    return _run_cli(cli, request["argv"])


def _open_streams(output: int) -> None:
    """Make ``output`` stdout and stderr, with the locks that Display uses, because workers are forked amidst threads.

    Both share one buffer, so that the output keeps its order: a warning belongs to the event around it.
    """
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    buffer = io.BufferedWriter(io.FileIO(1, "w", closefd=False), _OUTPUT_BUFFER)
    sys.stdout = io.TextIOWrapper(buffer, "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(buffer, "utf-8", write_through=True, line_buffering=True)
    ansible_display._synchronize_textiowrapper(sys.stdout, ansible_display.Display()._lock)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="_replacing_warning_handler")


def _run_cli(cli: type[PlaybookCLI], argv: Sequence[str]) -> int:
    sys.argv = [shutil.which(argv[0]) or argv[0], *argv[1:]]
    code: Any = 1
    try:
        cli.cli_executor(sys.argv)
    except SystemExit as exc:
        code = exc.code
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if code is None:
        return 0
    return int(code) & 0xFF if isinstance(code, int) else 1
