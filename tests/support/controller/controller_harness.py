"""What the tests of the controller work with: a CRD of their own, and the controller as a real subprocess."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
GROUP, VERSION = "ctl-try.example.com", "v1"

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Note the begin
      ansible.builtin.shell: 'echo "begin $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}"'
    - name: Keep the extra vars
      ansible.builtin.copy:
        dest: "{{ log }}/{{ ansible_operator_meta.name }}.json"
        content: "{{ {'meta': ansible_operator_meta, 'object': vars[object_var], 'spec': vars[object_var ~ '_spec'],
                      'step_count': step_count | default(none)} | to_json }}"
    - name: Take some time
      ansible.builtin.command: "sleep {{ sleep_seconds | default(0) }}"
    - name: Fail until repaired
      ansible.builtin.stat: {path: "{{ log }}/repaired"}
      register: repaired
      failed_when: (needs_repair | default(false)) and not repaired.stat.exists
    - name: Note the end
      ansible.builtin.shell: 'echo "end $(date +%s.%N)" >> "{{ log }}/{{ ansible_operator_meta.name }}"'
"""


def until(condition: Callable[[], Any], timeout: float = 40.0, what: str = "the condition") -> Any:
    """Wait for a true value and return it; fail the test after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout:g} s"
        time.sleep(0.1)
    return value


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def series_name(name: str, labels: dict[str, str]) -> str:
    """A series as PromQL names it, its labels sorted."""
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "}"


class Crd:
    """A CRD of the test's own, so that tests can install and remove it as they like."""

    def __init__(self, api: client.ApiClient) -> None:
        unique = uuid.uuid4().hex[:6]
        self.kind, self.plural = f"Widget{unique}", f"widget{unique}s"
        self.name = f"{self.plural}.{GROUP}"
        self._api = client.ApiextensionsV1Api(api)
        self._objects = client.CustomObjectsApi(api)

    def install(self, scope: str = "Namespaced", *, status_resource: bool = True) -> None:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        spec = {
            "group": GROUP,
            "scope": scope,
            "names": {"kind": self.kind, "plural": self.plural},
            "versions": [{**version, "subresources": {"status": {}} if status_resource else {}}],
        }
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        self._api.create_custom_resource_definition({**body, "metadata": {"name": self.name}, "spec": spec})
        until(self._established, what="the CRD's being established")

    def remove(self) -> None:
        try:
            self._api.delete_custom_resource_definition(self.name)
        except ApiException as exc:
            if exc.status != 404:
                raise

    def create(self, namespace: str, name: str = "w", **spec: Any) -> dict[str, Any]:
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": self.kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        return self._objects.create_namespaced_custom_object(GROUP, VERSION, namespace, self.plural, body)

    def patch(self, namespace: str, name: str = "w", **spec: Any) -> None:
        self._patch(namespace, name, {"spec": spec})

    def patch_metadata(self, namespace: str, name: str = "w", **metadata: Any) -> None:
        self._patch(namespace, name, {"metadata": metadata})

    def get(self, namespace: str, name: str = "w") -> dict[str, Any] | None:
        """The object as it is now, None if there is none."""
        try:
            return self._objects.get_namespaced_custom_object(GROUP, VERSION, namespace, self.plural, name)
        except ApiException as exc:
            if exc.status != 404:
                raise
            return None

    def list(self, namespace: str) -> list[dict[str, Any]]:
        return self._objects.list_namespaced_custom_object(GROUP, VERSION, namespace, self.plural)["items"]

    def conditions(self, namespace: str, name: str = "w") -> dict[str, dict[str, Any]]:
        """The object's conditions by their type."""
        status = (self.get(namespace, name) or {}).get("status") or {}
        return {condition["type"]: condition for condition in status.get("conditions") or []}

    def patch_status(self, namespace: str, name: str = "w", **status: Any) -> None:
        body = {"status": status}
        self._objects.patch_namespaced_custom_object_status(
            GROUP, VERSION, namespace, self.plural, name, body, _content_type="application/merge-patch+json"
        )

    def delete(self, namespace: str, name: str = "w") -> None:
        self._objects.delete_namespaced_custom_object(GROUP, VERSION, namespace, self.plural, name)

    def _patch(self, namespace: str, name: str, body: dict[str, Any]) -> None:
        self._objects.patch_namespaced_custom_object(
            GROUP, VERSION, namespace, self.plural, name, body, _content_type="application/merge-patch+json"
        )

    def _established(self) -> bool:
        try:
            self._objects.list_cluster_custom_object(GROUP, VERSION, self.plural)
        except ApiException:
            return False
        return True


class Controller:
    """A ``taskflow-controller run`` in a subprocess, with its log and what its playbook noted."""

    def __init__(
        self,
        project: Path,
        name: str,
        namespace: str,
        arguments: tuple[str, ...],
        kubeconfig: str | Path = "",
        **variables: str,
    ) -> None:
        self.project, self.runner_dir = project, project / name
        self.noted = project / "noted"
        self._log = project / f"{name}.log"
        self.port, self.metrics_port = free_port(), free_port()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "WATCH_NAMESPACE": namespace, **variables}
        command = [
            sys.executable,
            "-B",
            "-m",
            "taskflow_controller",
            "run",
            "--kubeconfig",
            str(kubeconfig) or os.environ["KUBECONFIG"],
        ]
        command += [
            "--runner-dir",
            str(self.runner_dir),
            "--health-probe-bind-address",
            f"127.0.0.1:{self.port}",
            "--metrics-bind-address",
            f"127.0.0.1:{self.metrics_port}",
        ]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def logged(self, message: str) -> list[dict[str, Any]]:
        """The log lines with this message; every line has to be JSON."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if line["msg"].startswith(message)]

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def probe(self, path: str) -> int:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5).status
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0

    def metrics(self) -> dict[str, float]:
        """Every series with its value, as Prometheus would read them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return {
            series_name(sample.name, sample.labels): sample.value for family in families for sample in family.samples
        }

    def ready(self) -> "Controller":
        until(lambda: self.probe("/readyz") == 200 or self.process.poll() is not None, what="readiness")
        assert self.process.poll() is None, self._log.read_text()
        return self

    def times(self, name: str = "w") -> list[tuple[str, float]]:
        """What the playbook noted for a resource: (begin or end, time)."""
        file = self.noted / name
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line.split()[0], float(line.split()[1])) for line in lines]

    def ended(self, count: int, name: str = "w") -> None:
        """Wait for so many runs of a resource to have ended."""
        ends = [moment for moment in self.times(name) if moment[0] == "end"]
        until(
            lambda: len([m for m in self.times(name) if m[0] == "end"]) >= count,
            what=f"{count} runs, not {ends}",
        )

    def stop(self, signal_number: int = signal.SIGTERM, timeout: float = 45.0) -> int:
        self.process.send_signal(signal_number)
        return self.process.wait(timeout)
