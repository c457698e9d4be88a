"""The end-to-end tests: a real cluster, the operator deployed on it, and kubectl as a person would use it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "taskflow-system"
# Generous, since nothing here asserts a speed: only a hang ends a wait.
WAIT = 240
FINAL = ("Successful", "Failure")

Object = dict[str, Any]


class Cluster:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return what came of it."""
        command = ["kubectl", "--namespace", self.namespace, *words]
        result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=WAIT, check=False)
        if check and result.returncode != 0:
            pytest.fail(f"{' '.join(command)}: {result.stderr.strip()}")
        return result

    def apply(self, manifest: Object | Path) -> None:
        """Apply a manifest, given as a file or as an object."""
        if isinstance(manifest, Path):
            self.run("apply", "-f", str(manifest))
        else:
            self.run("apply", "-f", "-", stdin=json.dumps(manifest))

    def get(self, kind: str, name: str) -> Object:
        """Return one object."""
        found: Object = json.loads(self.run("get", kind, name, "-o", "json").stdout)
        return found

    def list(self, kind: str, selector: str = "") -> list[Object]:
        """Return the objects of a kind."""
        items: list[Object] = json.loads(self.run("get", kind, "-l", selector, "-o", "json").stdout)["items"]
        return items

    def task(self, name: str) -> Object:
        """Return a Task."""
        return self.get("task", name)

    def pods_of(self, name: str) -> list[Object]:
        """Return the Pods of a Task."""
        return self.list("pods", f"taskname={name}")

    def logs(self, pod: str, step: str, *words: str) -> str:
        """Return a step's log."""
        return self.run("logs", pod, "-c", step, *words).stdout

    def wait(self, what: str, test: Callable[[], Any]) -> Any:
        """Wait until test() is true, and return what it returned."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            value = test()
            if value:
                return value
            time.sleep(0.3)
        everything = self.run("describe", "tasks,pods", check=False).stdout
        log = Cluster(OPERATOR_NAMESPACE).run("logs", "deployment/taskflow-operator", "--tail=50", check=False).stdout
        pytest.fail(f"waited {WAIT} s for {what}\n{everything}\nThe operator's log:\n{log}")

    def finished(self, name: str, generation: int | None = None) -> Object:
        """Wait until the Task has its verdict, of the given generation, and return the Task."""

        def verdict() -> Object | None:
            task = self.task(name)
            status = task.get("status", {})
            wanted = generation or task["metadata"]["generation"]
            return task if status.get("observedGeneration") == wanted and status.get("status") in FINAL else None

        found: Object = self.wait(f"Task {name} to end", verdict)
        return found

    def settled(self, name: str) -> Object:
        """Wait until the Task has its verdict and every step has ended, and return the Task."""
        self.finished(name)

        def ended() -> Object | None:
            task = self.task(name)
            return None if any(s["state"] in ("Waiting", "Running") for s in task["status"]["steps"]) else task

        found: Object = self.wait(f"the steps of Task {name} to end", ended)
        return found


class OrderWatch:
    """Records every value that the order annotation of a Task's Pods takes."""

    def __init__(self, namespace: str, name: str) -> None:
        kubernetes.config.load_config()
        self.orders: list[str] = []
        self._watch = kubernetes.watch.Watch()
        self._thread = threading.Thread(target=self._record, args=(namespace, name), daemon=True)
        self._thread.start()

    def _record(self, namespace: str, name: str) -> None:
        core = kubernetes.client.CoreV1Api()
        events = self._watch.stream(
            core.list_namespaced_pod, namespace, label_selector=f"taskname={name}", timeout_seconds=WAIT
        )
        for event in events:
            order = event["raw_object"]["metadata"]["annotations"]["taskorder"]
            if self.orders[-1:] != [order]:
                self.orders.append(order)

    def stop(self) -> list[str]:
        """Stop watching and return the values, in the order they came."""
        self._watch.stop()
        self._thread.join(timeout=30)
        return self.orders


def make_task(name: str, *steps: Object, **spec: Any) -> Object:
    """Return a Task of busybox steps, unless a step says otherwise."""
    return {
        "apiVersion": "api.practice.com/v1alpha1",
        "kind": "Task",
        "metadata": {"name": name},
        "spec": {"steps": [{"image": "busybox:1.28", **step} for step in steps], **spec},
    }


def shell(name: str, line: str) -> Object:
    """Return a step that runs one line of shell."""
    return {"name": name, "command": ["sh", "-c", line]}


def example(file: str) -> Object:
    """Return one of the example manifests."""
    loaded: Object = yaml.safe_load((ROOT / "examples" / file).read_text())
    return loaded


def step_states(task: Object) -> list[str]:
    """Return the states of a Task's steps, in the order of the spec."""
    return [step["state"] for step in task["status"]["steps"]]


def condition(task: Object) -> Object:
    """Return the Task's condition Succeeded."""
    return next(c for c in task["status"]["conditions"] if c["type"] == "Succeeded")


@pytest.fixture(scope="session", autouse=True)
def operator() -> None:
    """Fail at once where there is no cluster with the operator."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set. Run: make test", returncode=2)
    cluster = Cluster(OPERATOR_NAMESPACE)
    cluster.run("rollout", "status", "deployment/taskflow-operator", "--timeout=120s")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A namespace of the test's own, which goes with everything in it."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster = Cluster(name)
    cluster.run("create", "namespace", name)
    cluster.wait(
        "the namespace's ServiceAccount",
        lambda: cluster.run("get", "serviceaccount", "default", check=False).returncode == 0,
    )
    yield cluster
    cluster.run("delete", "namespace", name, "--wait=false")
