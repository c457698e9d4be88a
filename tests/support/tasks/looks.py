"""What is decided of a Task and its Pods by one look at them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._task import attempts as _attempts
from ansible_collections.taskflow.operator.plugins.module_utils._task import order as _order
from ansible_collections.taskflow.operator.plugins.module_utils._task import status as _status
from ansible_collections.taskflow.operator.plugins.module_utils._task.batch import Found
from ansible_collections.taskflow.operator.plugins.module_utils._task.making import PodMaker
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import Observed, ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import observe as _observe
from ansible_collections.taskflow.operator.plugins.module_utils._task.reconcile import Reconciler

Object = dict[str, Any]


def observe(task: Object, pods: Sequence[Object], now: str) -> Observed:
    """Return what there is of a Task; each of the Pods is one that the operator has made."""
    return _observe(task, pods, now, {pod["metadata"].get("uid") for pod in pods})


def found(task: Object, *pods: Object) -> Found:
    """Return a Task as it was found, with Pods that the operator has made."""
    return Found(task, list(pods), {pod["metadata"].get("uid") for pod in pods})


def compute_status(task: Object, pods: Sequence[Object], problem: TaskError | None, now: str) -> Object:
    """Return the Task's new status."""
    return _status.compute_status(observe(task, pods, now), problem)


def next_look(task: Object, pods: Sequence[Object], problem: TaskError | None, now: str) -> int | None:
    """Return after how many seconds a Task is looked at again that has its new status."""
    return _status.next_look(observe(task, pods, now), {"status": "Pending", **task["status"]}, problem)


def plan_pods(task: Object, pods: Sequence[Object], now: str) -> _attempts.Plan:
    """Return what is to be done about the Task's Pods."""
    return _attempts.plan_pods(observe(task, pods, now))


def orders_to_come(task: Object, pod: Object, stop: bool = False) -> list[int]:
    """Return the values that the order takes from here on."""
    return _order.orders_to_come(ObservedPod(task, pod), stop)


def step_statuses(task: Object, pod: Object) -> list[Object]:
    """Return the steps of the Task's status."""
    return ObservedPod(task, pod).steps


def states_of(task: Object, pod: Object) -> list[str]:
    """Return their states."""
    return [step["state"] for step in step_statuses(task, pod)]


def make_reconciler(api: Any, check_mode: bool = False, **maker: Any) -> Reconciler:
    """Return what serves Tasks; the rest is for what makes their Pods."""
    return Reconciler(api, check_mode, PodMaker(api, check_mode, **maker))
