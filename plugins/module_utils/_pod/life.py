# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What a Pod says of itself: how far it is, and what the operator has noted on it. Pure."""

from __future__ import annotations

import re
import typing as t

from .. import _contract as c
from .._kube.shapes import Condition, Pod
from .identity import Attempt

# What is told of the Pod when something disrupted it (Kubernetes 1.26 and later), and by whom: the garbage collector
# of Pods has found that the Pod's node is gone.
DISRUPTION_CONDITION, POD_GC = "DisruptionTarget", "DeletionByPodGC"
# A number as the operator writes one: without a sign, leading zeros, spaces and other digits than ASCII's.
_NUMBER = re.compile("0|[1-9][0-9]{0,8}")


def is_ending(thing: t.Mapping[str, t.Any]) -> bool:
    """Tell whether somebody has deleted the Pod, or another object."""
    return bool(thing["metadata"].get("deletionTimestamp"))


def is_failed(pod: Pod) -> bool:
    """Tell whether the kubelet says that the Pod has failed."""
    return (pod.get("status") or {}).get("phase") == "Failed"


def is_terminal(pod: Pod) -> bool:
    """Tell whether the kubelet is done with the Pod: by then it has said why, should the Pod be lost."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def has_ended(pod: Pod) -> bool:
    """Tell whether nothing runs in the Pod any more, and nothing will.

    The kubelet tells of the last container's end a second or two before the Pod's phase is terminal. Native sidecars
    go on after that end until the kubelet stops them; one that waited to be started again is not. A phase that is
    terminal while containers are said to run is told too early, unless nobody is left to tell of their ends.
    """
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    states = {s["name"]: s.get("state") or {} for s in status.get("containerStatuses") or []}
    init_states = [s.get("state") or {} for s in status.get("initContainerStatuses") or []]
    if is_terminal(pod):
        is_running = any(state.get("running") is not None for state in [*states.values(), *init_states])
        return not is_running or _says_no_more(pod)
    names = {*states, *(container["name"] for container in spec.get("containers") or [])}
    all_ended = bool(names) and all(states.get(name, {}).get("terminated") is not None for name in names)
    return all_ended and all(state.get("running") is None for state in init_states)


def _says_no_more(pod: Pod) -> bool:
    """Tell whether no kubelet will say any more of a Pod: none has it, or its node is gone."""
    if not (pod.get("spec") or {}).get("nodeName"):
        return True
    disruption = disruption_of(pod)
    return disruption is not None and disruption.get("reason") == POD_GC


def disruption_of(pod: Pod) -> Condition | None:
    """Return the condition that says that the Pod was disrupted; None where none does."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((x for x in conditions if x["type"] == DISRUPTION_CONDITION and x["status"] == "True"), None)


def is_in_the_way(pod: Pod) -> bool:
    """Tell whether a new Pod has to wait for this one: something may run in it, or it is being deleted."""
    return is_ending(pod) or not has_ended(pod)


def is_told_to_end(pod: Pod) -> bool:
    """Tell whether the operator has had the kubelet end the Pod."""
    return (pod.get("spec") or {}).get("activeDeadlineSeconds") == c.END_NOW


def sidecar_failure(pod: Pod) -> str:
    """Return what a sidecar did that failed the Pod's attempt; empty where none did."""
    return str((pod["metadata"].get("annotations") or {}).get(c.SIDECAR_ANNOTATION, ""))


def written_order(pod: Pod) -> str | None:
    """Return the Pod's order annotation as it is; None without one."""
    return (pod["metadata"].get("annotations") or {}).get(c.ORDER_ANNOTATION)


def attempt_of(pod: Pod) -> Attempt:
    """Return which of its run's Pods it is; the first where it does not say."""
    return Attempt(number_of(pod, c.ATTEMPT_ANNOTATION, 1), number_of(pod, c.RETRY_ANNOTATION, 0))


def number_of(pod: Pod, annotation: str, default: int) -> int:
    """Return one of the operator's numbers on a Pod; the default where it is missing or no number."""
    found = parse_number((pod["metadata"].get("annotations") or {}).get(annotation))
    return default if found is None else found


def parse_number(text: str | None) -> int | None:
    """Return the number that a text is; None where it is not written as the operator writes numbers, or missing."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None


def parse_order(text: str | None, last: int) -> int | None:
    """Return the order that a text is: 0 to the number of the last step, or -1; None of anything else."""
    if text == str(c.ORDER_QUIT):
        return c.ORDER_QUIT
    number = parse_number(text)
    return number if number is not None and number <= last else None


def standing_order(text: str | None, last: int, passed: int, recorded: int | None) -> int:
    """Return the order that holds, whatever somebody has written into the annotation.

    It is what is written there, unless that is no order, less than what is recorded, or more than the step whose turn
    may have come. Then it is what is recorded, or the number of the last step that has passed where that is more.

    Args:
        text: the annotation.
        last: how many steps there are.
        passed: how many of them, from the first on, let the next one run.
        recorded: the order that the Task's status has of this Pod; None without one.
    """
    order, least = parse_order(text, last), c.ORDER_INITIAL if recorded is None else recorded
    if c.ORDER_QUIT in (order, recorded):
        return c.ORDER_QUIT
    if order is None or not least <= order <= max(passed + 1, least):
        return max(passed, least)
    return order
