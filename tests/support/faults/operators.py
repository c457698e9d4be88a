"""The operator of one world: the real controller on this host, killed and started again as often as it takes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from support.controller import processes
from support.controller.controller_harness import Controller
from support.faults.schedule import DELAY_SECONDS
from support.kubectl import ROOT

# What a controller may hold more of after a case than after its first: caches of connections, above all.
MORE_DESCRIPTORS = 24
# How long what it leaves may take to go.
GOING_SECONDS = 20.0


class Operators:
    """One operator at a time; each takes over the directory of the one before it.

    Args:
        folder: an empty folder for its files, in which it finds its ``kubeconfig``.
        namespace: what it watches.
        environment: more variables.
    """

    def __init__(self, folder: Path, namespace: str, environment: Mapping[str, str]) -> None:
        self._folder, self._namespace = folder, namespace
        # A short path, since Unix sockets may be made in it. Both start empty, and what stays there is rubbish.
        self._home, self._temporary = folder / "home", Path(tempfile.mkdtemp(prefix="faults-"))
        self._home.mkdir()
        settings = folder / "ansible.cfg"
        settings.touch()
        self._environment = {
            **environment,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "ANSIBLE_CONFIG": str(settings),
            "HOME": str(self._home),
            "TMPDIR": str(self._temporary),
        }
        self._started: list[Controller] = []
        self._descriptors: dict[int, int] = {}
        self.is_away = False
        self.tend()

    @property
    def present(self) -> Controller:
        """The one that was started last."""
        return self._started[-1]

    @property
    def is_alive(self) -> bool:
        """Whether one runs."""
        return bool(self._started) and self.present.process.poll() is None

    def tend(self) -> None:
        """Start one if none runs, unless it is to stay away."""
        if self.is_away or self.is_alive:
            return
        flags = ("--watches-file", str(ROOT / "watches.yaml"), "--runner-dir", str(self._folder / "runner"))
        more = ("--user-metrics-bind-address", "0", "--log-level", "debug")
        name, kubeconfig = f"operator{len(self._started)}", self._folder / "kubeconfig"
        started = Controller(self._folder, name, self._namespace, (*flags, *more), kubeconfig, **self._environment)
        self._started.append(started)

    def kill(self) -> None:
        """Kill it, as the kernel would."""
        self.present.process.kill()

    def stay_away(self) -> None:
        """Kill it, and start none any more."""
        self.is_away = True
        self.kill()
        self.present.process.wait(10)

    def runs(self, task: str) -> int:
        """Return how many runs of the playbook a Task has had."""
        key = f"Task {self._namespace}/{task}"
        return sum(
            any(one.get("resource") == key for one in [line, *line.get("resources", [])])
            for operator in self._started
            for line in operator.logged("run started")
        )

    def files(self) -> Iterator[Path]:
        """Yield its logs and whatever its runs have left, but for its own kubeconfig."""
        yield from self._folder.glob("*.log")
        yield from (self._folder / "runner").rglob("*")
        yield from self._temporary.rglob("*")

    def descriptors_kept(self) -> Iterator[str]:
        """Yield a problem if it holds more and more descriptors, with all of its processes, from its first run on.

        A run that waits for the answer to a write that is delayed holds some of its own.
        """
        if not self.is_alive or not self.present.logged("run succeeded"):
            return
        pid, deadline = self.present.process.pid, time.monotonic() + DELAY_SECONDS + GOING_SECONDS
        first = self._descriptors.setdefault(pid, processes.usage(pid).descriptors)
        while (held := processes.usage(pid).descriptors) > first + MORE_DESCRIPTORS and self.is_alive:
            if time.monotonic() > deadline:
                yield f"the operator holds {held} descriptors, at first {first}"
                return
            time.sleep(0.5)

    def directories_kept(self, tasks: Set[str]) -> Iterator[str]:
        """Yield a problem if it keeps directories of other Tasks than these, which are there."""
        folder = self._folder / "runner" / "api.practice.com" / "v1alpha1" / "Task" / self._namespace
        deadline = time.monotonic() + GOING_SECONDS
        while (names := {path.name for path in folder.glob("*")} - tasks) and self.is_alive:
            if time.monotonic() > deadline:
                yield f"directories of Tasks that are gone are left: {sorted(names)}"
                return
            time.sleep(0.2)

    def end(self) -> list[str]:
        """End it as a Pod's end does, and return what was left that should not be."""
        self.is_away = True
        problems = []
        if self.is_alive:
            code = self.present.stop()
            problems += [f"the operator ended with exit code {code}"] if code else []
        problems += self._left()
        for pid in processes.with_variable("HOME", self._home):
            processes.kill(pid)
        shutil.rmtree(self._temporary, ignore_errors=True)
        return problems

    def _left(self) -> Iterator[str]:
        deadline = time.monotonic() + GOING_SECONDS
        while (left := processes.with_variable("HOME", self._home)) and time.monotonic() < deadline:
            time.sleep(0.2)
        if left:
            yield f"processes of the operator are left: {left}"
        rubbish = [*self._temporary.rglob("*"), *self._home.rglob(".ansible/tmp/*")]
        if files := [*rubbish, *(self._folder / "runner").rglob("tmp")]:
            yield f"files of the operator are left: {[str(file) for file in files[:10]]}"
