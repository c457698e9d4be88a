"""Tasks on a private control plane: a controller, a simulated kubelet, and who makes Tasks and watches them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import urllib3
import yaml
from measurement import NotMeasuredError
from prometheus_client.parser import text_string_to_metric_families
from raw_api import Object, RawApi
from setting import ROOT, Setting

TASKS = "/apis/api.practice.com/v1alpha1"
FINAL = ("Successful", "Failure", "Cancelled")
MAKERS = 4
WAIT, SOON = 1200.0, 60.0  # seconds, for what takes its time and for what does not


class TaskWatch:
    """Notes when each Task was made, got its Pod, and had its verdict; times are of time.monotonic()."""

    def __init__(self, api: RawApi, namespace: str) -> None:
        self.made: dict[str, float] = {}
        self.reacted: dict[str, float] = {}
        self.finished: dict[str, float] = {}
        self._api, self._namespace, self._closed = api, namespace, False
        for path, note in ((_tasks(namespace), self._note_task), (_pods(namespace), self._note_pod)):
            threading.Thread(target=self._follow, args=(path, note), daemon=True).start()

    def __enter__(self) -> TaskWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True

    def make(self, name: str) -> None:
        """Make a Task of two steps."""
        steps = [{"name": step, "image": "busybox:1.28", "command": ["true"]} for step in ("first", "second")]
        body = {"apiVersion": "api.practice.com/v1alpha1", "kind": "Task", "metadata": {"name": name}}
        self.made[name] = time.monotonic()
        self._api.create(_tasks(self._namespace), {**body, "spec": {"steps": steps}})

    def make_many(self, names: Sequence[str]) -> None:
        """Make Tasks as fast as a few makers can."""
        with concurrent.futures.ThreadPoolExecutor(MAKERS) as makers:
            for _ in makers.map(self.make, names):
                pass

    def counts(self) -> dict[str, float]:
        """Return how many Tasks were made, and how many have their verdict."""
        return {"made": len(self.made), "finished": len(self.finished)}

    def forget(self) -> None:
        """Drop what was noted."""
        for notes in (self.made, self.reacted, self.finished):
            notes.clear()

    def spans(self, ends: dict[str, float]) -> list[float]:
        """Return the seconds from each Task's making to what is noted in ``ends``."""
        return [ends[name] - made for name, made in self.made.items() if name in ends]

    def _follow(self, path: str, note: Callable[[Object], None]) -> None:
        with contextlib.suppress(urllib3.exceptions.HTTPError):  # the API server ends before this thread does
            for event in self._api.watch(path):
                if self._closed:
                    return
                note(event["object"])

    def _note_task(self, task: Object) -> None:
        name = task["metadata"]["name"]
        if name in self.made and task.get("status", {}).get("status") in FINAL:
            self.finished.setdefault(name, time.monotonic())

    def _note_pod(self, pod: Object) -> None:
        name = pod["metadata"].get("labels", {}).get("taskname", "")
        if name in self.made:
            self.reacted.setdefault(name, time.monotonic())


class BenchController:
    """``taskflow-controller run`` with the watches.yaml of Tasks, in a process of its own."""

    def __init__(self, kubeconfig: Path, folder: Path, namespace: str) -> None:
        self._log = folder / "controller.log"
        health, self._metrics = _free_ports(2)
        environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "PYTHONPATH": str(ROOT),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "WATCH_NAMESPACE": namespace,
        }
        command = [sys.executable, "-m", "taskflow_controller", "run", "--kubeconfig", str(kubeconfig)]
        command += ["--watches-file", str(ROOT / "watches.yaml"), "--runner-dir", str(folder / "runs")]
        command += ["--health-probe-bind-address", f"127.0.0.1:{health}", "--user-metrics-bind-address", "0"]
        command += ["--metrics-bind-address", f"127.0.0.1:{self._metrics}"]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        self._health = f"http://127.0.0.1:{health}/readyz"

    def reconciles(self) -> float:
        """Return how many times a resource was reconciled so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=30) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = (sample for family in families for sample in family.samples)
            return sum(s.value for s in samples if s.name == "controller_runtime_reconcile_total")

    def stop(self) -> None:
        """End it in peace, or else not."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ready(self) -> bool:
        """Tell whether it watches."""
        try:
            return bool(urllib.request.urlopen(self._health, timeout=5).status == 200)
        except OSError:
            return False


class Stage:
    """A namespace on the private control plane, with the CRDs, for a controller of its own."""

    def __init__(self, setting: Setting, namespace: str) -> None:
        self._control_plane = setting.control_plane
        self.folder = setting.folder / namespace
        self.folder.mkdir()
        self.namespace = namespace
        self._started: list[subprocess.Popen[bytes]] = []
        self.api = RawApi(str(self._control_plane.kubeconfig), connections=MAKERS + 4)
        for file in (ROOT / "crd").glob("*.yaml"):
            crd = yaml.safe_load(file.read_text())
            self.api.ensure("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        self.wait(self._serves_tasks, "the CRD to be served", SOON)
        self.api.ensure("/api/v1/namespaces", {"metadata": {"name": namespace}})

    @contextlib.contextmanager
    def controller(self) -> Iterator[BenchController]:
        """A controller for the namespace, that ends with the block."""
        controller = BenchController(self._control_plane.kubeconfig, self.folder, self.namespace)
        self._started.append(controller.process)
        try:
            self.wait(controller.ready, "the controller to be ready", SOON)
            yield controller
        finally:
            self._started.remove(controller.process)
            controller.stop()

    @contextlib.contextmanager
    def kubelet(self) -> Iterator[int]:
        """A simulated kubelet, that ends with the block; yields its process."""
        script = Path(__file__).with_name("simulated_kubelet.py")
        kubelet = subprocess.Popen([sys.executable, script, str(self._control_plane.kubeconfig), self.namespace])
        self._started.append(kubelet)
        try:
            yield kubelet.pid
        finally:
            self._started.remove(kubelet)
            kubelet.kill()
            kubelet.wait()

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = WAIT) -> None:
        """Wait until something is true. Raises NotMeasuredError when it takes too long, or a program has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise NotMeasuredError(f"waited {seconds:g} s for {what}")
            if ended := [process.args for process in self._started if process.poll() is not None]:
                raise NotMeasuredError(f"while waiting for {what} this has ended: {ended}")
            time.sleep(0.02)

    def server_pids(self) -> list[int]:
        """Return the processes of the API server and its etcd."""
        return self._control_plane.pids

    def _serves_tasks(self) -> bool:
        try:
            return bool(self.api.get(_tasks(self.namespace)))
        except Exception:
            return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]


def _tasks(namespace: str) -> str:
    return f"{TASKS}/namespaces/{namespace}/tasks"


def _pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
