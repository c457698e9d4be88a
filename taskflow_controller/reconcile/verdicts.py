"""The verdict of a run on each of its resources, and what follows from it. Pure, except for the jitter."""

import dataclasses
import random
from collections.abc import Iterable

from taskflow_controller.kube.kinds import ResourceKey
from taskflow_controller.runs.resource_results import ResourceResult
from taskflow_controller.runs.run_events import RunCounts
from taskflow_controller.runs.runner import RunResult
from taskflow_controller.serve.metrics import Outcome
from taskflow_controller.triggers.causes import PERIOD, Cause

_NO_COUNTS = RunCounts()
PERIOD_JITTER = 0.1  # the part of a period by which a run may be early, so that not all resources are due at once


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a run ended for one resource.

    Attributes:
        successful: whether it succeeded.
        message: why it failed.
        requeue_after: in how many seconds a module wants the next run; None for no such run.
        counts: those of the whole run.
        cancelled: whether the controller itself cut the run short.
        named: whether a module's result names this resource, rather than the run as a whole.
        alone: whether nothing failed, but the resource needs a run of its own.
        retry: what another attempt follows, in the words of its cause.
    """

    successful: bool
    message: str = ""
    requeue_after: float | None = None
    counts: RunCounts = _NO_COUNTS
    cancelled: bool = False
    named: bool = False
    alone: bool = False
    retry: str = "failure"


@dataclasses.dataclass(frozen=True)
class Next:
    """What follows for a resource: another attempt after its back-off, a run later, or nothing.

    Attributes:
        outcome: the label in the metrics.
        retry: what another attempt follows, in words; None for no such attempt.
        delay: in how many seconds a run is due; None for no such run.
        cause: the cause of the run after that delay.
    """

    outcome: Outcome
    retry: str | None = None
    delay: float | None = None
    cause: Cause = PERIOD


NOTHING = Next(Outcome.SUCCESS)
"""The resource is gone, or its deletion does not concern us."""


def verdicts(result: RunResult, keys: Iterable[ResourceKey]) -> dict[ResourceKey, Verdict]:
    """Return the verdict on each resource. One that the run does not name gets the verdict on the whole run.

    Args:
        result: the run's result.
        keys: the resources.
    """
    shared = Verdict(
        successful=result.successful,
        message="" if result.successful else failure_message(result),
        requeue_after=result.requeue_after,
        counts=result.counts,
        cancelled=result.cancelled,
    )
    return {key: _named(shared, result.resources.get((key.namespace, key.name))) for key in keys}


def _named(shared: Verdict, named: ResourceResult | None) -> Verdict:
    if named is None:
        return shared
    verdict = Verdict(not named.failed, named.message, named.requeue_after, shared.counts, named=True)
    return dataclasses.replace(verdict, alone=True, retry="it was left out of a batch") if named.alone else verdict


def failure_message(result: RunResult) -> str:
    """Return why a run failed: its last output if it broke off, and the failed tasks' messages."""
    if result.cancelled:
        return "the run was cut short because the controller is about to end"
    messages = [text for text in (result.error, *(failure.message for failure in result.failures)) if text]
    return "\n".join(messages) or f"the run ended with status {result.status}, exit code {result.rc}, and no message"


def plan_next(verdict: Verdict, period: float) -> Next:
    """Return what follows from a verdict.

    Args:
        verdict: how the run ended for a resource.
        period: the seconds after which the resource gets a run although nothing changed, 0 for never.
    """
    if not verdict.successful:
        outcome = Outcome.REQUEUE if verdict.cancelled or verdict.alone else Outcome.ERROR
        return Next(outcome, retry=verdict.retry)
    if verdict.requeue_after is not None:
        cause = Cause.requeue_after(verdict.requeue_after)
        return Next(Outcome.REQUEUE_AFTER, delay=verdict.requeue_after, cause=cause)
    if period > 0:
        return Next(Outcome.REQUEUE_AFTER, delay=period * random.uniform(1 - PERIOD_JITTER, 1))
    return NOTHING
