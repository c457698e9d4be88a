# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Each step's state, from the containers' statuses. Pure."""

from __future__ import annotations

import typing as t

from .._contract import CANCELLED, FAILED, RUNNING, SKIPPED, SUCCEEDED, WAITING
from .._durations import parse_time
from .._kube.shapes import ContainerStatus, StepStatus, Terminated
from .._pod.life import sidecar_failure
from .containers import Containers, is_real_end
from .reports import ENDED_BEFORE_ITS_TURN, bad_end, ended_before, step_end

# What the kubelet calls a container that is on its way; nothing to tell a person.
ORDINARY_WAITS = ("PodInitializing", "ContainerCreating")


def step_statuses(containers: Containers) -> list[StepStatus]:
    """Return the Task's status.steps, in the order of the spec."""
    statuses = ends_of_steps(containers)
    if sidecar_failure(containers.pod):
        # No step has begun: those that were started waited, and were ended with the Pod.
        return [{**step, "state": CANCELLED} if step["state"] == FAILED else step for step in statuses]
    runner = passed(statuses)
    if runner < len(statuses) and is_turn(containers, runner + 1):
        step = statuses[runner]
        if step["state"] == WAITING and containers.running(step["name"]) is not None:
            step["state"] = RUNNING
    return statuses


def ends_of_steps(containers: Containers) -> list[StepStatus]:
    """Return the steps as the kubelet tells of them; that one runs depends on its turn, too."""
    names = [step["name"] for step in containers.task["spec"]["steps"]]
    return keep_ends(containers.recorded, [_step_status(containers.status_of(name)) for name in names])


def keep_ends(recorded: t.Iterable[StepStatus], present: list[StepStatus]) -> list[StepStatus]:
    """Return the steps as the Pod shows them; one that is recorded as ended stays as it ended.

    The kubelet makes a container again whose record the runtime has lost. It then shows a step that has ended as one
    that waits or runs, or that is killed before its agent has repeated the report.

    Args:
        recorded: the steps as they are recorded of the same Pod.
        present: the steps as the Pod shows them now.
    """
    ends = {step["name"]: step for step in recorded if is_real_end(step)}
    return [_with_end(step, ends.get(step["name"])) for step in present]


def _with_end(step: StepStatus, end: StepStatus | None) -> StepStatus:
    if end is None:
        return step
    restarts = step.get("restarts", 0)
    return {**end, "restarts": restarts} if restarts else end


def passed(statuses: t.Sequence[StepStatus]) -> int:
    """Return how many steps from the first on let the next one run: they succeeded, or failed and continue."""
    return next((i for i, s in enumerate(statuses) if not has_passed(s)), len(statuses))


def has_passed(status: StepStatus) -> bool:
    """Tell whether a step lets the next one run."""
    return status["state"] == SUCCEEDED or bool(status.get("continued"))


def stops_the_task(status: StepStatus) -> bool:
    """Tell whether no later step may run after this one."""
    return status["state"] in (FAILED, SKIPPED, CANCELLED) and not status.get("continued")


def deciding(statuses: t.Sequence[StepStatus], stopped: bool = False) -> list[tuple[int, StepStatus]]:
    """Return the steps that count by now, with their numbers from 1.

    One that was ended before its turn does not count while another has its turn: that one goes on to its end, and keeps
    its results. The steps after it are skipped at once, and do not count before it does.

    Args:
        statuses: all steps.
        stopped: whether the Task was told to end: then what was ended before its turn would not have run anyway.
    """
    turn = passed(statuses) + 1
    idle = not stopped and not any(map(_has_begun, statuses[turn - 1 : turn]))
    numbered = enumerate(statuses, start=1)
    return [(number, step) for number, step in numbered if number <= turn or idle or not _ended_early(step)]


def _has_begun(status: StepStatus) -> bool:
    """Tell whether a step runs, or has ended by its own; one that waits, or was cancelled until then, has not begun."""
    return status["state"] != WAITING and not (status["state"] == CANCELLED and not status.get("startedAt"))


def _ended_early(status: StepStatus) -> bool:
    return status["state"] == SKIPPED or status.get("reason") == ENDED_BEFORE_ITS_TURN


def has_failed(status: StepStatus) -> bool:
    """Tell whether a step failed, and the Task does not continue."""
    return status["state"] == FAILED and not status.get("continued")


def is_turn(containers: Containers, number: int) -> bool:
    """Tell whether the step of this number, from 1, may run by now, provided that those before it have passed."""
    if not containers.all_started or (number == 1 and _will_not_begin(containers)):
        return False
    return not containers.awaits_order(number) or containers.order >= number


def _will_not_begin(containers: Containers) -> bool:
    """Tell whether the first step's agent, which has just been started, is sure to find that a sidecar has failed."""
    started = (containers.running(containers.task["spec"]["steps"][0]["name"]) or {}).get("startedAt")
    if not started:
        return False
    names = [sidecar["name"] for sidecar in containers.sidecars]
    ends = (bad_end(containers.status_of(name), name in containers.native) for name in names)
    return any(ended_before(end, parse_time(started)) for end in ends if end)


def _step_status(container: ContainerStatus) -> StepStatus:
    state = container.get("state") or {}
    status: StepStatus = {"name": container["name"], "state": WAITING}
    terminated: Terminated | None = state.get("terminated")
    waiting = state.get("waiting") or {}
    if terminated:
        status.update(step_end(terminated))
    elif waiting.get("reason") not in (None, *ORDINARY_WAITS):
        status["reason"] = waiting["reason"]
        if waiting.get("message"):
            status["message"] = waiting["message"]
    if container.get("restartCount"):
        status["restarts"] = container["restartCount"]
    if container.get("imageID"):
        status["imageID"] = container["imageID"]
    return status
