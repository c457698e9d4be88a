"""Leader election on a Lease, with the client library's LeaderElection and LeaseLock.

What they lack is added: a timeout for their requests, network errors that end a try instead of the thread,
word of a lost leadership, whatever the reason, and a release that lets the next replica take over at once.
"""

import logging
import os
import socket
import threading
import uuid
from pathlib import Path
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from taskflow_controller.api import plain_cause
from taskflow_controller.errors import ConfigError

logger = logging.getLogger(__name__)

LEASE_SECONDS = 15
RENEW_DEADLINE_SECONDS = 10
RETRY_SECONDS = 2
# The last try to renew begins before the deadline and is two requests: both must end before the lease does.
REQUEST_TIMEOUT = 2.0
_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def default_namespace(file: Path = _NAMESPACE_FILE) -> str:
    """Return the namespace of this Pod. Raises ConfigError outside of a cluster."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise ConfigError(
            "--leader-elect: not in a Pod, so --leader-election-namespace must say where the Lease is"
        ) from exc


class _Leases:
    """The three calls LeaseLock makes, with a timeout; no answer becomes the error LeaseLock knows."""

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
    """A LeaseLock that can be let go."""

    def __init__(self, api_client: client.ApiClient, name: str, namespace: str, identity: str) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = _Leases(api_client)
        self._released = False
        self._writing = threading.Lock()

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        with self._writing:
            return not self._released and bool(super().create(name, namespace, election_record))

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        with self._writing:
            return not self._released and bool(super().update(name, namespace, updated_record))

    def release(self) -> None:
        """Write no more, and clear the holder if that is this replica."""
        with self._writing:
            self._released = True
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
    """Takes part in an election; ``leading`` is set on winning it, ``lost`` when leadership is gone again."""

    def __init__(self, api_client: client.ApiClient, name: str, namespace: str) -> None:
        self.identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.leading = threading.Event()
        self.lost = threading.Event()
        self._name, self._namespace = name, namespace
        self._releasing = False
        self._lock = _Lock(api_client, name, namespace, self.identity)

    def start(self) -> None:
        """Take part, in a daemon thread: LeaderElection.run() never returns while all is well."""
        logger.info("waiting for lease %s/%s as %s", self._namespace, self._name, self.identity)
        threading.Thread(target=self._run, name="leader-election", daemon=True).start()

    def release(self) -> None:
        """Let another replica lead. To be called when this one's work has ended."""
        self._releasing = True
        self._lock.release()

    def _run(self) -> None:
        election = LeaderElection(
            Config(
                self._lock,
                lease_duration=LEASE_SECONDS,
                renew_deadline=RENEW_DEADLINE_SECONDS,
                retry_period=RETRY_SECONDS,
                onstarted_leading=self._started,
                onstopped_leading=lambda: None,
            )
        )
        try:
            election.run()
        except Exception:
            logger.exception("bug: leader election broke off")
        if not self._releasing:
            logger.error("lease %s/%s lost", self._namespace, self._name)
            self.lost.set()

    def _started(self) -> None:
        logger.info("lease %s/%s acquired, this replica leads", self._namespace, self._name)
        self.leading.set()
