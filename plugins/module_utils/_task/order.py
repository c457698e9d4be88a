# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Decide the next order, from the steps' states. Pure."""

from __future__ import annotations

import json
import typing as t

from .. import _contract as c
from .._kube import event
from .._kube.event import Event
from .._kube.shapes import Task
from .._pod.life import is_failed, parse_number, parse_order, written_order
from .observed import ObservedPod
from .steps import deciding, stops_the_task
from .unstartable import unstartable

ORDER_PUT_BACK = "OrderPutBack"
# How much of a foreign value an Event quotes.
QUOTED = 40


def next_order(order: int, seen: ObservedPod, stop: bool = False) -> int:
    """Decide the order annotation's next value: 0, then 1 to N as the steps go, -1 for good once one has failed.

    It goes up by one, no further than to the step after those that have passed. With the Annotation hand-off that is
    what starts a step; with Local the steps start each other, and the order follows them.

    Args:
        order: its present value.
        seen: the Pod; the Task's annotation hold-order holds the order with the Annotation hand-off.
        stop: True when the Task was cancelled or its time is up: what has not ended then shall end, as it shall when
            a container can never be started.
    """
    if order == c.ORDER_QUIT:
        return order
    if not seen.all_passed and (stop or unstartable(seen)):
        return c.ORDER_QUIT
    last = min(seen.passed + 1, len(seen.steps))
    if order < last and order + 1 <= held_at(seen.task, order) and _may_begin(order, seen):
        return order + 1
    failed = any(stops_the_task(step) for _number, step in deciding(seen.steps))
    over = not seen.all_passed and is_failed(seen.pod)
    return c.ORDER_QUIT if failed or over else order


def orders_to_come(seen: ObservedPod, stop: bool = False) -> list[int]:
    """Return every value that the order annotation takes from here on, while the Pod stays as it is."""
    orders: list[int] = []
    order = seen.order
    while (after := next_order(order, seen, stop)) != order:
        orders.append(after)
        order = after
    return orders


def orders_to_write(orders: t.Sequence[int], seen: ObservedPod) -> list[int]:
    """Return which of the values to come are written, each by a request of its own.

    With the Annotation hand-off each starts a step. With Local nobody waits for one, and each would have the kubelet
    write its file again: only the last number is written, and -1 after it. If somebody else has written into the
    annotation, each of them puts it back; where there are none, the order that stands does.
    """
    if not orders:
        return [] if seen.is_order_written else [seen.order]
    if seen.task["spec"].get("handoff") == c.HANDOFF_ANNOTATION:
        return list(orders)
    numbers = [order for order in orders if order != c.ORDER_QUIT]
    return numbers[-1:] + [order for order in orders if order == c.ORDER_QUIT]


def put_back(seen: ObservedPod, order: int) -> Event:
    """Return the Event of an annotation that somebody else has written, and the operator has put back."""
    was, last = written_order(seen.pod), seen.step_count
    found = parse_order(was, last)
    if was is None:
        words = "was gone"
    elif found is None:
        shown = json.dumps(was[:QUOTED] + ("..." if len(was) > QUOTED else ""), ensure_ascii=False)
        words = f"was set to {shown}, which is neither a number from 0 to {last} nor -1"
    elif c.ORDER_INITIAL <= seen.order < found:
        words = f'was set to "{found}", but the steps before number {found} have not all passed'
    else:
        words = f'was set to "{found}", but it had been {seen.order} before'
    where = f"the annotation {c.ORDER_ANNOTATION} of Pod {seen.name}"
    return Event(event.WARNING, ORDER_PUT_BACK, f"{where} {words}; it is {order} now")


def held_at(task: Task, order: int) -> float:
    """Return how far the order may go: to the number that the Task's annotation gives, or not on at all.

    What is not written as an order is, such as "+1" or "01", is no number, and holds it where it is. Without the
    annotation, and with the Local hand-off, it is not held.
    """
    hold = (task["metadata"].get("annotations") or {}).get(c.HOLD_ANNOTATION)
    if hold is None or task["spec"].get("handoff") != c.HANDOFF_ANNOTATION:
        return float("inf")
    number = parse_number(hold)
    return order if number is None else number


def _may_begin(order: int, seen: ObservedPod) -> bool:
    """Tell whether all is there that the order waits for; a sidecar that was ready once need not stay so."""
    if not seen.all_started:
        return False
    if order > c.ORDER_INITIAL:
        return True
    are_ready = all(_is_ready_or_done(seen, sidecar["name"]) for sidecar in seen.probed_sidecars)
    return are_ready and seen.failed_sidecar is None and seen.refusing_sidecar is None


def _is_ready_or_done(seen: ObservedPod, sidecar: str) -> bool:
    is_ready = bool(seen.status_of(sidecar).get("ready"))
    return is_ready or (seen.running(sidecar) is None and seen.has_started(sidecar))
