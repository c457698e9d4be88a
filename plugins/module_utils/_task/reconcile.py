# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Do what was decided for a Task: its Pod, its order, its status, or all three with one reading."""

from __future__ import annotations

import dataclasses

from .. import _contract as c
from .._contract import Object
from .._errors import ALREADY_EXISTS, ORDER_CONFLICT, Postponed, TaskError, describe
from .._image.batch import Images
from .._kube import event
from .._kube.client import timestamp
from .._kube.shapes import Pod, Task, TaskStatus
from .._pod.identity import Attempt
from .._pod.life import written_order
from .._pod.pod import build_pod, images_to_look_up
from .._pod.spec import resolve
from .api import TaskApi
from .attempts import Plan, plan_pods
from .batch import Found
from .conditions import condition_of
from .events import compute_events
from .observed import observe
from .order import orders_to_come, orders_to_write, put_back
from .record import claim_room, write_status
from .status import compute_status, next_look


@dataclasses.dataclass(frozen=True)
class Reconciler:
    """What it takes to do something for a Task.

    Each method takes a Task as it was found, writes only a difference, and returns a module's result.

    Args:
        api: asks the API server.
        check_mode: True to change nothing.
        agent_image: the image that holds the agent.
        images: tells what images run by themselves; only Pods need it.
    """

    api: TaskApi
    check_mode: bool
    agent_image: str = c.DEFAULT_AGENT_IMAGE
    images: Images | None = None

    def reconcile(self, found: Found) -> Object:
        """Have the Pod, then set its order, then record the status; a Task that can't have its Pod records why.

        A step sees what the ones before it have written. What anybody else finds out about the Pods in the meantime
        is for the next time: each of their changes brings one.
        """
        try:
            made = self.have_pod(found)
        except Postponed:
            raise
        except TaskError as error:
            if error.reason == ORDER_CONFLICT:
                raise
            recorded = self.record_status(found, error)
            diff = [recorded["diff"]] if recorded["changed"] else []
            summary = {**_summary("failed", recorded), "message": error.message}
            return {**summary, "changed": recorded["changed"], "deleted": [], "diff": diff}
        except Exception as error:
            self.record_status(found, TaskError("Error", describe(error)))
            raise
        if made["action"] in ("absent", "expired"):
            return made
        if made["action"] == "created":
            found.pods.append(made["pod"])
        if found.task and (made["deleted"] or made["action"] == "waiting") and not self.check_mode:
            found.pods = self.api.pods_of([found.task])
        advanced = self.advance_order(found) if made["action"] == "kept" else {"changed": False}
        recorded = self.record_status(found)
        done = [made, advanced, recorded]
        return {
            **_summary(made["action"], recorded),
            "changed": any(result["changed"] for result in done),
            "deleted": made["deleted"],
            "diff": [result["diff"] for result in done if result["changed"]],
        }

    def others_are_done(self) -> None:
        """Note that all has been done for those Tasks that need no more than the API server."""
        if self.images:
            self.images.others_are_done()

    def have_pod(self, found: Found) -> Object:
        """Carry out the plan for the Task's Pods.

        Raises:
            TaskError: the Task can't have its Pod.
        """
        task = found.task
        if task is None:
            return {"changed": False, "action": "absent", "deleted": []}
        seen = observe(task, found.pods, timestamp())
        if seen.is_expired:
            if not self.check_mode:
                self.api.delete_task(task)
            return {"changed": True, "action": "expired", "deleted": []}
        plan = plan_pods(seen)
        if plan.attempt and not seen.recorded and not self.check_mode:
            task = found.task = claim_room(self.api, task, compute_status(seen, None))
        if not self.check_mode:
            for pod in plan.delete:
                self.api.delete_pod(pod)
            if plan.end:
                ended = self.api.end_pod(plan.end, plan.fault)
                found.pods[found.pods.index(plan.end)] = ended
                plan = dataclasses.replace(plan, current=ended)
        return _result_of(plan, self._create_pod(task, plan, plan.attempt) if plan.attempt else None)

    def _create_pod(self, task: Task, plan: Plan, attempt: Attempt) -> Pod | None:
        """Build and create the Pod of one attempt, and say so in an Event; None when it is there already."""
        resolved = resolve(task)
        native = bool(resolved.sidecars) and self.api.has_native_sidecars()
        configs = {}
        if self.images:
            images, namespace = images_to_look_up(resolved, native), task["metadata"]["namespace"]
            configs = self.images.configs(namespace, resolved.account, resolved.pull_secrets, images)
        try:
            pod = self.api.create_pod(
                build_pod(task, resolved, self.agent_image, configs, attempt=attempt, native_sidecars=native),
                dry_run=self.check_mode,
            )
        except TaskError as error:
            if error.reason == ALREADY_EXISTS:
                return None
            raise
        if not self.check_mode:
            again = f" (attempt {attempt.number}, {plan.why})" if plan.why else ""
            self.api.emit(task, event.created(f"Pod {_name_of(pod)}{again}"))
        return pod

    def advance_order(self, found: Found) -> Object:
        """Set the order annotation to what the steps' states call for."""
        task = found.task
        if task is None:
            return {"changed": False}
        seen = observe(task, found.pods, timestamp())
        if seen.current is None:
            return {"changed": False}
        current, pod = seen.current, seen.current.pod
        orders = orders_to_come(current, seen.shall_stop)
        after, writes = orders[-1] if orders else current.order, orders_to_write(orders, current)
        if not self.check_mode:
            place = found.pods.index(pod)
            for order in writes:
                pod = self.api.set_order(pod, order, order == c.ORDER_QUIT and seen.is_cancelled)
                found.pods[place] = pod
            if not current.is_order_written:
                self.api.emit(task, put_back(current, writes[0]))
        before = written_order(current.pod)
        return {
            "changed": bool(writes),
            "order": after,
            "pod_name": _name_of(pod),
            "diff": {"before": {c.ORDER_ANNOTATION: before}, "after": {c.ORDER_ANNOTATION: str(after)}},
        }

    def record_status(self, found: Found, problem: TaskError | None = None) -> Object:
        """Write the Task's status and the Events of what changed in it.

        Args:
            found: the Task.
            problem: what keeps it from having its Pod.
        """
        task = found.task
        if task is None:
            return {"changed": False}
        seen = observe(task, found.pods, timestamp())
        before: TaskStatus = task.get("status") or {}
        after = compute_status(seen, problem)
        again = next_look(seen, after, problem)
        if after != before and not self.check_mode:
            recorded = write_status(self.api, task, before, after)
            for change in compute_events(before, recorded or before):
                self.api.emit(task, change)
            if recorded is None:
                return {"changed": False, "status": after}
            after = recorded
        return {
            "changed": after != before,
            "status": after,
            "diff": {"before": before, "after": after},
            **({"requeue_after": again} if again else {}),
        }


def _result_of(plan: Plan, created: Pod | None) -> Object:
    """Return the result of a plan for the Task's Pods that was carried out."""
    deleted = [_name_of(pod) for pod in plan.delete]
    before = [*([_name_of(plan.current)] if plan.current else []), *deleted]
    pod = created or plan.current
    ended = {"ended": _name_of(plan.end)} if plan.end else {}
    after = {"pods": [_name_of(pod)] if pod else [], **ended}
    return {
        "changed": bool(deleted or created or plan.end),
        "action": "waiting" if plan.action == "created" and created is None else plan.action,
        "deleted": deleted,
        "diff": {"before": {"pods": before}, "after": created or after},
        **({"pod": pod} if pod else {}),
        **ended,
    }


def _summary(action: str, recorded: Object) -> Object:
    """Return what a whole reconcile came to, in a few words, since there may be many."""
    status = recorded["status"]
    words = {
        "state": status["status"],
        "reason": condition_of(status)["reason"],
        "pod_name": status.get("podName"),
        "order": status.get("order"),
        "requeue_after": recorded.get("requeue_after"),
    }
    return {"action": action, **{key: word for key, word in words.items() if word is not None}}


def _name_of(pod: Pod) -> str:
    return pod["metadata"]["name"]
