# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What a Task's sidecars did that keeps its first step from its turn, or happened while the steps ran. Pure."""

from __future__ import annotations

import datetime
import typing as t

from .._contract import ENDED, ORDER_INITIAL, ORDER_QUIT, SKIPPED
from .._durations import parse_time
from .._kube.shapes import StepStatus
from .._pod.life import has_ended, is_ending, is_terminal, sidecar_failure
from .containers import Containers
from .reports import SidecarEnd, bad_end, early_end, is_from_outside, sidecar_end, sidecar_in, start_error, step_end
from .steps import is_turn


def failed_sidecar(containers: Containers, refusing: SidecarEnd | None) -> SidecarEnd | None:
    """Return the first sidecar that keeps the first step from its turn; None where none does, or its turn has come.

    It could not be started, it died, or the kubelet starts it again and again and no step before it goes on. Where no
    order is awaited, the agents decide once all containers have started: if a sidecar has failed by then, the first
    step does not begin, and the Pod ends by itself.

    Args:
        containers: the Pod's.
        refusing: what refusing_sidecar() returns of them.
    """
    pod, order = containers.pod, containers.order
    if order > ORDER_INITIAL or is_ending(pod) or is_terminal(pod) or has_ended(pod) or sidecar_failure(pod):
        return None
    if refusing:
        return None if containers.all_started else refusing
    first_turn, quits, holds = is_turn(containers, 1), order == ORDER_QUIT, not containers.steps_started
    if quits and not holds:
        return None
    for sidecar in containers.sidecars:
        name = sidecar["name"]
        status, is_native = containers.status_of(name), name in containers.native
        late = None if is_native else start_error(status)
        if end := late if first_turn else early_end(status, is_native, holds, quits):
            return SidecarEnd(name, sidecar_end(end))
    return None


def refusing_sidecar(containers: Containers) -> SidecarEnd | None:
    """Return the sidecar for whose failure the first step did not begin; None if it did, or may yet.

    No step is before the first one: only for a sidecar it is skipped. Where nothing tells how that ended, the end has
    the words of the first step's agent.
    """
    end = containers.terminated(containers.task["spec"]["steps"][0]["name"])
    sidecars = [sidecar["name"] for sidecar in containers.sidecars]
    if not end or not sidecars or step_end(end)["state"] != SKIPPED:
        return None
    named = [name for name in sidecars if name == sidecar_in(end.get("message") or "")]
    for name in named or sidecars:
        if found := bad_end(containers.status_of(name), name in containers.native):
            by_others = is_from_outside(found) or containers.is_from_outside(name)
            return SidecarEnd(name, sidecar_end(found), is_from_outside=by_others)
    return SidecarEnd(named[0] if named else "", None, words=step_end(end).get("message", ""))


def dead_sidecars(
    containers: Containers, steps: t.Sequence[StepStatus], refusing: SidecarEnd | None
) -> list[SidecarEnd]:
    """Return the sidecars that died while the steps ran, though the first step may not have begun by then.

    Args:
        containers: the Pod's.
        steps: what step_statuses() returns of them.
        refusing: what refusing_sidecar() returns of them.
    """
    pod, order = containers.pod, containers.order
    if order == ORDER_QUIT or is_ending(pod) or is_terminal(pod) or refusing:
        return []
    if order == ORDER_INITIAL and not is_turn(containers, 1):
        return []
    over = _end_of_steps(steps)
    dead: list[SidecarEnd] = []
    for sidecar in containers.sidecars:
        name = sidecar["name"]
        end = bad_end(containers.status_of(name), name in containers.native, over)
        if end:
            dead.append(SidecarEnd(name, sidecar_end(end)))
    return dead


def _end_of_steps(steps: t.Sequence[StepStatus]) -> datetime.datetime | None:
    """Return when the last step ended; None while one has not, the earliest time there is where that is not known."""
    if any(step["state"] not in ENDED for step in steps):
        return None
    ends = (parse_time(step["finishedAt"]) for step in steps if step.get("finishedAt"))
    return max(ends, default=datetime.datetime.min.replace(tzinfo=datetime.UTC))
