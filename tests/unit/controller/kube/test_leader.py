"""Leader election against a Lease in this process: when leadership counts as lost, and what is written then."""

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.leader import LeaderElector, Timing, _Leases, _Lock


class Lease:
    """One Lease, as the API server keeps it; ``broken`` makes every request fail."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(
            holder_identity=None, lease_duration_seconds=None, acquire_time=None, renew_time=None
        )
        self.broken = False
        self.writes = 0
        self.slow = threading.Event()
        self.slow.set()

    def read_namespaced_lease(self, name: str, namespace: str) -> Any:
        if self.broken:
            raise ApiException(reason="no route to host")
        return SimpleNamespace(spec=SimpleNamespace(**vars(self.spec)))

    def replace_namespaced_lease(self, name: str, namespace: str, body: Any) -> None:
        self.slow.wait(10)
        if self.broken:
            raise ApiException(reason="no route to host")
        self.writes += 1
        self.spec = body.spec


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lease() -> Lease:
    return Lease()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def elector(lease: Lease, clock: Clock) -> Iterator[LeaderElector]:
    elector = LeaderElector(None, "id", "ns", Timing(6, 3), clock)
    elector._lock.api_instance = lease
    yield elector
    elector._lock.close()


def until(condition: Callable[[], Any], timeout: float = 20.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("lease_duration", "renew_deadline", "message"),
    [
        (15, 2, "--leader-elect-renew-deadline 2s: must be at least 3s"),
        (10, 10, "--leader-elect-lease-duration 10s: must be longer than --leader-elect-renew-deadline, which is 10s"),
    ],
)
def test_bad_timing(lease_duration: int, renew_deadline: int, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Timing(lease_duration, renew_deadline)
    assert str(error.value) == message


def test_leads_and_renews(elector: LeaderElector, lease: Lease) -> None:
    elector.start()
    until(elector.leading.is_set)
    assert lease.spec.holder_identity == elector.identity
    until(lambda: lease.writes >= 2)
    assert not elector.lost()
    elector.release()
    assert lease.spec.holder_identity is None
    assert not elector.lost(), "a lease that was let go is not lost"


def test_waits_while_another_leads(elector: LeaderElector, lease: Lease) -> None:
    now = datetime.datetime.now(datetime.UTC)
    lease.spec = SimpleNamespace(holder_identity="other", lease_duration_seconds=6, acquire_time=now, renew_time=now)
    elector.start()
    time.sleep(1.5)
    assert not elector.leading.is_set() and not elector.lost() and lease.writes == 0


def test_lost_when_it_was_not_renewed_for_long(
    elector: LeaderElector, lease: Lease, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """As after the process was stopped: before any request, and for good though a late renewal succeeds."""
    elector.start()
    until(elector.leading.is_set)
    lease.slow.clear()  # a renewal hangs
    clock.now += 3
    assert not elector.lost()
    clock.now += 0.5
    assert elector.lost()
    assert "lease ns/id lost: it was not renewed for 4 s" in caplog.text
    lease.slow.set()
    writes = lease.writes
    time.sleep(2.5)
    assert lease.writes <= writes + 1, "one request was under way, no other follows"
    assert elector.lost()


def test_lost_when_another_has_taken_it(elector: LeaderElector, lease: Lease) -> None:
    elector.start()
    until(elector.leading.is_set)
    lease.spec = SimpleNamespace(**{**vars(lease.spec), "holder_identity": "other"})
    until(elector.lost)
    assert lease.spec.holder_identity == "other"


def test_lost_when_the_api_server_does_not_answer(elector: LeaderElector, lease: Lease) -> None:
    elector.start()
    until(elector.leading.is_set)
    lease.broken = True
    until(elector.lost)


def test_release_leaves_a_lease_of_another_alone(lease: Lease) -> None:
    lock = _Lock(None, "id", "ns", "me")
    lock.api_instance = lease
    lease.spec.holder_identity = "other"
    lock.release()
    assert lease.writes == 0
    assert lock.update("id", "ns", None) is False and lock.create("id", "ns", None) is False


def test_release_that_fails_is_told(lease: Lease, caplog: pytest.LogCaptureFixture) -> None:
    lock = _Lock(None, "id", "ns", "me")
    lock.api_instance = lease
    lease.broken = True
    lock.release()
    assert "lease ns/id not released: no route to host" in caplog.text


def test_no_answer_is_an_error_the_lock_knows() -> None:
    def fail(**_: Any) -> None:
        raise urllib3.exceptions.ProtocolError("gone")

    leases = _Leases(None)
    leases._api = SimpleNamespace(read_namespaced_lease=fail)
    with pytest.raises(ApiException, match="gone"):
        leases.read_namespaced_lease()
