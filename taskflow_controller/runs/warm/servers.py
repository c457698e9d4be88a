"""The fork servers: one for each folder of playbooks and each set of Ansible settings."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taskflow_controller.runs.warm.process import ServerGoneError, WarmProcess
from taskflow_controller.runs.warm.protocol import receive_ready
from taskflow_controller.runs.warm.spec import Spec

logger = logging.getLogger(__name__)

_START_SECONDS = 120.0
_FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 300.0
_LONG_LIFE = 60.0  # seconds after which the end of a server no longer counts as a failed start
_RETIRE_SECONDS = 1.0
_MAX_SERVERS = 8  # each is some 100 MB
_PACKAGE_PARENT = str(Path(__file__).parents[3])
_PROGRAM = (
    f"import sys; sys.path.append({_PACKAGE_PARENT!r}); from taskflow_controller.runs.warm.server.main import main; "
    f"sys.path.pop(); main()"
)
_LOG_TAIL = 2000


class ForkServer:
    """A fork server's process. Making it starts the process, and waits until it is ready.

    Args:
        spec: which runs the server is for.
        environment: the whole environment of these runs.

    Raises:
        ServerGoneError: it did not become ready; the text says why.
        OSError: it could not be started.
    """

    def __init__(self, spec: Spec, environment: Mapping[str, str]) -> None:
        self.spec = spec
        self._directory = Path(tempfile.mkdtemp(prefix="taskflow-warm-"))  # made with mode 0700
        spec.write(self._directory)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._log = tempfile.TemporaryFile()  # without a name, so that no file can be left behind  # noqa: SIM115
        started = time.monotonic()
        with theirs:
            try:
                self._process = self._start(theirs.fileno(), environment)
            except OSError:
                self._clean_up()
                raise
        self._control.settimeout(_START_SECONDS)
        try:
            warnings = receive_ready(self._control)
        except OSError as exc:
            self._process.kill()
            raise self._failed(f"not ready within {_START_SECONDS:g} s") from exc
        except EOFError as exc:
            raise self._failed("it ended as it started") from exc
        self._control.settimeout(None)
        for warning in warnings:
            logger.debug("fork server: could not be read in advance: %s", warning)
        fields = {"pid": self._process.pid, "folder": spec.folder, "seconds": round(time.monotonic() - started, 3)}
        logger.info("fork server is ready", extra=fields)
        if text := self._printed():  # Ansible's warnings about its settings, which each cold run would print
            logger.warning("fork server: %s", text)

    def _start(self, control: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, str(control), str(self._directory)],
            cwd=self.spec.cwd,
            env=_environment(environment, self._directory),
            pass_fds=[control],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def open(self) -> WarmProcess:
        """Return a keeper for one run.

        Raises:
            ServerGoneError: the server has ended, or does not answer.
        """
        process = WarmProcess(self._control)
        process.wait_for_keeper()
        return process

    def wait(self) -> str:
        """Wait for the server to end; return how it ended."""
        code = self._process.wait()
        self._clean_up()
        return signal.strsignal(-code) or str(code) if code < 0 else f"exit code {code}"

    def retire(self) -> None:
        """Let the server end with the last of its runs."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the server; its runs go on."""
        self._process.kill()

    def _failed(self, what: str) -> ServerGoneError:
        self._process.wait()
        text = self._printed()
        self._clean_up()
        return ServerGoneError(f"{what}: {text}" if text else what)

    def _printed(self) -> str:
        # pread, because the file's position is shared with the server, which writes there.
        content = os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0)
        return content.decode(errors="replace").strip()[-_LOG_TAIL:]

    def _clean_up(self) -> None:
        self._control.close()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _environment(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    """Return a run's environment with the server's directories in place of that run's own."""
    (directory / "tmp").mkdir()
    own = {"AWX_ISOLATED_DATA_DIR": str(directory / "rehearsal"), "ANSIBLE_LOCAL_TEMP": str(directory / "tmp")}
    return {**environment, **own}


@dataclass
class _Slot:
    """A server that should exist: which runs it is for, and its failures so far."""

    spec: Spec
    environment: Mapping[str, str]
    lock: threading.Lock = field(default_factory=threading.Lock)
    server: ForkServer | None = None
    wanted: bool = True
    failures: int = 0
    not_before: float = 0.0
    problem: str | None = None
    used: float = 0.0

    def retire(self) -> None:
        """Let the server end with the last of its runs, and start no other."""
        self.wanted = False
        if not self.lock.acquire(timeout=_RETIRE_SECONDS):
            return  # it is starting, and the thread that waits for it will see that it is not wanted
        try:
            self.problem = None
            if self.server:
                self.server.retire()
            self.server = None
        finally:
            self.lock.release()


class ForkServers:
    """Starts servers as runs need them, and again if they have ended or their files have changed. Thread-safe.

    Args:
        start: starts a server.
    """

    def __init__(self, start: Callable[[Spec, Mapping[str, str]], ForkServer] = ForkServer) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._slots: dict[Spec, _Slot] = {}

    def start(self, spec: Spec, environment: Mapping[str, str]) -> None:
        """Start a server before a run needs it. If that fails, it is tried again later.

        Args:
            spec: which runs the server is for.
            environment: the whole environment of these runs.
        """
        self._server(self._slot(spec, environment))

    def open(self, spec: Spec, environment: Mapping[str, str]) -> WarmProcess | None:
        """Return a keeper for one run, or None if there is no server and it is too early to try again.

        Args:
            spec: which runs the server is for.
            environment: the whole environment of these runs.
        """
        slot = self._slot(spec, environment)
        for _try in range(2):
            server = self._server(slot)
            if server is None:
                return None
            try:
                process = server.open()
            except ServerGoneError:
                self._lost(slot, server, "fork server does not answer")
                server.kill()
                return None
            if not process.stale:
                return process
            process.close()
            self._replace(slot, server)
        return None

    def problem(self) -> str | None:
        """Return why servers are missing, or None if there are all."""
        with self._lock:
            problems = [slot.problem for slot in self._slots.values() if slot.problem]
        return "; ".join(problems) or None

    def stop(self) -> None:
        """Let all servers end, each with the last of its runs."""
        with self._lock:
            slots = list(self._slots.values())
        for slot in slots:
            slot.retire()

    def _slot(self, spec: Spec, environment: Mapping[str, str]) -> _Slot:
        superfluous = None
        with self._lock:
            slot = self._slots.setdefault(spec, _Slot(spec, environment))
            slot.used = time.monotonic()
            if len(self._slots) > _MAX_SERVERS:
                superfluous = self._slots.pop(min(self._slots, key=lambda key: self._slots[key].used))
        if superfluous:
            superfluous.retire()
        return slot

    def _server(self, slot: _Slot) -> ForkServer | None:
        with slot.lock:
            if slot.server or not slot.wanted or time.monotonic() < slot.not_before:
                return slot.server
            try:
                server = self._start(slot.spec, slot.environment)
            except (ServerGoneError, OSError) as exc:
                self._note_failure(slot, f"fork server did not start: {exc}")
                return None
            slot.problem = None
            if slot.wanted:
                slot.server = server
            else:
                server.retire()
        threading.Thread(target=self._watch, args=(slot, server), name="fork-server", daemon=True).start()
        return slot.server

    def _watch(self, slot: _Slot, server: ForkServer) -> None:
        started = time.monotonic()
        how = server.wait()
        if time.monotonic() - started > _LONG_LIFE:
            slot.failures = 0
        self._lost(slot, server, f"fork server ended: {how}")

    def _lost(self, slot: _Slot, server: ForkServer, problem: str) -> None:
        with slot.lock:
            if slot.server is server:
                slot.server = None
                self._note_failure(slot, problem)

    def _replace(self, slot: _Slot, server: ForkServer) -> None:
        with slot.lock:
            if slot.server is server:
                logger.info("fork server starts again: code has changed", extra={"folder": slot.spec.folder})
                server.retire()
                slot.server = None

    def _note_failure(self, slot: _Slot, problem: str) -> None:
        """Record that there is no server, and start one later. The caller holds the slot's lock."""
        delay = min(_FIRST_BACK_OFF * 2**slot.failures, _LONGEST_BACK_OFF)
        slot.failures += 1
        slot.problem = problem
        slot.not_before = time.monotonic() + delay
        logger.warning("%s; runs are cold until the next try in %g s", problem, delay)
        timer = threading.Timer(delay, self._server, args=(slot,))
        timer.daemon = True
        timer.start()
