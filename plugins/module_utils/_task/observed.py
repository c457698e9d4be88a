# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What there is of a Task at one moment, and what follows from it: read once, and decided upon. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import typing as t

from .. import _contract as c
from .._durations import seconds_until
from .._kube.shapes import Pod, StepStatus, Task, TaskSpec, TaskStatus
from .._pod.identity import Attempt
from .._pod.life import attempt_of, is_ending, parse_order, sidecar_failure, standing_order, written_order
from .containers import Containers, is_real_end
from .reports import SidecarEnd
from .run import deadline, expiry, is_of_run, recorded_status, with_cancellations
from .sidecars import dead_sidecars, failed_sidecar, refusing_sidecar
from .steps import deciding, ends_of_steps, has_failed, passed, step_statuses


@dataclasses.dataclass(frozen=True)
class ObservedPod(Containers):
    """A Pod of a Task, and what its containers come to."""

    @property
    def name(self) -> str:
        """The Pod's name."""
        return self.pod["metadata"]["name"]

    @functools.cached_property
    def order(self) -> int:
        """The order that holds, though somebody may have written another one into the annotation."""
        recorded = parse_order(self.recorded_order, self.step_count)
        return standing_order(written_order(self.pod), self.step_count, passed(ends_of_steps(self)), recorded)

    @property
    def is_order_written(self) -> bool:
        """Whether the annotation has the order that holds."""
        return written_order(self.pod) == str(self.order)

    @functools.cached_property
    def attempt(self) -> Attempt:
        """Which of the run's Pods it is."""
        return attempt_of(self.pod)

    @functools.cached_property
    def steps(self) -> list[StepStatus]:
        """The Task's status.steps."""
        return step_statuses(self)

    @functools.cached_property
    def passed(self) -> int:
        """How many steps from the first on let the next one run."""
        return passed(self.steps)

    @property
    def all_passed(self) -> bool:
        """Whether all do."""
        return self.passed == len(self.steps)

    @functools.cached_property
    def refusing_sidecar(self) -> SidecarEnd | None:
        """The sidecar for whose failure the first step did not begin."""
        return refusing_sidecar(self)

    @property
    def refusals(self) -> list[StepStatus]:
        """How that sidecar ended, told as of a step: one end, or none."""
        return [self.refusing_sidecar.end] if self.refusing_sidecar and self.refusing_sidecar.end else []

    @functools.cached_property
    def failed_sidecar(self) -> SidecarEnd | None:
        """The first sidecar that keeps the first step from its turn."""
        return failed_sidecar(self, self.refusing_sidecar)

    @functools.cached_property
    def dead_sidecars(self) -> list[SidecarEnd]:
        """The sidecars that died while the steps ran."""
        return dead_sidecars(self, self.steps, self.refusing_sidecar)


@dataclasses.dataclass(frozen=True)
class Observed:
    """What there is of a Task at one moment.

    Attributes:
        task: the Task; its status knows of each cancelled run.
        pods: every Pod that the Task owns.
        now: the time, as RFC 3339 in UTC.
        recorded: its status where that speaks of the present run; else an empty one.
        current: the Pod of the present run, if there is one.
    """

    task: Task
    pods: tuple[Pod, ...]
    now: str
    recorded: TaskStatus
    current: ObservedPod | None

    @property
    def spec(self) -> TaskSpec:
        """The Task's spec."""
        return self.task["spec"]

    @property
    def is_finished(self) -> bool:
        """Whether the present run has its verdict."""
        return self.recorded.get("status") in c.FINAL

    @property
    def is_cancelled(self) -> bool:
        """Whether spec.cancel is true."""
        return bool(self.spec.get("cancel"))

    @functools.cached_property
    def deadline(self) -> datetime.datetime | None:
        """When the Task's timeout ends the run; None without one, or before the run has begun."""
        return deadline(self.spec, self.recorded)

    @functools.cached_property
    def expiry(self) -> datetime.datetime | None:
        """When a Task that has ended is to be deleted; None when it is not."""
        return expiry(self.spec, self.recorded)

    @property
    def is_expired(self) -> bool:
        """Whether it is to be deleted now."""
        return self.expiry is not None and seconds_until(self.expiry, self.now) <= 0

    @property
    def is_time_up(self) -> bool:
        """Whether the Task's timeout has passed."""
        return self.deadline is not None and seconds_until(self.deadline, self.now) <= 0

    @property
    def shall_stop(self) -> bool:
        """Whether what still runs of the Task shall end."""
        return self.is_cancelled or self.is_time_up


def observe(task: Task, pods: t.Iterable[Pod], now: str) -> Observed:
    """Return what there is of a Task.

    Args:
        task: the Task, as the API server returns it.
        pods: every Pod that the Task owns.
        now: the time, as RFC 3339 in UTC.
    """
    pods = tuple(pods)
    task = with_cancellations(task, pods)
    recorded = recorded_status(task)
    return Observed(task, pods, now, recorded, _current_pod(task, pods, recorded))


def _current_pod(task: Task, pods: t.Sequence[Pod], recorded: TaskStatus) -> ObservedPod | None:
    """Return the Pod of the Task's present run: that of the last attempt. None without one.

    One that somebody deletes is lost, unless all of its steps had passed by then, or one had failed.
    """
    # After the last attempt's Pod is gone, those of failed attempts before it are not taken for it.
    last = int(recorded.get("attempts", 0))
    of_run = [ObservedPod(task, pod, *_recorded_of(recorded, pod)) for pod in pods if is_of_run(task, pod)]
    candidates = [
        seen for seen in of_run if seen.attempt.number >= last and (not is_ending(seen.pod) or _had_ended(seen))
    ]
    return max(candidates, key=lambda seen: (seen.attempt.number, seen.name), default=None)


def _recorded_of(recorded: TaskStatus, pod: Pod) -> tuple[tuple[StepStatus, ...], str | None]:
    """Return the steps and the order that are recorded of a Pod; nothing of another one."""
    is_same = recorded.get("podName") == pod["metadata"]["name"]
    return (tuple(recorded.get("steps") or ()), recorded.get("order")) if is_same else ((), None)


def _had_ended(seen: ObservedPod) -> bool:
    """Tell whether a Pod that is being deleted had decided the Task before, or has by a fault of its own.

    What was told to end from outside was told with the Pod, unless it is recorded: no record is made of what ends
    afterwards. When that was does not count, for the node's clock may differ from the API server's.
    """
    if sidecar_failure(seen.pod) or seen.all_passed:
        return True
    if any(has_failed(step) and is_real_end(step) for _number, step in deciding(seen.recorded)):
        return True
    refusing = seen.refusing_sidecar
    if refusing and refusing.end and not refusing.is_from_outside:
        return True
    return any(has_failed(step) and not seen.is_from_outside(step["name"]) for step in seen.steps)
