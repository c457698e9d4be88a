"""What was seen of Tasks while things went wrong around them, by Task and by Pod. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from support.faults.witness import BEGIN, Line
from support.kubectl import Object

# Of a watch: its type, its object, and when it came, as "at".
Change = dict[str, Any]

GENERATION = "api.practice.com/generation"


@dataclasses.dataclass(frozen=True)
class History:
    """What was seen of some Tasks.

    Attributes:
        lines: what the steps said, in order.
        tasks: every version of the Tasks that the API server had.
        pods: every version of their Pods.
        healed: when the last fault was over, in the time of the changes.
        runs: how many runs of the playbook each Task had, by its name.
    """

    lines: Sequence[Line] = ()
    tasks: Sequence[Change] = ()
    pods: Sequence[Change] = ()
    healed: float = 0.0
    runs: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PodStory:
    """One Pod: its versions and what its steps said."""

    uid: str
    changes: Sequence[Change]
    lines: Sequence[Line]
    steps: Sequence[Object]
    spec: Object

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.changes[0]["object"]["metadata"]["name"])

    @property
    def generation(self) -> str:
        """The generation of the Task's spec that it was made for."""
        return str(self.changes[0]["object"]["metadata"]["annotations"].get(GENERATION))

    def begins(self, step: str) -> int:
        """How often a step began."""
        return sum(line.step == step and line.event == BEGIN for line in self.lines)

    def last_end(self, step: str) -> int | None:
        """The exit code of a step whose last word is its end; None while it is not."""
        words = [line for line in self.lines if line.step == step]
        return words[-1].code if words else None

    def has_passed(self, step: Object) -> bool:
        """Tell whether the steps after this one may run."""
        continues = step.get("onError") == "continue" and self.begins(step["name"]) > 0
        return continues or self.last_end(step["name"]) == 0

    @property
    def has_succeeded(self) -> bool:
        """Tell whether all of its steps passed, as they themselves said."""
        return all(map(self.has_passed, self.steps))


@dataclasses.dataclass(frozen=True)
class TaskStory:
    """One Task, of one UID: its versions and its Pods, in the order of their creation."""

    uid: str
    changes: Sequence[Change]
    pods: Sequence[PodStory]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.changes[0]["object"]["metadata"]["name"])

    @property
    def last(self) -> Object:
        """Its last version."""
        last: Object = self.changes[-1]["object"]
        return last

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted."""
        return bool(self.changes[-1]["type"] == "DELETED")

    def pod(self, name: str | None) -> PodStory | None:
        """Return its last Pod of a name."""
        return next((pod for pod in reversed(self.pods) if pod.name == name), None)


def stories(history: History) -> list[TaskStory]:
    """Return the story of each Task."""
    tasks = _by_uid(history.tasks)
    pods = _by_uid(history.pods)
    return [
        TaskStory(
            uid,
            changes,
            [_pod_story(one, pods[one], changes, history.lines) for one in pods if _owner(pods[one][0]) == uid],
        )
        for uid, changes in tasks.items()
    ]


def _pod_story(uid: str, changes: Sequence[Change], task: Sequence[Change], lines: Sequence[Line]) -> PodStory:
    """Return the story of a Pod, with the spec that the Task had when the Pod was made for it."""
    generation = changes[0]["object"]["metadata"]["annotations"].get(GENERATION)
    versions = [change["object"] for change in task]
    same = [one for one in versions if str(one["metadata"].get("generation")) == generation]
    spec = (same or versions)[-1]["spec"]
    return PodStory(uid, changes, [line for line in lines if line.pod == uid], spec["steps"], spec)


def _by_uid(changes: Iterable[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change["object"]["metadata"]["uid"], []).append(change)
    return found


def _owner(change: Change) -> str | None:
    owners = change["object"]["metadata"].get("ownerReferences") or []
    return next((owner["uid"] for owner in owners if owner.get("kind") == "Task"), None)
