"""kubectl as a person would use it, and Tasks to use it on."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        form = 'jsonpath={.metadata.annotations.taskorder}{"\\n"}'
        command = ["kubectl", "--namespace", namespace, "get", "pods", "-l", f"taskname={name}", "--watch", "-o", form]
        self._watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def stop(self) -> list[str]:
        """Stop watching and return the values, in the order they came, each change once."""
        self._watch.terminate()
        orders, _ = self._watch.communicate(timeout=30)
        return [order for order, _ in itertools.groupby(orders.split())]


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
