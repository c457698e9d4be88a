"""One controller on a private control plane, resources that change meanwhile, and whether all came out right."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException

from support.api.control_plane import ControlPlane
from support.api.relay import Relay
from support.controller import processes
from support.controller.controller_harness import GROUP, VERSION, Controller, Crd, until

CONVERGENCE = 150.0  # seconds; generous, for the machine may be busy
ARTIFACTS = 3
CONFLICT = 409

# The lock lasts as long as any process of the run's: what is left of one run is found by the next.
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Note what is reconciled
      ansible.builtin.shell: |
        exec 9>>"{{ log }}/$NAME.lock"
        flock --nonblock 9 || echo "overlap {{ number }}" >>"{{ log }}/$NAME"
        echo "begin {{ number }}" >>"{{ log }}/$NAME"
        for _ in $(seq {{ sleep_seconds | default(0) * 5 }}); do
            test -e "{{ log }}/$NAME.swift" && break
            sleep 0.2
        done
        echo "{{ word | default('end') }} {{ number }}" >>"{{ log }}/$NAME"
      environment: {NAME: "{{ ansible_operator_meta.name }}"}
"""


SHELL = "/bin/sh -c exec 9>>"  # how the command line of the play's shell begins


SETTLED = {"Running": ("True", "Successful"), "Successful": ("True", "Successful"), "Failure": ("False", "")}


