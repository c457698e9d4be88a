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
from .._pod.adoption import is_named_for, is_recorded
from .._pod.identity import Attempt, pod_name
from .._pod.life import attempt_of, is_ending, parse_order, sidecar_failure, standing_order, written_order
from .containers import Containers, is_real_end
from .losses import loss_of
from .reports import FORGOTTEN, SidecarEnd
from .run import deadline, expiry, is_of_run, recorded_status, with_cancellations
from .sidecars import dead_sidecars, failed_sidecar, refusing_sidecar
from .steps import deciding, ends_of_steps, has_failed, passed, step_statuses


@dataclasses.dataclass(frozen=True)
class ObservedPod(Containers):
    """A Pod of a Task, and what its containers come to.

    Attributes:
        told: which of the run's Pods it is, where the Task's status says so.
    """

    told: Attempt | None = None

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
        return self.told or attempt_of(self.pod)

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
    def has_failed_itself(self) -> bool:
        """Whether the Pod had failed before it was deleted, or has by a fault of its own."""
        return _has_failed_itself(self)

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
        pods: every Pod that is the Task's by its name or its UID.
        now: the time, as RFC 3339 in UTC.
        recorded: its status where that speaks of the present run; else an empty one.
        current: the Pod of the present run, if there is one.
        claimed: a Pod that has the name of the next attempt; nobody knows yet whether the operator made it.
        strangers: Pods with the labels and the owner of the Task's that the operator did not make.
    """

    task: Task
    pods: tuple[Pod, ...]
    now: str
    recorded: TaskStatus
    current: ObservedPod | None
    claimed: Pod | None = None
    strangers: tuple[Pod, ...] = ()

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


def observe(task: Task, pods: t.Iterable[Pod], now: str, made: t.Collection[str] | None = None) -> Observed:
    """Return what there is of a Task.

    Args:
        task: the Task, as the API server returns it.
        pods: every Pod that the Task owns.
        now: the time, as RFC 3339 in UTC.
        made: the UIDs of the Pods that are known to be the operator's, beside the one that the status knows. None where
            nobody can tell whether a Pod is: then its name is enough.
    """
    pods = tuple(pods)
    named = tuple(pod for pod in pods if _is_known(task, pod, made) or is_named_for(task, pod))
    task = with_cancellations(task, [pod for pod in named if _is_known(task, pod, made)])
    recorded = recorded_status(task)
    own = tuple(pod for pod in named if not _is_double(recorded, pod))
    known = [pod for pod in own if _is_known(task, pod, made)]
    current = _current_pod(task, known, recorded)
    claimed = next((pod for pod in own if pod not in known and _is_claimed(task, pod, recorded)), None)
    strangers = tuple(pod for pod in pods if pod not in own)
    return Observed(task, named, now, recorded, current, claimed, strangers)


def _is_known(task: Task, pod: Pod, made: t.Collection[str] | None) -> bool:
    """Tell whether a Pod is one that the operator made."""
    if is_recorded(task.get("status") or {}, pod):
        return True
    return is_named_for(task, pod) if made is None else pod["metadata"].get("uid") in made


def _is_double(recorded: TaskStatus, pod: Pod) -> bool:
    """Tell whether a Pod has taken the name of the one that the status speaks of."""
    return pod["metadata"]["name"] == recorded.get("podName") and not is_recorded(recorded, pod)


def _is_claimed(task: Task, pod: Pod, recorded: TaskStatus) -> bool:
    """Tell whether a Pod has the name of the attempt that is due next in the present run."""
    attempt, retries = attempt_of(pod), recorded.get("retries", 0)
    is_next = pod["metadata"]["name"] == pod_name(task, recorded.get("attempts", 0) + 1)
    return is_next and is_of_run(task, pod) and attempt.retry in (retries, retries + 1)


def _current_pod(task: Task, known: t.Sequence[Pod], recorded: TaskStatus) -> ObservedPod | None:
    """Return the Pod of the Task's present run: that of the last attempt. None without one.

    One that somebody deletes is lost, unless all of its steps had passed by then, or one had failed.
    """
    # After the last attempt's Pod is gone, those of failed attempts before it are not taken for it.
    last = recorded.get("attempts", 0)
    of_run = [_recorded_pod(task, pod, recorded) for pod in known if recorded and is_recorded(recorded, pod)]
    others = [ObservedPod(task, pod) for pod in known if not is_recorded(recorded, pod) and is_of_run(task, pod)]
    of_run += [seen for seen in others if seen.attempt.number > last or not recorded.get("podName")]
    candidates = [
        seen for seen in of_run if seen.attempt.number >= last and (not is_ending(seen.pod) or _had_ended(seen))
    ]
    return max(candidates, key=lambda seen: (seen.attempt.number, seen.name), default=None)


def _recorded_pod(task: Task, pod: Pod, recorded: TaskStatus) -> ObservedPod:
    """Return the Pod that the status speaks of. Which attempt it is, somebody may have changed on the Pod itself."""
    told = Attempt(recorded.get("attempts", 1), recorded.get("retries", 0))
    return ObservedPod(task, pod, tuple(recorded.get("steps") or ()), recorded.get("order"), told)


def _had_ended(seen: ObservedPod) -> bool:
    """Tell whether a Pod that is being deleted had decided the Task before, or has by a fault of its own."""
    return bool(sidecar_failure(seen.pod)) or seen.all_passed or seen.has_failed_itself


def _has_failed_itself(seen: ObservedPod) -> bool:
    """Tell whether a Pod has failed by a fault of its own, whatever has become of it since.

    What was told to end from outside may have been told with the Pod. When that was does not count, for the node's
    clock may differ from the API server's.
    """
    if is_ending(seen.pod) and _had_failed_before(seen):
        return True
    refusing = seen.refusing_sidecar
    if refusing and refusing.end and not refusing.is_from_outside:
        return True
    return any(has_failed(step) and not seen.is_from_outside(step["name"]) for step in seen.steps)


def _had_failed_before(seen: ObservedPod) -> bool:
    """Tell whether a failure is recorded of a Pod that is being deleted: no record is made of what ends afterwards.

    One that the kubelet had ended before that for its node's sake was lost by then.
    """
    if (seen.pod.get("status") or {}).get("reason") and loss_of(seen.pod):
        return False
    failed = [step for _number, step in deciding(seen.recorded) if has_failed(step) and is_real_end(step)]
    return any(step.get("reason") not in FORGOTTEN for step in failed)
