# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Serve many Tasks in one go: read them and their Pods with few requests, and let none fail another."""

from __future__ import annotations

import dataclasses
import typing as t

from .._contract import Object
from .._errors import CONFLICTS, UNREACHABLE, Postponed, TaskError
from .._kube.owner import is_owned_by
from .._kube.shapes import Pod, Task, TaskStatus
from .._pod.adoption import is_recorded
from .api import TaskApi

T = t.TypeVar("T")
P = t.ParamSpec("P")

# Of how many Tasks the Pods are listed with one request; their names stand in its URL.
PODS_LISTED = 50


@dataclasses.dataclass
class Found:
    """A Task, None where there is none, and every Pod that it owns.

    As they were read; whoever changes a Pod puts in what the API server made of it.

    Attributes:
        made: the UIDs of the Pods that have turned out to be the operator's; None as long as nobody has asked.
        foreign: the UIDs of those that have turned out not to be, though they have the name of one.
    """

    task: Task | None
    pods: list[Pod]
    made: set[str] | None = None
    foreign: set[str] = dataclasses.field(default_factory=set)


class Target(t.NamedTuple):
    """Which Task, and what the module was told of it beside that."""

    namespace: str
    name: str
    problem: TaskError | None = None


Serve = t.Callable[[Found, Target], Object]


def serve_all(
    api: TaskApi, targets: t.Sequence[Target], serve: Serve, others_are_done: t.Callable[[], None]
) -> list[Object | Exception]:
    """Serve each Task, and return in their order what came of it: a result, or what went wrong.

    A Task that somebody has changed since, or whose time is after the others, is read and tried once more.
    Once the API server has not answered for one, it is not asked for those after it: each of them would wait.

    Args:
        api: reads them.
        targets: the Tasks.
        serve: does for one of them what is to be done.
        others_are_done: is called before the Tasks whose time is after the others.
    """
    outcomes = _serve_each(api, targets, serve)
    again = [number for number, outcome in enumerate(outcomes) if _is_tried_again(outcome)]
    if again:
        others_are_done()
        retried = _serve_each(api, [targets[number] for number in again], serve)
        for number, outcome in zip(again, retried, strict=True):
            outcomes[number] = outcome
    return outcomes


def _is_tried_again(outcome: Object | Exception) -> bool:
    if isinstance(outcome, Postponed):
        return not outcome.alone
    return isinstance(outcome, TaskError) and outcome.reason in CONFLICTS


def _serve_each(api: TaskApi, targets: t.Sequence[Target], serve: Serve) -> list[Object | Exception]:
    attempt = _Attempts()
    found = _read(api, targets, attempt)
    return [
        one if isinstance(one, Exception) else attempt(serve, one, target)
        for one, target in zip(found, targets, strict=True)
    ]


def _read(api: TaskApi, targets: t.Sequence[Target], attempt: _Attempts) -> list[Found | Exception]:
    """Return each Task with its Pods. The Tasks are read first: one that is not there has no Pods to list."""
    tasks = [attempt(api.get_task, target.namespace, target.name) for target in targets]
    there = [task for task in tasks if task is not None and not isinstance(task, Exception)]
    pods = _pods_by_uid(api, there, attempt)
    return [task if isinstance(task, Exception) else _found(api, task, pods, attempt) for task in tasks]


def _found(
    api: TaskApi, task: Task | None, pods_by_uid: t.Mapping[str, list[Pod] | Exception], attempt: _Attempts
) -> Found | Exception:
    if task is None:
        return Found(None, [])
    pods = pods_by_uid[task["metadata"]["uid"]]
    if isinstance(pods, Exception):
        return pods
    missed = attempt(_missed_pods, api, task, pods)
    return missed if isinstance(missed, Exception) else Found(task, [*pods, *missed])


def _missed_pods(api: TaskApi, task: Task, pods: t.Sequence[Pod]) -> list[Pod]:
    """Return the Pod that the Task's status speaks of, where the list has not shown it though it is there.

    Somebody may have taken its labels or its owner off. It is read by its name before another takes its place, or,
    after the verdict, because it may still have to end, or to be let go.
    """
    status: TaskStatus = task.get("status") or {}
    if not status.get("podUID") or any(is_recorded(status, pod) for pod in pods):
        return []
    pod = api.get_pod(task["metadata"]["namespace"], status["podName"])
    return [pod] if pod is not None and is_recorded(status, pod) else []


def _pods_by_uid(api: TaskApi, tasks: t.Iterable[Task], attempt: _Attempts) -> dict[str, list[Pod] | Exception]:
    """Return the Pods of each Task by its UID, or else why they can't be listed."""
    by_namespace: dict[str, list[Task]] = {}
    for task in tasks:
        by_namespace.setdefault(task["metadata"]["namespace"], []).append(task)
    pods: dict[str, list[Pod] | Exception] = {}
    for group in by_namespace.values():
        for start in range(0, len(group), PODS_LISTED):
            part = group[start : start + PODS_LISTED]
            listed = attempt(api.pods_of, part)
            for uid in (task["metadata"]["uid"] for task in part):
                own = listed if isinstance(listed, Exception) else [pod for pod in listed if is_owned_by(pod, uid)]
                pods[uid] = own
    return pods


class _Attempts:
    """Calls whose failure is what they return, so that it concerns only whom they were for."""

    def __init__(self) -> None:
        self._unreachable: TaskError | None = None

    def __call__(self, function: t.Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | Exception:
        """Call the function; not any more, once the API server has not answered."""
        if self._unreachable:
            return self._unreachable
        try:
            return function(*args, **kwargs)
        except TaskError as error:
            if error.reason == UNREACHABLE:
                self._unreachable = error
            return error
        except Exception as error:  # a fault of our own, with this one
            return error
