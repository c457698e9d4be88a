"""Leader election on a Lease, with the client library's LeaderElection and LeaseLock.

This module adds what they lack: a timeout for their requests, network errors that end one attempt instead of the
thread, notice of lost leadership for whatever reason, and a release that lets the next replica take over at once.

Leadership is lost as soon as this replica can no longer prove it. Other replicas may take over ``lease_duration``
after the last renewal, so this one stops work ``renew_deadline`` after it, by its own clock, and uses the time between
the two to end its runs. A process that was suspended for a while notices that before it does anything else.
"""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.api import plain_cause

logger = logging.getLogger(__name__)

RETRY_SECONDS = 2
REQUEST_TIMEOUT = 2.0  # an attempt to renew takes two requests
LEAST_RENEW_DEADLINE = 3  # LeaderElection requires more than 1.2 times the time between two attempts
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def default_namespace(file: Path = _NAMESPACE_FILE) -> str:
    """Return the namespace of this Pod.

    Args:
        file: where the kubelet has written it.

    Raises:
        ConfigError: this process is not in a Pod.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(
            "--leader-elect: not in a Pod, so --leader-election-namespace must say where the Lease is"
        ) from exc


@dataclass(frozen=True)
class Timing:
    """The times of an election, in whole seconds.

    Attributes:
        lease_duration: how long a lease that is not renewed keeps other replicas from leading.
        renew_deadline: how long a leader works on without renewing its lease.
    """

    lease_duration: int = 15
    renew_deadline: int = 10

    def __post_init__(self) -> None:
        """Check both times.

        Raises:
            ConfigError: ``renew_deadline`` is too short, or ``lease_duration`` is not longer than it.
        """
        if self.renew_deadline < LEAST_RENEW_DEADLINE:
            raise ConfigError(
                f"--leader-elect-renew-deadline {self.renew_deadline}s: must be at least {LEAST_RENEW_DEADLINE}s"
            )
        if self.lease_duration <= self.renew_deadline:
            raise ConfigError(
                f"--leader-elect-lease-duration {self.lease_duration}s: must be longer than "
                f"--leader-elect-renew-deadline, which is {self.renew_deadline}s"
            )


def boot_clock() -> float:
    """Return the seconds since this machine started, including the time it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Leases:
    """The three calls that LeaseLock makes, with a timeout. No answer becomes the error that LeaseLock handles."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._api = client.CoordinationV1Api(api_client)

    def __getattr__(self, method: str) -> Any:
        call = getattr(self._api, method)

        def with_timeout(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, _request_timeout=REQUEST_TIMEOUT, **kwargs)
            except urllib3.exceptions.HTTPError as exc:
                raise ApiException(reason=plain_cause(exc)) from exc

        return with_timeout


class _Lock(LeaseLock):  # type: ignore[misc]
    """A LeaseLock that can be released, and knows when it was last written."""

    def __init__(
        self,
        api_client: client.ApiClient,
        name: str,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = _Leases(api_client)
        self.written = clock()
        self._clock = clock
        self._closed = False
        self._writing = threading.Lock()

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        return self._write(super().create, name, namespace, election_record)

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        return self._write(super().update, name, namespace, updated_record)

    def _write(self, write: Callable[[str, str, Any], Any], name: str, namespace: str, record: Any) -> bool:
        with self._writing:
            began = self._clock()  # before the request, because other replicas count from its arrival
            if self._closed or not write(name, namespace, record):
                return False
            self.written = began
            return True

    def close(self) -> None:
        """Stop writing. Does not wait for a request that is under way."""
        self._closed = True

    def release(self) -> None:
        """Stop writing, and clear the holder if that is this replica."""
        self.close()
        with self._writing:
            try:
                lease = self.api_instance.read_namespaced_lease(self.name, self.namespace)
                if lease.spec and lease.spec.holder_identity == self.identity:
                    lease.spec.holder_identity = None
                    lease.spec.lease_duration_seconds = 1
                    self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease)
                    logger.info("lease %s/%s released", self.namespace, self.name)
            except ApiException as exc:
                logger.warning("lease %s/%s not released: %s", self.namespace, self.name, plain_cause(exc))


class LeaderElector:
    """Takes part in an election.

    Args:
        api_client: the client library's client.
        name: the name of the Lease.
        namespace: the namespace of the Lease.
        timing: how long a lease lasts.
        clock: returns seconds, and also counts while the machine sleeps.

    Attributes:
        identity: this replica's name in the Lease.
        leading: set when this replica wins, and never cleared. ``lost`` says whether it still leads.
    """

    def __init__(
        self,
        api_client: client.ApiClient,
        name: str,
        namespace: str,
        timing: Timing,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.leading = threading.Event()
        self._name, self._namespace, self._timing, self._clock = name, namespace, timing, clock
        self._lost = self._releasing = False
        self._lock = _Lock(api_client, name, namespace, self.identity, clock)

    def start(self) -> None:
        """Take part, in a daemon thread: LeaderElection.run() never returns while all is well."""
        logger.info("waiting for lease %s/%s as %s", self._namespace, self._name, self.identity)
        threading.Thread(target=self._run, name="leader-election", daemon=True).start()

    def lost(self) -> bool:
        """Return whether this replica must stop work. Once true, it stays true. Takes no lock."""
        if not self._lost and self.leading.is_set() and not self._releasing:
            silence = self._clock() - self._lock.written
            if silence > self._timing.renew_deadline:
                self._lose(f"it was not renewed for {silence:.0f} s")
        return self._lost

    def release(self) -> None:
        """Let another replica lead. Call it when this one's work has ended."""
        self._releasing = True
        self._lock.release()

    def _lose(self, why: str) -> None:
        if not self._lost and not self._releasing:
            self._lost = True
            self._lock.close()
            logger.error("lease %s/%s lost: %s", self._namespace, self._name, why)

    def _run(self) -> None:
        election = LeaderElection(
            Config(
                self._lock,
                lease_duration=self._timing.lease_duration,
                renew_deadline=self._timing.renew_deadline,
                retry_period=min(RETRY_SECONDS, self._timing.renew_deadline / LEAST_RENEW_DEADLINE),
                onstarted_leading=self._started,
                onstopped_leading=lambda: None,
            )
        )
        try:
            election.run()
        except Exception:
            logger.exception("bug: leader election ended with an error")
        self._lose("it could not be renewed, or another replica has taken it")

    def _started(self) -> None:
        logger.info("lease %s/%s acquired, this replica leads", self._namespace, self._name)
        self.leading.set()
