"""A run in the fork server, with those methods of ``pexpect.spawn`` that ansible-runner uses."""

import codecs
import contextlib
import fcntl
import os
import re
import select
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ansible_runner.runner import pexpect

from taskflow_controller.runs.warm.protocol import Lines, ask_for_keeper

_F_SETPIPE_SZ = 1031
_PIPE_SIZE = 256 * 1024  # a run waits for us only if we are that far behind
_READ = 16384
_DRAIN_SECONDS = 2.0  # how long a run whose keeper was killed may keep its output open
_ANSWER_SECONDS = 30.0  # within which a live server forks, even on a very busy machine
_KILLED = 9


class ServerGoneError(Exception):
    """The fork server ended before it began the run."""


class WarmProcess:
    """A keeper of the fork server that waits for a run, then that run. Not thread-safe.

    Args:
        control: the control socket of the server, which is asked for a keeper.

    Attributes:
        logfile_read: gets the run's output.
        pid: the run's process; None before it has begun.
        exitstatus: the exit code of a run that has ended by itself.
        signalstatus: the signal that has ended the run.
        stale: whether the server's knowledge is out of date.

    Raises:
        ServerGoneError: the server has ended.
    """

    def __init__(self, control: socket.socket) -> None:
        self.logfile_read: TextIO | None = None
        self.pid: int | None = None
        self.exitstatus: int | None = None
        self.signalstatus: int | None = None
        self.stale = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._output, output = os.pipe()
        own, keepers = socket.socketpair()
        self._lines = Lines(own)
        with contextlib.suppress(OSError):  # the kernel's limit for one user is reached
            fcntl.fcntl(self._output, _F_SETPIPE_SZ, _PIPE_SIZE)
        try:
            with keepers:
                ask_for_keeper(control, keepers, output)
        except OSError as exc:
            self.close()
            raise ServerGoneError from exc
        finally:
            os.close(output)
        self._open = True

    def wait_for_keeper(self) -> None:
        """Wait for the keeper. After that ``stale`` is known.

        Raises:
            ServerGoneError: the server has ended, or does not answer.
        """
        self._lines.socket.settimeout(_ANSWER_SECONDS)
        try:
            greeting = self._lines.receive()
        except TimeoutError:
            greeting = None
        if greeting is None:
            self.close()
            raise ServerGoneError
        self._lines.socket.settimeout(None)
        self._keeper, self.stale = greeting["keeper"], greeting["stale"]

    def start(self, argv: Sequence[str], cwd: str, environment: Mapping[str, str]) -> None:
        """Begin the run. From here on it counts as begun, whatever happens to the server.

        Args:
            argv: the command.
            cwd: the working directory.
            environment: the whole environment.
        """
        with contextlib.suppress(OSError):  # the keeper was killed: receive() will show that
            self._lines.send({"argv": list(argv), "cwd": cwd, "env": dict(environment)})
        started = self._lines.receive()
        if started is None:
            self.signalstatus = _KILLED
        else:
            self.pid = started["pid"]

    def isalive(self) -> bool:
        """Return whether the run goes on, or has unread output."""
        return self._open or not self._ended

    def expect(self, patterns: Any, timeout: float | None = None, searchwindowsize: int | None = None) -> int:
        """Read until the end of the run or of the timeout, like ``pexpect.spawn.expect``.

        Args:
            patterns: pexpect's EOF and TIMEOUT among them.
            timeout: in seconds, None for none.
            searchwindowsize: not used.

        Returns:
            The index of EOF or TIMEOUT in ``patterns``.
        """
        wanted = patterns if isinstance(patterns, list) else [patterns]
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.isalive():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return wanted.index(pexpect.TIMEOUT)
            self._take(left)
        return wanted.index(pexpect.EOF)

    def close(self) -> None:
        """Close the connection to the run, which kills a run that goes on. It is safe to call this again."""
        self._lines.close()
        if self._output >= 0:
            os.close(self._output)
            self._output = -1
        if keeper := getattr(self, "_keeper", None):
            with contextlib.suppress(ChildProcessError):  # it is ours if the server is gone and we adopt orphans
                os.waitpid(keeper, os.WNOHANG)

    @property
    def _ended(self) -> bool:
        return self.exitstatus is not None or self.signalstatus is not None

    def _take(self, timeout: float | None) -> None:
        """Wait for output or the end, and process it."""
        poll = select.poll()
        if self._open:
            poll.register(self._output, select.POLLIN)
        if not self._ended:
            poll.register(self._lines.socket, select.POLLIN)
        elif self.pid is None or self.signalstatus is not None:
            timeout = _DRAIN_SECONDS if timeout is None else min(timeout, _DRAIN_SECONDS)
        ready = poll.poll(None if timeout is None else timeout * 1000)
        if self._ended and not ready:
            self._open = False
        for descriptor, _event in ready:
            if descriptor == self._output:
                self._read()
            else:
                self._take_end()

    def _read(self) -> None:
        data = os.read(self._output, _READ)
        self._open = bool(data)
        # Line by line: of several lines before an event's mark, ansible-runner would write only the last.
        for line in re.findall(r"[^\n]*\n|[^\n]+", self._decoder.decode(data, final=not data)):
            if self.logfile_read is not None:
                self.logfile_read.write(line)

    def _take_end(self) -> None:
        ended = self._lines.receive()
        code = -_KILLED if ended is None else int(ended["exit"])
        if code < 0:
            self.signalstatus = -code
        else:
            self.exitstatus = code
