"""The log lines of runs: for which resources they are, why they started, and how they ended."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from taskflow_controller.kube.kinds import ResourceKey
from taskflow_controller.reconcile.verdicts import Verdict
from taskflow_controller.runs.runner import RunResult
from taskflow_controller.triggers.causes import Causes

logger = logging.getLogger("taskflow_controller.reconcile.reconciler")


def log_start(causes: Mapping[ResourceKey, Causes], *, finalizing: bool) -> None:
    """Log that a run starts, for which resources, and why for each.

    Args:
        causes: those of each resource.
        finalizing: whether it is a finalizer's run.
    """
    fields: dict[str, Any]
    if len(causes) == 1:
        ((key, cause),) = causes.items()
        fields = {"resource": str(key), "reason": str(cause)}
    else:
        fields = {"resources": [{"resource": str(key), "reason": str(cause)} for key, cause in causes.items()]}
    logger.info("finalizer run started" if finalizing else "run started", extra=fields)


def log_end(keys: Sequence[ResourceKey], result: RunResult, verdicts: Mapping[ResourceKey, Verdict]) -> None:
    """Log how a run ended, and which of its resources failed and why.

    Args:
        keys: the resources.
        result: the run's result.
        verdicts: how the run ended for each resource.
    """
    fields = {
        **({"resource": str(keys[0])} if len(keys) == 1 else {"resources": [str(key) for key in keys]}),
        "rc": result.rc,
        "status": result.status,
        "duration": round(result.duration, 3),
        "ok": result.counts.ok,
        "changed": result.counts.changed,
        "failed": result.counts.failed,
    }
    if result.successful:
        logger.info("run succeeded", extra=fields)
    elif result.cancelled:
        logger.warning("run cancelled", extra=fields)
    else:
        failures = [dataclasses.asdict(failure) for failure in result.failures]
        error = {"error": result.error} if result.error else {}
        logger.error("run failed", extra={**fields, "failures": failures, **error})
    for key in keys:
        verdict = verdicts[key]
        if verdict.alone:
            logger.info("resource needs a run of its own", extra={"resource": str(key), "reason": verdict.message})
        elif verdict.named and not verdict.successful:
            logger.error("resource failed", extra={"resource": str(key), "error": verdict.message})
