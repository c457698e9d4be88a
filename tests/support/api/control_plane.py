"""A control plane of the tests' own, to be tormented: etcd and kube-apiserver on loopback, with nothing behind them.

No controller manager, no scheduler, no node: what a test makes stays as it was made. It takes a few seconds to start.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kubernetes import client, config
from prometheus_client.parser import text_string_to_metric_families

from support.api.pki import Pki
from support.api.relay import Relay
from support.facts import facts

START_SECONDS = 60.0
SERVICES = "10.0.0"  # addresses that nothing listens on; the API server only wants to have some


class ControlPlane:
    """Starts when made; ``stop`` ends all of it. Its processes die with this one, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._pki = directory, directory / "pki"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._relays: list[Relay] = []
        self._etcd_url, self._peer_url, api = (f"http://127.0.0.1:{port}" for port in _free_ports(3))
        self._api_port = int(api.rpartition(":")[2])
        self.kubeconfig = directory / "kubeconfig"
        self._certificates = Pki(self._pki, ("127.0.0.1", f"{SERVICES}.1"))
        self._certificates.write_kubeconfig(self.kubeconfig, f"https://127.0.0.1:{self._api_port}")
        self._start_etcd()
        self.start_api()
        self.api: client.ApiClient = config.new_client_from_config(str(self.kubeconfig))

    @property
    def pids(self) -> list[int]:
        """The processes that run now: etcd and the API server."""
        return [process.pid for process in self._processes.values()]

    def relay(self) -> tuple[Relay, Path]:
        """Return a new relay to the API server, and a kubeconfig that goes through it."""
        relay = Relay(self._api_port)
        self._relays.append(relay)
        path = self._directory / f"kubeconfig-{relay.port}"
        self._certificates.write_kubeconfig(path, f"https://127.0.0.1:{relay.port}")
        return relay, path

    def start_api(self) -> None:
        """Start the API server and wait until it is ready."""
        # fmt: off
        self._start("kube-apiserver", (
            f"--etcd-servers={self._etcd_url}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self._api_port}",
            "--endpoint-reconciler-type=none",  # a loopback address may be no Service's endpoint
            f"--cert-dir={self._pki}", f"--client-ca-file={self._pki}/ca.crt",
            f"--tls-cert-file={self._pki}/apiserver.crt", f"--tls-private-key-file={self._pki}/apiserver.key",
            f"--service-cluster-ip-range={SERVICES}.0/24", "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._pki}/service-account.key",
            f"--service-account-signing-key-file={self._pki}/service-account.key",
            "--authorization-mode=AlwaysAllow", "--disable-admission-plugins=ServiceAccount",
            "--profiling=false",
        ))
        # fmt: on
        self.ready()

    def ready(self) -> None:
        """Wait until the API server is ready, etcd too."""
        self._wait_for("kube-apiserver", f"https://127.0.0.1:{self._api_port}/readyz")

    def kill_api(self) -> None:
        """Kill the API server, as a crash would; what it had not answered stays unanswered."""
        self._end("kube-apiserver", signal.SIGKILL)

    def restart_api(self, down: float = 0.0) -> None:
        """Kill the API server, and start it again after ``down`` seconds."""
        self.kill_api()
        time.sleep(down)
        self.start_api()

    @contextlib.contextmanager
    def etcd_paused(self) -> Iterator[None]:
        """Stop etcd in its tracks: whatever needs it hangs, until the API server gives up or etcd goes on."""
        etcd = self._processes["etcd"]
        etcd.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            etcd.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def etcd_slow(self) -> Iterator[None]:
        """Let etcd work a tenth of the time, in short pieces: requests take long, and some too long."""
        fast = threading.Event()

        def slow_down() -> None:
            while not fast.wait(0.05):
                with self.etcd_paused():
                    fast.wait(0.5)

        thread = threading.Thread(target=slow_down)
        thread.start()
        try:
            yield
        finally:
            fast.set()
            thread.join()

    def compact(self) -> int:
        """Make etcd forget all but the present; return the revision. To watch from before it gives 410.

        The API server must be restarted for that, since it keeps the latest events in its memory.
        """
        revision = int(self._etcd("maintenance/status", {})["header"]["revision"])
        self._etcd("kv/compaction", {"revision": revision, "physical": True})
        return revision

    def conflicts(self, plural: str) -> int:
        """How many requests for objects of a kind were refused because another's change came first."""
        with _opener(self._pki).open(f"https://127.0.0.1:{self._api_port}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        requests = (one for family in families if family.name == "apiserver_request" for one in family.samples)
        return sum(
            int(one.value) for one in requests if one.labels["code"] == "409" and one.labels["resource"] == plural
        )

    def stop(self) -> None:
        """End everything that was started."""
        for relay in self._relays:
            relay.close()
        for name in reversed(list(self._processes)):
            self._end(name, signal.SIGKILL)  # there is nothing to be kept

    def _start_etcd(self) -> None:
        # fmt: off
        self._start("etcd", (
            "--name=one", f"--data-dir={self._directory}/etcd", "--unsafe-no-fsync",
            f"--listen-client-urls={self._etcd_url}", f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls={self._peer_url}", f"--initial-advertise-peer-urls={self._peer_url}",
            f"--initial-cluster=one={self._peer_url}",
        ))
        # fmt: on
        self._wait_for("etcd", f"{self._etcd_url}/health")

    def _etcd(self, call: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self._etcd_url}/v3/{call}", json.dumps(body).encode())
        with _opener().open(request, timeout=30) as answer:
            return dict(json.load(answer))

    def _start(self, name: str, arguments: tuple[str, ...]) -> None:
        # setpriv: the kernel kills the process when this one ends, even by SIGKILL.
        command = ["setpriv", "--pdeathsig", "KILL", program(name), *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self._directory)}  # above all: no proxy
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, env=environment, cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _wait_for(self, name: str, url: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        opener = _opener(self._pki)
        while True:
            with contextlib.suppress(OSError), opener.open(url, timeout=5) as answer:
                if answer.status == 200:
                    return
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                tail = (self._directory / f"{name}.log").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{name} does not answer at {url}:\n{tail}")
            time.sleep(0.1)

    def _end(self, name: str, number: int) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.send_signal(number)
            process.wait(20)


def program(name: str) -> str:
    """Return the path of ``etcd`` or ``kube-apiserver``.

    It is looked for in KUBEBUILDER_ASSETS, where setup-envtest has its binaries; among the programs of the cluster of
    KUBECONFIG; on the PATH.
    """
    folders = [os.environ.get("KUBEBUILDER_ASSETS", "")]
    with contextlib.suppress(FileNotFoundError):  # the cluster is none of the role's, or not up
        folders.append(facts().programs)
    for folder in filter(None, folders):
        if os.access(Path(folder, name), os.X_OK):
            return str(Path(folder, name))
    if found := shutil.which(name):
        return found
    raise FileNotFoundError(f"no {name}: bring the cluster up and set KUBECONFIG to its kubeconfig (make test)")


def _opener(pki: Path | None = None) -> urllib.request.OpenerDirector:
    """Return what opens URLs without a proxy, and with the admin's certificate if ``pki`` is given."""
    context = ssl.create_default_context()
    if pki:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
