"""kubectl as a person would use it, and Tasks to use it on."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .facts import facts, has_facts
from .reading import read

ROOT = Path(__file__).resolve().parents[2]
OPERATOR_NAMESPACE = "taskflow-system"
# The cluster's own: that of this host may be of another age.
KUBECTL = facts().kubectl if has_facts() else "kubectl"
# Generous, since nothing here asserts a speed: only a hang ends a wait.
WAIT = 240
FINAL = ("Successful", "Failure", "Cancelled")

Object = dict[str, Any]
Objects = list[Object]  # the method Cluster.list hides the type

# A line of shell that shows its arguments byte for byte; decoded() reads them again.
SHOW_ARGUMENTS = 'for word in "$@"; do printf "%s" "$word" | od -An -v -tx1 | tr -d " \\n"; echo; done'


class Cluster:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *words: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return what came of it."""
        command = [KUBECTL, "--namespace", self.namespace, *words]
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
        found = read(kind, self.namespace, name)
        return json.loads(self.run("get", kind, name, "-o", "json").stdout) if found is None else found

    def list(self, kind: str, selector: str = "") -> Objects:
        """Return the objects of a kind."""
        found = read(kind, self.namespace, labelSelector=selector)
        if found is None:
            found = json.loads(self.run("get", kind, "-l", selector, "-o", "json").stdout)
        items: Objects = found["items"]
        return items

    def task(self, name: str) -> Object:
        """Return a Task."""
        return self.get("task", name)

    def pods_of(self, name: str) -> Objects:
        """Return the Pods of a Task."""
        return self.list("pods", f"taskname={name}")

    def patch(self, kind: str, name: str, patch: Object, *words: str) -> None:
        """Change some fields of an object."""
        self.run("patch", kind, name, "--type=merge", "-p", json.dumps(patch), *words)

    def post(self, path: str, body: Object) -> None:
        """Send an object to a path of the API that kubectl has no command for."""
        self.run("create", "--raw", path, "-f", "-", stdin=json.dumps(body))

    def logs(self, pod: str, step: str, *words: str) -> str:
        """Return a step's log."""
        return self.run("logs", pod, "-c", step, *words).stdout

    def events(self, name: str) -> Objects:
        """Return the Events on a Task."""
        selector = f"involvedObject.kind=Task,involvedObject.name={name}"
        found = read("events", self.namespace, fieldSelector=selector)
        if found is None:
            found = json.loads(self.run("get", "events", "--field-selector", selector, "-o", "json").stdout)
        items: Objects = found["items"]
        return items

    def event(self, name: str, reason: str, words: str = "") -> str:
        """Wait for an Event on a Task, with these words if they are given, and return its message."""

        def message() -> str | None:
            told = [e["message"] for e in self.events(name) if e["reason"] == reason]
            return next((text for text in told if words in text), None)

        found: str = self.wait(f"an Event {reason} {words!r} on Task {name}", message)
        return found

    def tell(self, pod: str, step: str, exit_code: int = 0) -> None:
        """Let a step of waiter() end."""
        self.run("exec", pod, "-c", step, "--", "sh", "-c", f"echo {exit_code} > /tmp/told")

    def is_gone(self, kind: str, name: str) -> bool:
        """Return whether there is no such object."""
        return self.run("get", kind, name, "--ignore-not-found", "-o", "name").stdout == ""

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

    def running(self, name: str, other_than: str = "") -> Object:
        """Wait until a step of the Task runs, in another Pod than the given one, and return the Task."""

        def runs() -> Object | None:
            task = self.task(name)
            status = task.get("status", {})
            now = status.get("observedGeneration") == task["metadata"]["generation"]
            return task if now and status.get("podName") != other_than and "Running" in step_states(task) else None

        found: Object = self.wait(f"a step of Task {name} to run", runs)
        return found

    def pending(self, name: str, *reasons: str) -> Object:
        """Wait until the Task, as it is now, is Pending for one of these reasons, and return it."""

        def waits() -> Object | None:
            task = self.task(name)
            status = task.get("status", {})
            now = status.get("observedGeneration") == task["metadata"]["generation"]
            return task if now and status["status"] == "Pending" and condition(task)["reason"] in reasons else None

        found: Object = self.wait(f"Task {name} to be Pending, {' or '.join(reasons)}", waits)
        return found

    def terminal_pod(self, name: str) -> Object:
        """Wait until a Pod is terminal by its phase, a moment after its containers have ended, and return it."""

        def is_terminal() -> Object | None:
            pod = self.get("pod", name)
            return pod if pod["status"]["phase"] in ("Succeeded", "Failed") else None

        found: Object = self.wait(f"Pod {name} to be terminal", is_terminal)
        return found

    def settled(self, name: str) -> Object:
        """Wait until the Task has its verdict and every step has ended, and return the Task."""
        self.finished(name)

        def ended() -> Object | None:
            task = self.task(name)
            return None if any(s["state"] in ("Waiting", "Running") for s in task["status"]["steps"]) else task

        found: Object = self.wait(f"the steps of Task {name} to end", ended)
        return found


