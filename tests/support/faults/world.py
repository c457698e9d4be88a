"""A namespace with an operator of its own: the real controller on this host, behind a proxy that can fail its writes.

The Pods run on the cluster's nodes. The operator that is installed there has to be away meanwhile.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from support.controller import processes
from support.controller.controller_harness import Controller
from support.engine import CommandError
from support.faults import witness
from support.faults.api_server import MERGE, TASKS, ApiServer, RefusedError
from support.faults.fault_proxy import FaultProxy
from support.faults.invariants import HEALED_WITHIN, History, told_secrets, violations
from support.faults.recorder import Recorder
from support.kubectl import FINAL, OPERATOR_NAMESPACE, ROOT, Object
from support.nodes import node_run

ACCOUNT = f"system:serviceaccount:{OPERATOR_NAMESPACE}:taskflow-operator"
PASSED_ON = ("TASKFLOW_AGENT_IMAGE", "TASKFLOW_GIT_IMAGE", "TASKFLOW_REGISTRY_MIRRORS")
# Longer than any delay and the minute after it; only what never comes ends a wait.
WAIT = 180.0
# What a controller may hold more of after a case than after its first: caches of connections, above all.
MORE_DESCRIPTORS = 24
# How much later than it is due a verdict may be seen.
LATE = 15.0
# As much of a line of a log as is shown.
SHOWN = 400


class World:
    """One namespace, its operator, and what is recorded of it.

    Args:
        folder: an empty folder for the operator's files.
        nodes: the nodes that Pods may be on.
    """

    def __init__(self, folder: Path, nodes: Iterable[str]) -> None:
        self.folder, self.nodes = folder, list(nodes)
        self.namespace = f"faults-{uuid.uuid4().hex[:6]}"
        self.api = ApiServer(os.environ["KUBECONFIG"])
        self.secrets = {"the step's Secret": f"canary-{uuid.uuid4().hex}", "the operator's token": uuid.uuid4().hex}
        self._make_namespace()
        self._make_folders()
        self.recorder = Recorder(self.api, self.namespace)
        # With the rights of the operator that is installed, and no others.
        own = ApiServer(os.environ["KUBECONFIG"], {"Impersonate-User": ACCOUNT})
        self.proxy = FaultProxy(own, self.namespace, self.secrets["the operator's token"], self.kill)
        self.proxy.write_kubeconfig(folder / "kubeconfig")
        # A short path, since Unix sockets may be made in it. Both start empty, and what stays there is rubbish.
        self.home, self.temporary = folder / "home", Path(tempfile.mkdtemp(prefix="faults-"))
        self.home.mkdir()
        (folder / "ansible.cfg").touch()
        self._environment = self._operators_environment()
        self._operators: list[Controller] = []
        self._descriptors: dict[int, int] = {}
        self.is_away = False
        self.start()

    def _make_namespace(self) -> None:
        self.api.request("POST", "api/v1/namespaces", {"metadata": {"name": self.namespace}})
        body = {
            "metadata": {"name": witness.SECRET},
            "stringData": {witness.SECRET_KEY: self.secrets["the step's Secret"]},
        }
        self.api.request("POST", f"{self._core}/secrets", body)

    def _make_folders(self) -> None:
        folder = witness.folder_of(self.namespace)
        file = f"{folder}/{witness.LINES}"
        for node in self.nodes:
            # Steps may run as any user.
            node_run(node, "sh", "-c", f"mkdir -p {folder} && touch {file} && chmod 777 {folder} && chmod 666 {file}")

    def _operators_environment(self) -> dict[str, str]:
        path = f"apis/apps/v1/namespaces/{OPERATOR_NAMESPACE}/deployments/taskflow-operator"
        (container,) = self.api.request("GET", path)["spec"]["template"]["spec"]["containers"]
        installed = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        return {
            **{name: installed.get(name, "") for name in PASSED_ON},
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
        }

    @property
    def _core(self) -> str:
        return f"api/v1/namespaces/{self.namespace}"

    # --- the operator

    def start(self) -> None:
        """Start the operator; its directory is the one that the operator before it had."""
        name = f"operator{len(self._operators)}"
        flags = ("--watches-file", str(ROOT / "watches.yaml"), "--runner-dir", str(self.folder / "runner"))
        more = ("--user-metrics-bind-address", "0", "--log-level", "debug")
        kubeconfig = self.folder / "kubeconfig"
        operator = Controller(self.folder, name, self.namespace, (*flags, *more), kubeconfig, **self._environment)
        self._operators.append(operator)

    @property
    def operator(self) -> Controller:
        """The operator that was started last."""
        return self._operators[-1]

    def kill(self) -> None:
        """Kill the operator, as a lost node would. It is started again by whoever waits for something."""
        self.operator.process.kill()

    def tend(self) -> None:
        """Start the operator again if it was killed, unless it is to stay away."""
        if not self.is_away and self.operator.process.poll() is not None:
            self.start()

    def stay_away(self) -> None:
        """Kill the operator, and have it stay away until ``come_back``."""
        self.is_away = True
        self.kill()
        self.operator.process.wait(10)

    def come_back(self) -> None:
        """Start the operator again; from now on nothing is wrong any more."""
        self.is_away = False
        self.heal()
        self.tend()

    def heal(self) -> None:
        """Note that nothing is wrong any more: from now on a minute counts."""
        self.proxy.healed = time.monotonic()

    # --- Tasks and their Pods

    def apply(self, task: Object) -> Object:
        """Create a Task, and return it."""
        spec = {**task["spec"], "volumes": [witness.volume(self.namespace), *task["spec"].get("volumes", [])]}
        body = {**task, "spec": spec}
        return self.api.request("POST", f"{TASKS}/namespaces/{self.namespace}/tasks", body)

    def patch_task(self, name: str, patch: Object) -> None:
        """Change some fields of a Task."""
        self.api.request("PATCH", f"{TASKS}/namespaces/{self.namespace}/tasks/{name}", patch, MERGE)

    def delete_task(self, name: str) -> None:
        """Delete a Task, which may be gone."""
        self._delete(f"{TASKS}/namespaces/{self.namespace}/tasks/{name}", {})

    def delete_pod(self, name: str, grace: int | None = None) -> None:
        """Delete a Pod, which may be gone."""
        self._delete(f"{self._core}/pods/{name}", {} if grace is None else {"gracePeriodSeconds": grace})

    def nudge(self, pod: Object) -> None:
        """Have the kubelet look at a Pod now."""
        path = f"{self._core}/pods/{pod['metadata']['name']}"
        self.api.request("PATCH", path, {"metadata": {"annotations": {"nudged": str(time.monotonic())}}}, MERGE)

    def _delete(self, path: str, options: Object) -> None:
        try:
            self.api.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})
        except RefusedError as error:
            if error.status != 404:
                raise

    def task(self, name: str) -> Object | None:
        """Return a Task as it is now."""
        return self.recorder.now("tasks").get(name)

    def status(self, name: str) -> Object:
        """Return a Task's status as it is now."""
        found: Object = (self.task(name) or {}).get("status") or {}
        return found

    def states(self, name: str) -> list[str]:
        """Return the states of a Task's steps."""
        return [step["state"] for step in self.status(name).get("steps") or []]

    def pods(self, task: str) -> list[Object]:
        """Return a Task's Pods as they are now."""
        pods = self.recorder.now("pods").values()
        return [pod for pod in pods if pod["metadata"].get("labels", {}).get("taskname") == task]

    def pod(self, task: str) -> Object:
        """Return the Pod that a Task's status names."""
        return self.recorder.now("pods")[self.status(task)["podName"]]

    # --- waiting

    def until(self, what: str, test: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Wait until test() is true, and return what it returned. The operator is looked after meanwhile.

        Raises:
            TimeoutError: it did not become true.
        """
        deadline = time.monotonic() + seconds
        while not (found := test()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            self.tend()
            self.recorder.wait(0.3)
        return found

    def running(self, task: str, step: str) -> None:
        """Wait until a step runs, as the Task's status has it."""

        def runs() -> bool:
            steps = self.status(task).get("steps") or []
            return any(one["name"] == step and one["state"] == "Running" for one in steps)

        self.until(f"step {step} of Task {task} to run", runs)

    def said(self, task: str, step: str, event: str) -> None:
        """Wait until a step has said so; what the operator and Kubernetes know of it does not matter."""

        def has_said() -> bool:
            return any(line.task == task and line.step == step and line.event == event for line in self.lines())

        self.until(f"{event} of step {step} of Task {task}", has_said)

    def terminal(self, task: str) -> Object:
        """Wait until a Task's only Pod is terminal by its phase, and return it."""

        def is_terminal() -> Object | None:
            (pod,) = self.pods(task)
            return pod if pod["status"].get("phase") in ("Succeeded", "Failed") else None

        found: Object = self.until(f"the Pod of Task {task} to be terminal", is_terminal)
        return found

    def finished(self, task: str) -> Object:
        """Wait until a Task has its verdict and no fault is under way, and return its status."""

        def verdict() -> bool:
            if self.proxy.is_calm and time.monotonic() > self.proxy.healed + HEALED_WITHIN + LATE:
                raise TimeoutError(f"Task {task} has no verdict a minute after the last fault")
            return self.status(task).get("status") in FINAL and self.proxy.is_calm

        self.until(f"Task {task} to end", verdict, 2 * WAIT)
        return self.status(task)

    def quiet(self, seconds: float = 1.5) -> None:
        """Wait until the operator has written nothing for so long."""
        before, since = -1, time.monotonic()

        def is_quiet() -> bool:
            nonlocal before, since
            if before != (before := len(self.proxy.writes)):
                since = time.monotonic()
            return time.monotonic() - since > seconds

        self.until("the operator to rest", is_quiet)

    # --- the witness

    def open_gate(self, task: str, gate: str) -> None:
        """Let the steps go on that wait at a gate."""
        for node in self.nodes:
            path = witness.folder_of(self.namespace)
            with contextlib.suppress(CommandError):  # a node that is down has no step that waits
                node_run(node, "touch", f"{path}/{task}-{gate}")

    def lines(self) -> list[witness.Line]:
        """Return what all steps have said till now."""
        file = f"{witness.folder_of(self.namespace)}/{witness.LINES}"
        return witness.merged({node: node_run(node, "cat", file) for node in self.nodes})

    # --- what came of it

    def remove(self, task: str) -> None:
        """Delete a Task, and wait until it and its Pods are gone; a minute later they have to be."""
        self.delete_task(task)
        gone = lambda: not self.task(task) and not self.pods(task)  # noqa: E731
        try:
            self.until(f"Task {task} to be gone", gone, 60)
        except TimeoutError:
            return  # the history says so

    def history(self, task: str) -> History:
        """Return everything that was seen of the Tasks of a name."""
        tasks = [c for c in self.recorder.changes("tasks") if c["object"]["metadata"]["name"] == task]
        labelled = {
            c["object"]["metadata"]["uid"]
            for c in self.recorder.changes("pods")
            if c["object"]["metadata"].get("labels", {}).get("taskname") == task
        }
        pods = [c for c in self.recorder.changes("pods") if c["object"]["metadata"]["uid"] in labelled]
        lines = witness.of_task(self.lines(), task)
        return History(lines, tasks, pods, self.proxy.healed, {task: self.runs(task)})

    def runs(self, task: str) -> int:
        """Return how many runs of the playbook a Task has had."""
        key = f"Task {self.namespace}/{task}"
        return sum(
            any(one.get("resource") == key for one in [line, *line.get("resources", [])])
            for operator in self._operators
            for line in operator.logged("run started")
        )

    def found(self, task: str) -> list[str]:
        """Return everything that is wrong with the Tasks of a name, which were removed."""
        problems = [self.recorder.problem] if self.recorder.problem else []
        return [*problems, *violations(self.history(task)), *self._told_secrets(), *self._descriptors_kept()]

    def _told_secrets(self) -> list[str]:
        events = self.api.request("GET", f"{self._core}/events")
        tasks = [change["object"] for change in self.recorder.changes("tasks")]
        pods = [change["object"] for change in self.recorder.changes("pods")]
        # The operator's own kubeconfig is above the folders that are looked at.
        files = [*self.folder.glob("*.log"), *(self.folder / "runner").rglob("*"), *self.temporary.rglob("*")]
        texts = {str(path.relative_to(path.anchor)): _text(path) for path in files if path.is_file()}
        objects = {"Events": json.dumps(events), "Tasks": json.dumps(tasks), "Pods": json.dumps(pods)}
        return told_secrets(self.secrets, {**objects, **texts})

    def _descriptors_kept(self) -> list[str]:
        """Return a problem if an operator holds more and more descriptors, with all of its processes."""
        process = self.operator.process
        if process.poll() is not None:
            return []
        held = processes.usage(process.pid).descriptors
        first = self._descriptors.setdefault(process.pid, held)
        return [f"the operator holds {held} descriptors, at first {first}"] if held > first + MORE_DESCRIPTORS else []

    def told(self, task: str) -> str:
        """Return what helps to understand a case."""
        parts = {
            "writes": self.proxy.writes,
            "witness": list(_without_repeats(witness.of_task(self.lines(), task))),
            "Task": list(_versions(self.history(task).tasks)),
            "log": [line[:SHOWN] for line in self.operator.tail(15).splitlines()],
        }
        return "\n".join(f"--- {name}\n" + "\n".join(map(str, lines)) for name, lines in parts.items())

    def end(self) -> list[str]:
        """End everything, and return what was left that should not be."""
        self.is_away = True
        problems = self._directories_kept()
        if self.operator.process.poll() is None:
            code = self.operator.stop()
            problems += [f"the operator ended with exit code {code}"] if code else []
        problems += self._left()
        for pid in processes.with_variable("HOME", self.home):
            processes.kill(pid)
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.proxy.close()
        self._delete(f"api/v1/namespaces/{self.namespace}", {})
        for node in self.nodes:
            node_run(node, "rm", "-rf", witness.folder_of(self.namespace))
        return problems

    def _directories_kept(self) -> list[str]:
        """Return which directories of Tasks that are gone the operator still has, a moment later."""
        kept = self.folder / "runner" / "api.practice.com" / "v1alpha1" / "Task" / self.namespace
        deadline = time.monotonic() + 20
        while (names := self._names_in(kept)) and self.operator.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        return [f"directories of Tasks that are gone are left: {names}"] if names else []

    def _names_in(self, folder: Path) -> list[str]:
        return sorted({path.name for path in folder.glob("*")} - set(self.recorder.now("tasks")))

    def _left(self) -> Iterator[str]:
        deadline = time.monotonic() + 20
        while (left := processes.with_variable("HOME", self.home)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            yield f"processes of the operator are left: {left}"
        files = [*self.temporary.rglob("*"), *self.home.rglob(".ansible/tmp/*"), *(self.folder / "runner").rglob("tmp")]
        if files:
            yield f"files of the operator are left: {[str(file) for file in files[:10]]}"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it went meanwhile
        return ""


def _without_repeats(lines: Iterable[witness.Line]) -> Iterator[witness.Line]:
    """Yield lines, and of those that say the same again and again the last."""
    for _, same in itertools.groupby(lines, key=lambda line: (line.pod, line.step, line.event)):
        *_, last = same
        yield last


def _versions(changes: Iterable[Object]) -> Iterator[str]:
    """Yield what a Task's versions came to, each in a line."""
    for change in changes:
        status = change["object"].get("status", {})
        steps = ",".join(step["state"] for step in status.get("steps") or [])
        words = (change["type"], status.get("status"), status.get("podName"), status.get("order"), steps)
        yield f"{change['at']:.2f} " + " ".join(map(str, words))
