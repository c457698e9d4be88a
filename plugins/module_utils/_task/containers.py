# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The containers of a Task's Pod, as the kubelet tells of them. Pure."""

from __future__ import annotations

import dataclasses
import functools

from .. import _contract as c
from .._kube.shapes import ContainerStatus, Pod, Running, Step, StepStatus, Task, Terminated
from .._pod.life import is_ending, is_terminal, is_told_to_end, parse_order, written_order
from .losses import EVICTED, loss_of
from .reports import KILL_CODE, is_from_outside


@dataclasses.dataclass(frozen=True)
class Containers:
    """The containers of a Task's Pod. What follows from them is computed when it is first asked for.

    The kubelet sorts its statuses by the containers' names, so each is looked up by name.

    Attributes:
        task: the Task.
        pod: the Pod, with the containers' statuses.
        recorded: the steps as the Task's status has them of this Pod; none where it speaks of another.
        recorded_order: likewise the order.
    """

    task: Task
    pod: Pod
    recorded: tuple[StepStatus, ...] = ()
    recorded_order: str | None = None

    @property
    def step_count(self) -> int:
        """How many steps the Task has."""
        return len(self.task["spec"]["steps"])

    @functools.cached_property
    def order(self) -> int:
        """The Pod's order; the first one where its annotation has none."""
        order = parse_order(written_order(self.pod), self.step_count)
        return c.ORDER_INITIAL if order is None else order

    @functools.cached_property
    def statuses(self) -> dict[str, ContainerStatus]:
        """The statuses of steps and sidecars by name; a native sidecar is an init container."""
        status = self.pod.get("status") or {}
        both = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
        return {container["name"]: container for container in both}

    @functools.cached_property
    def native(self) -> frozenset[str]:
        """The names of the Pod's init containers; a native sidecar is one."""
        status, spec = self.pod.get("status") or {}, self.pod.get("spec") or {}
        told = {container["name"] for container in status.get("initContainerStatuses") or []}
        return frozenset(told.union(container["name"] for container in spec.get("initContainers") or []))

    @property
    def sidecars(self) -> list[Step]:
        """The Task's sidecars."""
        return self.task["spec"].get("sidecars") or []

    @property
    def probed_sidecars(self) -> list[Step]:
        """The sidecars that the first step awaits until they are ready."""
        return [sidecar for sidecar in self.sidecars if sidecar.get("readinessProbe")]

    @property
    def own(self) -> list[Step]:
        """Steps and sidecars: somebody may have added other containers."""
        return [*self.task["spec"]["steps"], *self.sidecars]

    def status_of(self, name: str) -> ContainerStatus:
        """Return what the kubelet says of a container; its name alone while it says nothing."""
        return self.statuses.get(name) or {"name": name}

    def running(self, name: str) -> Running | None:
        """Return since when a container runs; None where it does not."""
        return (self.status_of(name).get("state") or {}).get("running")

    def terminated(self, name: str) -> Terminated | None:
        """Return how a container has ended; None while it has not."""
        return (self.status_of(name).get("state") or {}).get("terminated")

    def has_started(self, name: str) -> bool:
        """Tell whether a container has ever been started.

        The kubelet starts a native sidecar again, and makes a container again that the runtime has lost.
        """
        if any(step["name"] == name and is_real_end(step) for step in self.recorded):
            return True
        status = self.status_of(name)
        state, last = status.get("state") or {}, status.get("lastState") or {}
        return any(x is not None for x in (state.get("running"), state.get("terminated"), last.get("terminated")))

    def is_from_outside(self, name: str) -> bool:
        """Tell whether something outside has ended a container, and not the command itself.

        A preStop hook may end the command before any signal comes. On a node without memory, the kernel may kill it.
        """
        end = self.terminated(name)
        if end is None:
            return False
        is_killed = self._is_evicted and end.get("exitCode") == KILL_CODE
        return is_killed or is_from_outside(end) or name in self._stopped_by_hooks

    @functools.cached_property
    def _is_evicted(self) -> bool:
        """Whether the kubelet has evicted the Pod for its node's sake."""
        loss = loss_of(self.pod)
        return loss is not None and loss[0] == EVICTED

    @functools.cached_property
    def _stopped_by_hooks(self) -> frozenset[str]:
        """The names of the containers with a preStop hook, in a Pod that is being deleted or was lost."""
        if not is_ending(self.pod) and not loss_of(self.pod):
            return frozenset()
        containers = (self.pod.get("spec") or {}).get("containers") or []
        return frozenset(x["name"] for x in containers if (x.get("lifecycle") or {}).get("preStop"))

    @functools.cached_property
    def steps_started(self) -> bool:
        """Whether the container of every step has started."""
        return all(self.has_started(step["name"]) for step in self.task["spec"]["steps"])

    @functools.cached_property
    def all_started(self) -> bool:
        """Whether the container of every step and every sidecar has started: the first step awaits them all."""
        return self.steps_started and all(self.has_started(sidecar["name"]) for sidecar in self.sidecars)

    @property
    def runs_nothing(self) -> bool:
        """Whether the Pod has yet to start a container while no step's runs.

        Then no step has run: the first one begins when every container has started.
        """
        running = any(self.running(step["name"]) is not None for step in self.task["spec"]["steps"])
        return not running and not self.all_started

    @property
    def is_over(self) -> bool:
        """Whether all of the Task's own containers have ended; a native sidecar is ended by the kubelet afterwards."""
        awaited = [container["name"] for container in self.own if container["name"] not in self.native]
        return all(self.terminated(name) is not None for name in awaited)

    @property
    def holders(self) -> list[str]:
        """The containers of others that keep the Pod alive though all of the Task's own have ended.

        There are none once the Pod is to end. A native sidecar is none: the kubelet ends it.
        """
        pod = self.pod
        if not self.is_over or is_ending(pod) or is_terminal(pod) or is_told_to_end(pod):
            return []
        statuses = (pod.get("status") or {}).get("containerStatuses") or []
        return [s["name"] for s in statuses if (s.get("state") or {}).get("terminated") is None]

    def awaits_order(self, number: int) -> bool:
        """Tell whether a step begins only when the order is its number."""
        by_annotation = self.task["spec"].get("handoff") == c.HANDOFF_ANNOTATION
        # Only the API server knows when a sidecar is ready.
        return by_annotation or (number == 1 and bool(self.probed_sidecars))


def is_real_end(step: StepStatus) -> bool:
    """Tell whether a step's container has ended: one that was never started may count as Cancelled, too."""
    return step["state"] in c.ENDED and "exitCode" in step
