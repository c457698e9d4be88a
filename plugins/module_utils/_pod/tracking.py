# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""When a Pod is over, though it is there: the tracking finalizer keeps one until its end is recorded. Pure."""

from __future__ import annotations

import datetime

from .. import _contract as c
from .._durations import parse_time, seconds_until
from .._kube.shapes import Pod
from .life import has_ended, is_ending, is_in_the_way


def is_tracked(pod: Pod) -> bool:
    """Tell whether the Pod stays, though somebody deletes it, until the operator lets it go."""
    return c.TRACKING_FINALIZER in (pod["metadata"].get("finalizers") or [])


def is_over(pod: Pod, now: str) -> bool:
    """Tell whether nothing runs in the Pod, and nothing will: it has ended, it never can begin, or it is given up."""
    return has_ended(pod) or (is_ending(pod) and (_is_unbound(pod) or _is_forced(pod, now)))


def blocks(pod: Pod, now: str) -> bool:
    """Tell whether a new Pod has to wait for this one: something may run in it, or it is about to go by itself."""
    return not is_over(pod, now) if is_tracked(pod) else is_in_the_way(pod)


def _is_unbound(pod: Pod) -> bool:
    """Tell whether the Pod never got a node. One that is being deleted gets none any more."""
    return not (pod.get("spec") or {}).get("nodeName")


def _is_forced(pod: Pod, now: str) -> bool:
    """Tell whether somebody has deleted the Pod without waiting for its kubelet, and that has had its time.

    The kubelet itself does so, too, once nothing runs any more.
    """
    left = given_up_in(pod, now)
    return left is not None and left <= 0


def given_up_in(pod: Pod, now: str) -> float | None:
    """Return after how many seconds a Pod counts as over that was deleted by force; None of any other."""
    if not is_ending(pod) or pod["metadata"].get("deletionGracePeriodSeconds") != 0:
        return None
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    if all((status.get("state") or {}).get("running") is None for status in statuses):
        return 0
    due = parse_time(pod["metadata"]["deletionTimestamp"]) + datetime.timedelta(seconds=c.STUCK_AFTER)
    return seconds_until(due, now)
