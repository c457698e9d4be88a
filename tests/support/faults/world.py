"""A namespace with an operator of its own: the real controller on this host, behind a proxy that can fail its writes.

The Pods run on the cluster's nodes. The operator that is installed there has to be away meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from support.engine import CommandError
from support.faults import witness
from support.faults.api_server import MERGE, TASKS, ApiServer, RefusedError
from support.faults.fault_proxy import FaultProxy
from support.faults.invariants import HEALED_WITHIN
from support.faults.operators import Operators
from support.faults.recorder import Recorder
from support.kubectl import FINAL, OPERATOR_NAMESPACE, Object
from support.nodes import node_run

ACCOUNT = f"system:serviceaccount:{OPERATOR_NAMESPACE}:taskflow-operator"
PASSED_ON = ("TASKFLOW_AGENT_IMAGE", "TASKFLOW_GIT_IMAGE", "TASKFLOW_REGISTRY_MIRRORS")
# Longer than any delay and the minute after it; only what never comes ends a wait.
WAIT = 180.0
# How much later than it is due a verdict may be seen.
LATE = 15.0


class World:
    """One namespace, its operator, and what is recorded of it.

    Args:
        folder: an empty folder for the operator's files.
        nodes: the nodes that Pods may be on.
    """

    def __init__(self, folder: Path, nodes: Iterable[str]) -> None:
        self.nodes = list(nodes)
        self.namespace = f"faults-{uuid.uuid4().hex[:6]}"
        self.api = ApiServer(os.environ["KUBECONFIG"])
        self.secrets = {"the step's Secret": f"canary-{uuid.uuid4().hex}", "the operator's token": uuid.uuid4().hex}
        self._make_namespace()
        self._make_folders()
        self.recorder = Recorder(self.api, self.namespace)
        # With the rights of the operator that is installed, and no others.
        own = ApiServer(os.environ["KUBECONFIG"], {"Impersonate-User": ACCOUNT})
        self.proxy = FaultProxy(own, self.namespace, self.secrets["the operator's token"], self._kill)
        self.proxy.write_kubeconfig(folder / "kubeconfig")
        self.operators = Operators(folder, self.namespace, self._operators_environment())

    def _kill(self) -> None:
        self.operators.kill()

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
        return {name: installed.get(name, "") for name in PASSED_ON}

    @property
    def _core(self) -> str:
        return f"api/v1/namespaces/{self.namespace}"

    # --- the operator

    def stay_away(self) -> None:
        """Kill the operator, and have it stay away until ``come_back``."""
        self.operators.stay_away()

    def come_back(self) -> None:
        """Start the operator again; from now on nothing is wrong any more."""
        self.operators.is_away = False
        self.heal()
        self.operators.tend()

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
            if self.recorder.problem or time.monotonic() > deadline:
                raise TimeoutError(self.recorder.problem or f"waited {seconds:g} s for {what}")
            self.operators.tend()
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

    # --- the end

    def events(self) -> Object:
        """Return the namespace's Events."""
        return self.api.request("GET", f"{self._core}/events")

    def remove(self, task: str) -> None:
        """Delete a Task, and wait until it and its Pods are gone. After a minute the history says that they are not."""
        self.delete_task(task)
        with contextlib.suppress(TimeoutError):
            self.until(f"Task {task} to be gone", lambda: not self.task(task) and not self.pods(task), 60)

    def end(self) -> list[str]:
        """End everything, and return what was left that should not be."""
        kept = self.operators.directories_kept(set(self.recorder.now("tasks")))
        problems = [*kept, *self.operators.end()]
        self.proxy.close()
        self._delete(f"api/v1/namespaces/{self.namespace}", {})
        for node in self.nodes:
            node_run(node, "rm", "-rf", witness.folder_of(self.namespace))
        return problems
