"""What a kubelet would report of a Task's Pod whose steps all succeed, one report after the other.

Knows neither a clock nor an API server: whoever uses it has both.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
_INITS_RUN, _ALL_RUN = -2, -1  # what is reported before so many steps have ended


@dataclass(frozen=True)
class Pace:
    """Seconds from one report to the next: while the Pod starts, and for each step."""

    start: float
    step: float


class PodLife:
    """One Pod from its being bound to its success."""

    def __init__(self, pod: Object, pace: Pace) -> None:
        self.path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
        self._name = pod["metadata"]["name"]
        self._inits = [container["name"] for container in pod["spec"].get("initContainers") or []]
        self._steps = [container["name"] for container in pod["spec"]["containers"]]
        self._pace = pace
        self._next = _INITS_RUN
        self._bound_at = self._running_at = datetime.datetime.min
        self._ends: list[datetime.datetime] = []

    @property
    def has_begun(self) -> bool:
        """Whether anything was reported."""
        return self._next > _INITS_RUN

    @property
    def is_over(self) -> bool:
        """Whether the last report was made."""
        return self._next > len(self._steps)

    @property
    def pause(self) -> float:
        """Seconds until the next report is due."""
        return self._pace.step if self._next > 0 else self._pace.start

    def binding(self, node: str) -> Object:
        """Return what binds the Pod to a node."""
        return {"metadata": {"name": self._name}, "target": {"kind": "Node", "name": node}}

    def report(self, now: datetime.datetime) -> Object:
        """Return the Pod's status as it is next. Not to be called once it is over."""
        stage = self._next
        self._next = 1 if stage == _ALL_RUN else stage + 1
        if stage == _INITS_RUN:
            self._bound_at = now
        elif stage == _ALL_RUN:
            self._running_at = now
        else:
            self._ends.append(now)
        return self._status()

    def _status(self) -> Object:
        started = self._next > 0
        succeeded = started and len(self._ends) == len(self._steps)
        phase = "Succeeded" if succeeded else "Running" if started else "Pending"
        init = {"running": {"startedAt": _second(self._bound_at)}}
        if started:
            init = _terminated(self._bound_at, self._running_at)
        return {
            "phase": phase,
            "hostIP": "192.0.2.1",
            "startTime": _second(self._bound_at),
            "conditions": [
                {"type": "PodScheduled", "status": "True"},
                {"type": "Initialized", "status": str(started)},
                {"type": "Ready", "status": str(phase == "Running" and not self._ends)},
            ],
            "initContainerStatuses": [_container(name, init) for name in self._inits],
            # The kubelet sorts them.
            "containerStatuses": [_container(name, self._state(name)) for name in sorted(self._steps)],
        }

    def _state(self, name: str) -> Object:
        number = self._steps.index(name)
        if number < len(self._ends):
            begin, end = [self._running_at, *self._ends][number : number + 2]
            state = _terminated(self._running_at, end)
            state["terminated"]["message"] = _agent_report(begin, end)
            return state
        if self._next > 0:
            return {"running": {"startedAt": _second(self._running_at)}}
        return {"waiting": {"reason": "PodInitializing"}}


def _container(name: str, state: Object) -> Object:
    common = {"image": "simulated", "imageID": "", "restartCount": 0}
    return {"name": name, "state": state, "ready": "running" in state, **common}


def _terminated(begin: datetime.datetime, end: datetime.datetime) -> Object:
    times = {"startedAt": _second(begin), "finishedAt": _second(end)}
    return {"terminated": {"exitCode": 0, "reason": "Completed", **times}}


def _agent_report(begin: datetime.datetime, end: datetime.datetime) -> str:
    """Return what a step's agent leaves as its container's termination message."""
    times = {"startedAt": _millisecond(begin), "finishedAt": _millisecond(end)}
    return json.dumps({"state": "Succeeded", "exitCode": 0, **times}, separators=(",", ":"))


def _second(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _millisecond(moment: datetime.datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"