def run_module(name: str, arguments: Object, *flags: str) -> Object:
    """Run one module of the collection by hand, as a plain play would, and return its result; what came with it is
    ``shown``.
    """
    command = ["ansible", "localhost", "-m", f"taskflow.operator.{name}", "-a", json.dumps(arguments), *flags]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=ROOT)
    assert "=> " in run.stdout, run.stdout + run.stderr
    shown, result = run.stdout.split("=> ", 1)
    return {**json.JSONDecoder().raw_decode(result)[0], "shown": shown}


class OrderWatch:
    """Records every value that the order annotation of a Task's Pods takes."""

    def __init__(self, namespace: str, name: str) -> None:
        form = 'jsonpath={.metadata.annotations.taskorder}{"\\n"}'
        command = [KUBECTL, "--namespace", namespace, "get", "pods", "-l", f"taskname={name}", "--watch", "-o", form]
        self._watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def stop(self) -> list[str]:
        """Stop watching and return the values, in the order they came, each change once."""
        self._watch.terminate()
        orders, _ = self._watch.communicate(timeout=30)
        return [order for order, _ in itertools.groupby(orders.split())]


class PodWatch:
    """Records every change of a Task's Pods, in the order of the API server."""

    def __init__(self, namespace: str, name: str) -> None:
        words = ["get", "pods", "-l", f"taskname={name}", "-o", "json", "--watch", "--output-watch-events"]
        # A file, since nobody reads a pipe meanwhile.
        self._file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - stop() closes it
        command = [KUBECTL, "--namespace", namespace, *words]
        self._watch = subprocess.Popen(command, stdout=self._file, stderr=subprocess.DEVNULL)

    def stop(self) -> list[Object]:
        """Stop watching and return the changes: each with its type and the Pod as object."""
        time.sleep(1)  # what has just happened may be on its way
        self._watch.terminate()
        self._watch.wait(timeout=30)
        self._file.seek(0)
        with self._file:
            return list(_json_values(self._file.read()))


def _json_values(text: str) -> Iterator[Object]:
    decoder, position = json.JSONDecoder(), 0
    while start := re.compile(r"\S").search(text, position):
        try:
            value, position = decoder.raw_decode(text, start.start())
        except ValueError:  # the end of it was cut off
            return
        yield value


def alive_at_once(changes: list[Object]) -> set[int]:
    """Return every number of a Task's Pods that were alive at the same time.

    A Pod is alive until its containers have ended for good, or it is gone; also while it is being deleted. The kubelet
    tells of the containers' ends a second or two before the Pod's phase is terminal.
    """
    alive: set[str] = set()
    numbers = set()
    for change in changes:
        pod = change["object"]
        ended = change["type"] == "DELETED" or has_ended(pod)
        (alive.discard if ended else alive.add)(pod["metadata"]["uid"])
        numbers.add(len(alive))
    return numbers


def has_ended(pod: Object) -> bool:
    """Tell whether nothing runs in a Pod any more: its phase says so, or else every container of it."""
    status = pod["status"]
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    states = [container["state"] for container in status.get("containerStatuses", [])]
    all_ended = bool(states) and all("terminated" in state for state in states)
    return all_ended and not any("running" in s["state"] for s in status.get("initContainerStatuses", []))


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


def waiter(name: str) -> Object:
    """Return a step that runs until Cluster.tell() says with which exit code it is to end."""
    return shell(name, "until test -s /tmp/told; do sleep 0.1; done; exit $(cat /tmp/told)")


def example(file: str) -> Object:
    """Return one of the example manifests."""
    loaded: Object = yaml.safe_load((ROOT / "examples" / file).read_text())
    return loaded


def step_states(task: Object) -> list[str]:
    """Return the states of a Task's steps, in the order of the spec."""
    return [step["state"] for step in task["status"]["steps"]]


def ended_container(pod: Object, name: str) -> Object | None:
    """Return how a Pod's container ended; None while it has not."""
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"].get("containerStatuses", [])]
    ended: Object | None = next((s["state"].get("terminated") for s in statuses if s["name"] == name), None)
    return ended


def decoded(log: str) -> list[str]:
    """Return what SHOW_ARGUMENTS has shown."""
    return [bytes.fromhex(line).decode() for line in log.splitlines()]


def condition(task: Object) -> Object:
    """Return the Task's condition Succeeded."""
    return next(c for c in task["status"]["conditions"] if c["type"] == "Succeeded")
