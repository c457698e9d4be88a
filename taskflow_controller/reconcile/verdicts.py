"""What a run comes to for each of its resources, and what follows from that. Pure, but for the jitter."""

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
PERIOD_JITTER = 0.1  # the part of a period it may come early, so that not all resources are due at once


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a run ended for one resource. ``message`` says why it failed; ``requeue_after`` is in seconds.

    ``retry`` says what the next try comes after, in the words of its cause. ``cancelled``: the controller itself
    cut the run short. ``named``: the run said so of this very resource. ``alone``: nothing failed, but it needs a run
    of its own.
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
    """What is to happen with a resource: another try after its back-off, a run later, or nothing.

    Attributes:
        outcome: the label in the metrics.
        retry: what another try comes after, in words; None for no such try.
        delay: in how many seconds there is a run; None for no such run.
        cause: the cause of the run after that delay.
    """

    outcome: Outcome
    retry: str | None = None
    delay: float | None = None
    cause: Cause = PERIOD


NOTHING = Next(Outcome.SUCCESS)
"""The resource is gone, or its deletion does not concern us."""


def verdicts(result: RunResult, keys: Iterable[ResourceKey]) -> dict[ResourceKey, Verdict]:
    """Return what a run says of each resource; one that it does not name shares the run's own verdict."""
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
    """Return why a run failed: what was said last if it broke off, and the failed tasks' messages."""
    if result.cancelled:
        return "the run was cut short, for the controller is about to end"
    messages = [text for text in (result.error, *(failure.message for failure in result.failures)) if text]
    return "\n".join(messages) or f"the run ended with status {result.status}, exit code {result.rc}, and no message"


def plan_next(verdict: Verdict, period: float) -> Next:
    """Return what follows a verdict; ``period`` is the seconds until a run without any change, 0 for none."""
    if not verdict.successful:
        outcome = Outcome.REQUEUE if verdict.cancelled or verdict.alone else Outcome.ERROR
        return Next(outcome, retry=verdict.retry)
    if verdict.requeue_after is not None:
        cause = Cause.requeue_after(verdict.requeue_after)
        return Next(Outcome.REQUEUE_AFTER, delay=verdict.requeue_after, cause=cause)
    if period > 0:
        return Next(Outcome.REQUEUE_AFTER, delay=period * random.uniform(1 - PERIOD_JITTER, 1))
    return NOTHING
