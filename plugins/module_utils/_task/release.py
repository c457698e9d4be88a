# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide which Pods of a Task need not be kept any more for what they tell. Pure."""

from __future__ import annotations

from .._contract import FINAL
from .._kube.shapes import Pod, TaskStatus
from .._pod.adoption import is_recorded
from .._pod.life import is_ending
from .._pod.tracking import given_up_in, is_over, is_tracked
from .observed import Observed


def pods_to_release(seen: Observed, status: TaskStatus, namespace_ends: bool = False) -> list[Pod]:
    """Return the Pods whose tracking finalizer is to go: their ends are known, or nobody will ask for them.

    Args:
        seen: the Task and its Pods.
        status: what has been recorded of them.
        namespace_ends: whether the Task can have no other Pod, because its namespace is being deleted. It goes after
            its Pods.
    """
    others = [pod for pod in seen.strangers if pod not in seen.pods]
    return [pod for pod in (*seen.pods, *others) if is_tracked(pod) and _may_go(seen, pod, status, namespace_ends)]


def next_release(seen: Observed) -> float | None:
    """Return after how many seconds a Pod may go that nobody will tell of any more; None without one."""
    waits = (given_up_in(pod, seen.now) for pod in seen.pods if is_tracked(pod))
    return min((wait for wait in waits if wait is not None and wait > 0), default=None)


def _may_go(seen: Observed, pod: Pod, status: TaskStatus, namespace_ends: bool) -> bool:
    if is_ending(seen.task):
        return True
    if not is_over(pod, seen.now):
        return False
    # The one that the status speaks of, or is about to, is asked for until the Task has its verdict, or its next Pod.
    is_asked_for = pod is seen.claimed or is_recorded(status, pod)
    return namespace_ends or status.get("status") in FINAL or not is_asked_for
