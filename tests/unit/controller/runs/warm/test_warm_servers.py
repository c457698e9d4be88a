"""Which fork server serves a run, and what becomes of one that ends, does not start, or is out of date."""

import logging
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskflow_controller.runs.warm import servers
from taskflow_controller.runs.warm.process import ServerGoneError
from taskflow_controller.runs.warm.servers import ForkServers
from taskflow_controller.runs.warm.spec import Spec, settings_of

SPEC = Spec("/", "/project", ())


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.005)


class Keeper:
    def __init__(self, server: "Server") -> None:
        self.server, self.stale, self.closed = server, server.stale, False

    def close(self) -> None:
        self.closed = True


class Server:
    """A fork server without a process."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.stale, self.answers = spec, False, True
        self.retired, self.killed = False, False
        self.end = threading.Event()

    def open(self) -> Keeper:
        if not self.answers:
            raise ServerGoneError
        return Keeper(self)

    def wait(self) -> str:
        self.end.wait(60)
        return "Killed"

    def retire(self) -> None:
        self.retired = True
        self.end.set()

    def kill(self) -> None:
        self.killed = True
        self.end.set()


class Starts:
    """Starts servers, unless told to fail."""

    def __init__(self) -> None:
        self.servers: list[Server] = []
        self.problem: Exception | None = None
        self.tries = 0
        self.go = threading.Event()  # cleared: they take long
        self.go.set()

    def __call__(self, spec: Spec, environment: Any) -> Any:
        self.tries += 1
        self.go.wait(60)
        if self.problem:
            raise self.problem
        self.servers.append(Server(spec))
        return self.servers[-1]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    monkeypatch.setattr(servers, "_FIRST_BACK_OFF", 0.05)
    return Starts()


@pytest.fixture
def pool(starts: Starts):
    pool = ForkServers(starts)
    yield pool
    pool.stop()
    assert all(server.end.is_set() for server in starts.servers)


def test_one_server_for_all_runs_of_a_spec(pool: ForkServers, starts: Starts) -> None:
    pool.start(SPEC, {})
    keepers = [pool.open(SPEC, {}), pool.open(Spec("/", "/other", ()), {}), pool.open(SPEC, {})]
    assert [keeper.server for keeper in keepers] == [starts.servers[0], starts.servers[1], starts.servers[0]]
    assert pool.problem() is None


def test_a_server_that_ended_is_started_again(
    pool: ForkServers, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a run that asks for it; until then runs are cold, and health tells."""
    pool.start(SPEC, {})
    starts.problem = ServerGoneError("no memory")
    starts.servers[0].end.set()
    until(pool.problem)
    assert pool.open(SPEC, {}) is None
    until(lambda: starts.tries >= 3)
    assert "fork server did not start: no memory" in (pool.problem() or "")
    starts.problem = None
    until(lambda: pool.problem() is None)
    assert pool.open(SPEC, {}).server is starts.servers[1]
    delays = [record.args[1] for record in caplog.records if "runs are cold" in record.getMessage()]
    assert delays[:3] == [0.05, 0.1, 0.2]
    assert "fork server ended: Killed" in caplog.text


def test_the_time_between_tries_is_bounded(monkeypatch: pytest.MonkeyPatch, starts: Starts) -> None:
    monkeypatch.setattr(servers, "_LONGEST_BACK_OFF", 0.05)
    pool = ForkServers(starts)
    starts.problem = OSError("no memory")
    pool.start(SPEC, {})
    until(lambda: starts.tries >= 6)
    pool.stop()
    tries = starts.tries
    time.sleep(0.3)
    assert starts.tries <= tries + 1, "it is not tried once the pool is stopped"
    assert pool.problem() is None


def test_a_server_that_lived_long_is_not_to_blame(
    pool: ForkServers, starts: Starts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(servers, "_LONG_LIFE", 0.0)
    pool.start(SPEC, {})
    for count in (1, 2, 3):
        until(lambda count=count: len(starts.servers) == count)
        starts.servers[-1].end.set()
    until(lambda: len(starts.servers) == 4)
    assert {record.args[1] for record in caplog.records if "runs are cold" in record.getMessage()} == {0.05}


def test_a_server_that_does_not_answer_is_killed(pool: ForkServers, starts: Starts) -> None:
    pool.start(SPEC, {})
    starts.servers[0].answers = False
    assert pool.open(SPEC, {}) is None
    assert starts.servers[0].killed and "does not answer" in (pool.problem() or "")
    until(lambda: len(starts.servers) == 2)


def test_a_server_out_of_date_is_replaced_at_once(
    pool: ForkServers, starts: Starts, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    pool.start(SPEC, {})
    starts.servers[0].stale = True
    assert pool.open(SPEC, {}).server is starts.servers[1]
    assert starts.servers[0].retired and "starts again" in caplog.text and pool.problem() is None


def test_only_so_many_servers(pool: ForkServers, starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for the longest time goes."""
    monkeypatch.setattr(servers, "_MAX_SERVERS", 2)
    specs = [Spec("/", f"/{number}", ()) for number in range(3)]
    for spec in (specs[0], specs[1], specs[0], specs[2]):
        pool.open(spec, {})
    assert [server.retired for server in starts.servers] == [False, True, False]


def test_the_end_does_not_wait_for_a_server_that_starts(
    pool: ForkServers, starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once it has started it is told to end."""
    monkeypatch.setattr(servers, "_RETIRE_SECONDS", 0.01)
    starts.go.clear()
    starter = threading.Thread(target=pool.start, args=(SPEC, {}))
    starter.start()
    until(lambda: starts.tries == 1)
    pool.stop()
    assert not starts.servers, "it still starts"
    starts.go.set()
    starter.join(20)
    assert starts.servers[0].retired
    assert pool.open(SPEC, {}) is None


def test_what_is_a_setting() -> None:
    environment = {
        "ANSIBLE_FORKS": "5",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": "/x",
        "ANSIBLE_LOCAL_TEMP": "/a",
        "KUBECONFIG": "/k",
        "TMPDIR": "/t",
    }
    assert [name for name, _ in settings_of(environment)] == ["ANSIBLE_FORKS", "HOME", "LC_ALL", "PYTHONPATH"]


def test_spec_travels(tmp_path: Any) -> None:
    spec = Spec("/cwd", "/folder", (("ANSIBLE_FORKS", "5"),), ("a.yml",), ("role",))
    spec.write(tmp_path)
    assert Spec.read(tmp_path) == spec


def test_a_process_that_never_gets_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed, and the reason says how long it was given."""
    monkeypatch.setattr(servers, "_PROGRAM", "import time; time.sleep(300)")
    monkeypatch.setattr(servers, "_START_SECONDS", 0.2)
    with pytest.raises(ServerGoneError, match=r"not ready within 0\.2 s"):
        servers.ForkServer(SPEC, {})


def test_what_a_process_printed_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PROGRAM", "raise SystemExit('out of luck')")
    with pytest.raises(ServerGoneError, match="ended as it started: out of luck"):
        servers.ForkServer(SPEC, {})


def test_a_process_that_can_not_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(OSError):
        servers.ForkServer(Spec(str(tmp_path / "missing"), "", ()), {})
    assert not list(tmp_path.iterdir())


def test_a_keeper_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from a server that is gone, nor from one that is stopped."""
    monkeypatch.setattr("taskflow_controller.runs.warm.process._ANSWER_SECONDS", 0.1)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = servers.WarmProcess(ours)
        with pytest.raises(ServerGoneError):
            process.wait_for_keeper()
        theirs.close()
        with pytest.raises(ServerGoneError):
            servers.WarmProcess(ours)
