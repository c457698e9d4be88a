# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Say what a Task whose Pod has not ended waits for, or how far it is. Pure."""

from __future__ import annotations

from .. import _contract as c
from .._contract import ENDED, PENDING, RUNNING, WAITING
from .._durations import parse_time, seconds_until
from .._kube.shapes import Condition, Pod
from .conditions import HELD, WAITING_FOR_POD, Verdict
from .observed import ObservedPod
from .order import held_at
from .steps import ORDINARY_WAITS

# The kubelet's words for an image that it could not pull, and for the time until it tries again.
PULL_ERROR, BACK_OFF = "ErrImagePull", "ImagePullBackOff"
POD_STUCK = "PodStuck"


def on_the_way(pod: ObservedPod, before: Condition | None = None) -> Verdict:
    """Return the state of a Task whose Pod has not ended: what runs, or what it waits for.

    Args:
        pod: the Pod.
        before: the condition that told of it last, if any does.
    """
    order, steps = pod.order, pod.steps
    waits = all(step["state"] == WAITING for step in steps)
    runs = any(step["state"] == RUNNING for step in steps)
    if order >= held_at(pod.task, order) and pod.all_started and not runs:
        state = PENDING if waits else RUNNING
        return Verdict(state, HELD, f"the Task's annotation {c.HOLD_ANNOTATION} holds the order at {order}")
    if order == c.ORDER_INITIAL and waits:
        return _pending(pod, before)
    ended = sum(step["state"] in ENDED for step in steps)
    return Verdict(RUNNING, "Running", f"{ended} of {len(steps)} steps have ended")


def _pending(pod: ObservedPod, before: Condition | None) -> Verdict:
    """Say what a Pod that has not started waits for."""
    found = _waiting_container(pod.pod)
    if found:
        name, image, reason, detail = found
        where = f"{_role_of(pod, name)}, image {image}: "
        said = before["message"] if before and before.get("reason") == PULL_ERROR else ""
        if reason == BACK_OFF and said.startswith(where):
            # Between two tries the kubelet has no words of the registry; those of the last one still hold.
            return Verdict(PENDING, PULL_ERROR, said)
        return Verdict(PENDING, reason, where + detail)
    for condition in (pod.pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Verdict(PENDING, condition.get("reason", "Unschedulable"), condition.get("message", ""))
    unready = [sidecar["name"] for sidecar in pod.probed_sidecars]
    if unready and pod.all_started:
        return Verdict(PENDING, "Pending", f"the Pod is starting; the first step awaits sidecar {', '.join(unready)}")
    return Verdict(PENDING, "Pending", "the Pod is starting")


def _waiting_container(pod: Pod) -> tuple[str, str, str, str] | None:
    """Return name, image, reason and message of the first container that waits for more than its turn to start."""
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    images = {x["name"]: x["image"] for x in [*spec.get("initContainers", []), *spec.get("containers", [])]}
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, *ORDINARY_WAITS):
            name, reason = container["name"], waiting["reason"]
            image = images.get(name) or container.get("image", "")
            return name, image, reason, waiting.get("message") or reason
    return None


def _role_of(pod: ObservedPod, name: str) -> str:
    if name == c.INSTALL_CONTAINER:
        return "the agent"
    roles = {step["name"]: "step" for step in pod.task["spec"]["steps"]}
    roles.update({sidecar["name"]: "sidecar" for sidecar in pod.sidecars})
    return f'{roles.get(name, "container")} "{name}"'


def waits_for(pod: Pod, now: str, who: str = "Task") -> Verdict:
    """Return the state of a Task, or of a Build, that waits for a Pod of an earlier run or attempt."""
    name, node = pod["metadata"]["name"], (pod.get("spec") or {}).get("nodeName")
    where = f" on node {node}" if node else ""
    due = pod["metadata"].get("deletionTimestamp")
    if due and -seconds_until(parse_time(due), now) >= c.STUCK_AFTER:
        return Verdict(
            PENDING,
            POD_STUCK,
            f"Pod {name}{where} should have ended at {due}; its node may be lost. If it is gone for good, delete it "
            f"(kubectl delete node), or the Pod (kubectl delete pod {name} --force): the {who} then goes on",
        )
    return Verdict(PENDING, WAITING_FOR_POD, f"Pod {name}{where} of an earlier run or attempt is still ending")
