# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Do what was decided for a Task: its Pod, its order, its status, or all three with one reading."""

from __future__ import annotations

import dataclasses
import math

from .. import _contract as c
from .._contract import Object
from .._errors import NAMESPACE_ENDS, ORDER_CONFLICT, Postponed, TaskError, describe
from .._kube.client import timestamp
from .._kube.shapes import Pod, Task, TaskStatus
from .._pod.identity import Attempt
from .._pod.life import attempt_of, has_ended, is_ending, written_order
from .api import TaskApi
from .attempts import Plan, is_removed, plan_pods
from .batch import Found
from .conditions import condition_of
from .custody import name_taken, reclaim, release, tell_of_removal, tell_of_strangers
from .events import compute_events
from .making import PodMaker
from .observed import Observed, observe
from .order import orders_to_come, orders_to_write, put_back
from .record import claim_room, write_status
from .release import next_release
from .status import compute_status, next_look
from .verdict import is_suspended

# Seconds after which a Task is looked at again whose Pod has just turned out to be the operator's.
ADOPTED_PAUSE = 1


@dataclasses.dataclass(frozen=True)
class Reconciler:
    """What it takes to do something for a Task.

    Each method takes a Task as it was found, writes only a difference, and returns a module's result.

    Args:
        api: asks the API server.
        check_mode: True to change nothing.
        maker: makes the Pods.
    """

    api: TaskApi
    check_mode: bool
    maker: PodMaker

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
            released = self._release(found, recorded, error.reason == NAMESPACE_ENDS)
            diff = [recorded["diff"]] if recorded["changed"] else []
            summary = {**_summary("failed", recorded), "message": error.message}
            return {**summary, "changed": recorded["changed"] or released, "deleted": [], "diff": diff}
        except Exception as error:
            self.record_status(found, TaskError("Error", describe(error)))
            raise
        if made["action"] in ("absent", "expired"):
            return made
        if made["action"] == "created":
            found.pods.append(made["pod"])
            found.made = {*(found.made or ()), made["pod"]["metadata"].get("uid", "")}
        if found.task and (made["deleted"] or made["action"] == "waiting") and not self.check_mode:
            found.pods = self.api.pods_of([found.task])
        is_adopted = made.get("adopted", False)
        goes_on = made["action"] in ("kept", "finished") and not is_adopted
        advanced = self.advance_order(found) if goes_on else {"changed": False}
        recorded = self.record_status(found)
        released = self._release(found, recorded)
        _look_again(recorded, ADOPTED_PAUSE if is_adopted else None)
        done = [made, advanced, recorded]
        return {
            **_summary(made["action"], recorded),
            "changed": released or any(result["changed"] for result in done),
            "deleted": made["deleted"],
            "diff": [result["diff"] for result in done if result["changed"]],
        }

    def others_are_done(self) -> None:
        """Note that all has been done for those Tasks that need no more than the API server."""
        if self.maker.images:
            self.maker.images.others_are_done()

    def have_pod(self, found: Found) -> Object:
        """Carry out the plan for the Task's Pods.

        Raises:
            TaskError: the Task can't have its Pod.
        """
        task = found.task
        if task is None:
            return {"changed": False, "action": "absent", "deleted": []}
        seen = self._look_at_own(found, task)
        if seen.is_expired:
            if not self.check_mode:
                self.api.delete_task(task)
            return {"changed": True, "action": "expired", "deleted": []}
        claimed = seen.claimed
        if claimed and not seen.is_finished and self._adopt(found, task, seen, claimed):
            seen = observe(task, found.pods, timestamp(), found.made)
            if seen.current and seen.current.pod is claimed and not is_suspended(seen):
                # What is done with it waits until its UID is recorded: until then only its content tells whose it is.
                # One that was lost is not recorded, and the next one waits for its end.
                return {**_result_of(Plan("kept", seen.current.pod), None), "adopted": True}
        plan = plan_pods(seen)
        if plan.attempt and not seen.recorded and not self.check_mode:
            task = found.task = claim_room(self.api, "Task", task, compute_status(seen, None))
        if not self.check_mode:
            plan = self._clear(found, plan)
        return _result_of(plan, None) if plan.attempt is None else self._next_pod(found, task, seen, plan, plan.attempt)

    def _clear(self, found: Found, plan: Plan) -> Plan:
        """Delete and end the Pods that the plan says, and return the plan as it is then."""
        for pod in plan.delete:
            self.api.delete_pod(pod)
        if plan.end is None:
            return plan
        ended = self.api.end_pod(plan.end, plan.fault)
        found.pods[found.pods.index(plan.end)] = ended
        return dataclasses.replace(plan, current=ended)

    def _next_pod(self, found: Found, task: Task, seen: Observed, plan: Plan, attempt: Attempt) -> Object:
        """Have the Pod that is due: a new one, or the one that was made before and not recorded."""
        pod, is_new = self.maker.create_pod(task, attempt, plan.why)
        if pod and not is_new:
            found.pods = [*(other for other in found.pods if _name_of(other) != _name_of(pod)), pod]
            found.made = {*(found.made or ()), pod["metadata"]["uid"]}
            return {**_result_of(dataclasses.replace(plan, action="kept", current=pod), None), "adopted": True}
        if pod and not self.check_mode and is_removed(seen):
            tell_of_removal(self.api, task, seen.recorded["podName"])
        return _result_of(plan, pod)

    def _look_at_own(self, found: Found, task: Task) -> Observed:
        """Return what there is of the Task, once its Pod has what was taken off it, and others' have been told of."""
        found.made = found.made or set()
        if not self.check_mode:
            reclaim(self.api, found, task)
        seen = observe(task, found.pods, timestamp(), found.made)
        if not self.check_mode:
            tell_of_strangers(self.api, seen)
        return seen

    def _adopt(self, found: Found, task: Task, seen: Observed, pod: Pod) -> bool:
        """Tell whether a Pod is the operator's own, made before its UID could be recorded, and note it if so.

        Raises:
            TaskError: PodNameTaken: it is not, and the Task needs a Pod of this name; or the API server would not take
                such a Pod now, so nobody can tell.
        """
        attempt, uid = attempt_of(pod), pod["metadata"].get("uid", "")
        is_needed = not (is_ending(pod) or seen.shall_stop or is_suspended(seen))
        built = self.maker.build(task, attempt)
        try:
            is_own = self.maker.is_own(pod, built)
        except TaskError:
            if is_needed:
                raise
            is_own = False
        if is_own:
            found.made = {*(found.made or ()), uid}
        elif is_needed:
            raise name_taken(pod, attempt.number)
        else:
            found.foreign.add(uid)
        return is_own

    def _release(self, found: Found, recorded: Object, namespace_ends: bool = False) -> bool:
        """Let the Pods go whose ends are recorded now, and tell whether there were any.

        One that can't go yet has the Task looked at again. Where no status could be written, nothing is recorded.
        """
        if found.task is None or self.check_mode or not recorded.get("is_written", True):
            return False
        seen = observe(found.task, found.pods, timestamp(), found.made)
        if seen.claimed and seen.claimed["metadata"].get("uid") in found.foreign:
            seen = dataclasses.replace(seen, claimed=None)
        _look_again(recorded, next_release(seen))
        return release(self.api, seen, recorded["status"], namespace_ends)

    def advance_order(self, found: Found) -> Object:
        """Set the order annotation to what the steps' states call for.

        A Task that has its verdict may have steps that have yet to read that they shall end, so its Pod's order is put
        back until its containers have ended.
        """
        task = found.task
        if task is None or is_ending(task):
            return {"changed": False}
        seen = observe(task, found.pods, timestamp(), found.made)
        if seen.current is None or (seen.is_finished and has_ended(seen.current.pod)):
            return {"changed": False}
        current, pod = seen.current, seen.current.pod
        orders = orders_to_come(current, seen.shall_stop)
        after, writes = orders[-1] if orders else current.order, orders_to_write(orders, current)
        if not self.check_mode:
            place = found.pods.index(pod)
            # A Task that has its verdict is not cancelled any more.
            by_cancel = seen.is_cancelled and not seen.is_finished
            for order in writes:
                pod = self.api.set_order(pod, order, order == c.ORDER_QUIT and by_cancel)
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
        if problem is not None:
            # Whoever could not have the Pod has looked at the one that is there.
            found.made = found.made or set()
        seen = observe(task, found.pods, timestamp(), found.made)
        before: TaskStatus = task.get("status") or {}
        after = compute_status(seen, problem)
        again = next_look(seen, after, problem)
        if after != before and not self.check_mode:
            recorded = write_status(self.api, task, before, after)
            for change in compute_events(before, recorded or before):
                self.api.emit(task, change)
            if recorded is None:
                return {"changed": False, "status": after, "is_written": False}
            after = recorded
        return {
            "changed": after != before,
            "status": after,
            "diff": {"before": before, "after": after},
            **({"requeue_after": again} if again else {}),
        }


def _look_again(recorded: Object, after: float | None) -> None:
    """Have the Task looked at again after so many seconds, if it is not before."""
    if after is not None:
        recorded["requeue_after"] = min(recorded.get("requeue_after", math.inf), max(1, math.ceil(after)))


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