def conditions(obj: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """The conditions of a resource: type, status and reason."""
    found = obj.get("status", {}).get("conditions", [])
    return {one["type"]: (one["status"], one.get("reason", "")) for one in found}


class Trial:
    """Resources of one kind in a namespace of their own, and the controllers that reconcile them.

    ``play`` is the playbook, ``watch`` what the watch has besides the usual.
    """

    def __init__(
        self, plane: ControlPlane, crd: Crd, project: Path, *, play: str = PLAY, watch: dict[str, Any] | None = None
    ) -> None:
        self.plane, self.crd, self.project = plane, crd, project
        self.namespace = f"trial-{uuid.uuid4().hex[:6]}"
        client.CoreV1Api(plane.api).create_namespace({"metadata": {"name": self.namespace}})
        self.noted = project / "noted"
        self.noted.mkdir(parents=True)
        self.wanted: dict[str, int] = {}  # each resource that is there, with the number in its spec
        self._number = 0
        self._started: list[tuple[Controller, Relay]] = []
        # A short path, since Unix sockets may be made in it. Both start empty, and what stays there is rubbish.
        self.home, self.temporary = project / "home", Path(tempfile.mkdtemp(prefix="trial-"))
        self.home.mkdir()
        (project / "play.yml").write_text(play)
        entry = {
            "group": GROUP,
            "version": VERSION,
            "kind": crd.kind,
            "playbook": "play.yml",
            "maxRunnerArtifacts": ARTIFACTS,
            "vars": {"log": str(self.noted)},
        }
        (project / "watches.yaml").write_text(json.dumps([{**entry, **(watch or {})}]))

    def start(self, *flags: str, name: str = "") -> Controller:
        """Start a controller behind a relay of its own; ``name`` one that was there before, to use its directory."""
        relay, kubeconfig = self.plane.relay()
        arguments = ("--log-level", "debug", *flags)
        controller = Controller(
            self.project,
            name or f"runner{len(self._started)}",
            self.namespace,
            arguments,
            kubeconfig,
            HOME=str(self.home),
            TMPDIR=str(self.temporary),
        )
        self._started.append((controller, relay))
        return controller

    def relay(self, controller: Controller) -> Relay:
        """The relay of a controller."""
        return next(relay for one, relay in self._started if one is controller)

    def create(self, name: str, **spec: Any) -> None:
        """Make a resource, with a number that no other state of any resource has."""
        self._number += 1
        self.crd.create(self.namespace, name, number=self._number, **spec)
        self.wanted[name] = self._number

    def change(self, name: str, **spec: Any) -> None:
        """Give a resource a new number."""
        self._number += 1
        self.crd.patch(self.namespace, name, number=self._number, **spec)
        self.wanted[name] = self._number

    def delete(self, name: str) -> None:
        """Delete a resource."""
        self.crd.delete(self.namespace, name)
        del self.wanted[name]

    def own(self, name: str, **data: str) -> None:
        """Make, or change, a ConfigMap of a resource's; it is named like the resource."""
        core, owner = client.CoreV1Api(self.plane.api), self.crd.get(self.namespace, name)
        assert owner
        reference = {field: owner[field] for field in ("apiVersion", "kind")}
        reference |= {field: owner["metadata"][field] for field in ("name", "uid")}
        body = {"metadata": {"name": name, "ownerReferences": [{**reference, "controller": True}]}, "data": data}
        try:
            core.create_namespaced_config_map(self.namespace, body)
        except ApiException as exc:
            assert exc.status == CONFLICT
            core.patch_namespaced_config_map(name, self.namespace, body)

    def disown(self, name: str) -> None:
        """Delete the ConfigMap of a resource's."""
        client.CoreV1Api(self.plane.api).delete_namespaced_config_map(name, self.namespace)

    def upheaval(self) -> None:
        """Change, delete, make anew and create what is there, as far as it is there."""
        first, second, third, *_ = sorted(self.wanted)
        self.change(first)
        self.delete(second)
        self.create(second)  # the same name, another object
        self.delete(third)
        self.create(f"n{self._number:03d}")

    def notes(self, name: str) -> list[tuple[str, int]]:
        """What the runs for a resource have noted, in order."""
        file = self.noted / name
        lines = file.read_text().splitlines() if file.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def behind(self, controller: Controller) -> dict[str, str]:
        """What has not converged yet, and how; empty if all has."""
        found = {}
        objects = {obj["metadata"]["name"]: obj for obj in self.crd.list(self.namespace)}
        for name, number in self.wanted.items():
            if self.notes(name)[-1:] != [("end", number)]:
                found[name] = f"wants {number}, has {self.notes(name)[-3:]}"
            elif conditions(objects[name]) != SETTLED:
                found[name] = f"has a status of {conditions(objects[name])}"
        for name in set(objects) - set(self.wanted):
            found[name] = "is deleted, but still there"
        for name in {path.name for path in self.directories(controller)} - set(self.wanted):
            found[name] = "is deleted, but its directory is there"
        return found

    def converges(self, controller: Controller, timeout: float = CONVERGENCE) -> None:
        """Wait until each resource's last run was with its last spec, then look for what must never be."""
        deadline = time.monotonic() + timeout
        while behind := self.behind(controller):
            assert controller.process.poll() is None, f"the controller has ended: {controller.tail()}"
            assert time.monotonic() < deadline, f"not converged in {timeout:g} s: {behind}\n{controller.tail()}"
            time.sleep(0.2)
        self.is_sound(controller)

    def is_sound(self, controller: Controller) -> None:
        """Look for what must never be: two runs of one resource at once, a dead thread, corpses, a bug, disk full."""
        overlaps = [path.name for path in self.noted.iterdir() if "overlap" in path.read_text()]
        assert not overlaps, f"two runs at once of {overlaps}"
        until(lambda: controller.probe("/healthz") == 200, what="health")
        until(lambda: not processes.zombies(controller.process.pid), what="no corpse")
        assert not controller.logged("bug:"), controller.logged("bug:")
        for directory in self.directories(controller):
            kept = list((directory / "artifacts").iterdir())
            assert len(kept) <= ARTIFACTS + 1, f"{directory} keeps {len(kept)} runs"

    def directories(self, controller: Controller) -> list[Path]:
        """The resources' directories that a controller keeps."""
        parent = controller.runner_dir / GROUP / VERSION / self.crd.kind / self.namespace
        return list(parent.iterdir()) if parent.exists() else []

    def under_way(self, name: str, controller: Controller) -> list[int]:
        """Wait for a resource's last spec to be at work; return the processes from the controller to the shell."""
        until(lambda: self.notes(name)[-1:] == [("begin", self.wanted[name])], what=f"a run of {name}")
        shells = processes.with_variable("NAME", name).items()  # the play sets it
        shell = min(pid for pid, command in shells if command.startswith(SHELL))
        return processes.line(controller.process.pid, shell)

    def wake(self, name: str) -> None:
        """Let runs of this resource take no more time, whatever its spec says."""
        (self.noted / f"{name}.swift").touch()

    def stops_cleanly(self, controller: Controller) -> None:
        """End the controller as a Pod's end does; nothing of it or of its runs may be left."""
        assert controller.stop() == 0
        until(lambda: not self.processes(), what=f"the end of {self.processes()}")
        left = [*self.temporary.rglob("*"), *self.home.rglob(".ansible/tmp/*"), *controller.runner_dir.rglob("tmp")]
        assert not left, left

    def processes(self) -> dict[int, str]:
        """All processes that come of this trial: the home directory is its own."""
        return processes.with_variable("HOME", self.home)

    def end(self) -> None:
        """Kill what still runs, the runs too, and remove the temporary files."""
        for controller, _ in self._started:
            if controller.process.poll() is None:
                controller.process.kill()
                controller.process.wait()
        for pid in self.processes():
            processes.kill(pid)
        shutil.rmtree(self.temporary, ignore_errors=True)  # fork servers that end are removing theirs
