"""Serves resources: finalizer, status, the run itself, and what follows."""

import datetime
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.config.overrides import Overrides
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.api import plain_cause
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey
from taskflow_controller.kube.objects import Objects
from taskflow_controller.reconcile import run_log
from taskflow_controller.reconcile.finalizers import FinalizerKeeper, Step, finalizers_of, next_step
from taskflow_controller.reconcile.run_history import RunHistory
from taskflow_controller.reconcile.status_writer import StatusWriter
from taskflow_controller.reconcile.verdicts import NOTHING, Next, Verdict, plan_next, verdicts
from taskflow_controller.runs.launcher import Launcher, Work
from taskflow_controller.serve.metrics import Metrics, Outcome
from taskflow_controller.triggers.causes import Cause

T = TypeVar("T")
logger = logging.getLogger(__name__)

_REQUESTS_AT_ONCE = 8  # for the resources of one batch, each of which has its own status and finalizer

_REQUEST_ERRORS = (ApiException, urllib3.exceptions.HTTPError)

# If the resource is gone, the informer will see that, and the wait ends. But an API server that has just started may
# not know a kind yet, and then no event would follow.
_NOT_FOUND = Next(Outcome.SUCCESS, delay=60.0, cause=Cause.event("it was not found"))


class Reconciler:
    """Serves resources with their watch's playbook. Several threads call it, but only one at a time for a resource.

    Args:
        launcher: starts the runs.
        objects: changes the resources.
        overrides: has the settings of each resource.
        cancelled: returns true if the controller is about to end, so that it must not wait.
        metrics: counts runs.
    """

    def __init__(
        self,
        launcher: Launcher,
        objects: Objects,
        overrides: Overrides,
        *,
        cancelled: Callable[[], bool],
        metrics: Metrics | None = None,
    ) -> None:
        self._launcher, self._overrides, self._metrics = launcher, overrides, metrics
        self._cancelled = cancelled
        self._finalizers = FinalizerKeeper(objects, cancelled)
        self._status = StatusWriter(objects, cancelled)
        self._pool = ThreadPoolExecutor(_REQUESTS_AT_ONCE, thread_name_prefix="batch")
        self._history = RunHistory()
        self._finalized: dict[ResourceKey, str] = {}  # uids of finalized resources, until they are seen to be gone

    def reconcile(self, watch: Watch, works: Sequence[Work]) -> dict[ResourceKey, Next]:
        """Serve resources of one watch, in one run if possible, and return what follows for each.

        Args:
            watch: their watch.
            works: the resources.
        """
        if self._cancelled():  # this replica may no longer lead, so nothing may be begun or written
            return _put_off(works)
        following: dict[ResourceKey, Next] = {}
        ready: list[Work] = []
        for work, prepared in zip(works, self._each(watch, works, self._prepare), strict=True):
            if isinstance(prepared, Next):
                following[work.key] = prepared
            elif prepared.finalizing:
                following.update(self._serve(watch, [prepared]))
            else:
                ready.append(prepared)
        if ready:
            following.update(self._serve(watch, ready))
        return following

    def kept(self, gvk: GroupVersionKind) -> list[ResourceKey]:
        """Return the resources of a kind for which something is kept, whether they still exist or not."""
        return self._launcher.kept(gvk)

    def clean_up(self, key: ResourceKey) -> None:
        """Remove everything that is kept for a resource that is gone."""
        self._overrides.forget(key)
        self._history.forget(key)
        self._finalized.pop(key, None)
        self._launcher.clean_up(key)
        logger.info("resource is gone; its directory was removed", extra={"resource": str(key)})

    def _prepare(self, watch: Watch, work: Work) -> Work | Next:
        """Write finalizer and status as they must be before a run; return the work with the changed object."""
        key, latest = work.key, work.obj
        step = next_step(watch.finalizer, latest)
        if step is Step.ADD and watch.finalizer:
            try:
                added = self._finalizers.add(key, latest, watch.finalizer.name)
            except _REQUEST_ERRORS as exc:
                problem = f"the finalizer {watch.finalizer.name} could not be added"
                return self._without_run(watch, work, f"{problem}: {plain_cause(exc)}")
            if added is None:
                return _NOT_FOUND
            latest, step = added, next_step(watch.finalizer, added)
        if step is Step.LEAVE or (key, latest["metadata"].get("uid")) in self._finalized.items():
            logger.debug("resource is being deleted; there is nothing to do", extra={"resource": str(key)})
            return NOTHING
        if watch.manage_status:
            marked = self._status.started(key, latest)
            if marked is None:
                return _NOT_FOUND
            latest = marked
        warning = self._history.note(key, latest["metadata"].get("generation"), work.causes)
        if warning:
            logger.warning(warning, extra={"resource": str(key)})
        return Work(key, latest, work.causes, finalizing=step is Step.FINALIZE)

    def _serve(self, watch: Watch, works: Sequence[Work]) -> dict[ResourceKey, Next]:
        """Run once for all these resources. One that is being finalized must come alone."""
        if self._cancelled():  # it may have happened while finalizer and status were written
            return _put_off(works)
        keys = [work.key for work in works]
        run_log.log_start({work.key: work.causes for work in works}, finalizing=works[0].finalizing)
        result = self._launcher.run(watch, works)
        ended = datetime.datetime.now(datetime.UTC)
        reached = verdicts(result, keys)
        run_log.log_end(keys, result, reached)
        if self._metrics:
            self._metrics.run_ended(watch.gvk, result.duration, len(works), warm=result.warm)
        following = self._each(watch, works, lambda _, work: self._finish(watch, work, reached[work.key], ended))
        return dict(zip(keys, following, strict=True))

    def _each(self, watch: Watch, works: Sequence[Work], do: Callable[[Watch, Work], T]) -> list[T]:
        """Do something for each work; for several at once if that sends requests."""
        if len(works) == 1 or not (watch.manage_status or watch.finalizer):
            return [do(watch, work) for work in works]
        return list(self._pool.map(lambda work: do(watch, work), works))

    def _finish(self, watch: Watch, work: Work, verdict: Verdict, ended: datetime.datetime) -> Next:
        """Write the verdict, and remove the finalizer if its run has succeeded; return what follows."""
        latest = work.obj
        if work.finalizing and verdict.successful and watch.finalizer:
            try:
                left = self._finalizers.remove(work.key, latest, watch.finalizer.name)
            except _REQUEST_ERRORS as exc:
                problem = f"the finalizer {watch.finalizer.name} could not be removed: {plain_cause(exc)}"
                logger.error(problem, extra={"resource": str(work.key)})
                verdict = Verdict(False, problem, counts=verdict.counts, retry="its finalizer was not removed")
            else:
                self._finalized[work.key] = work.obj["metadata"].get("uid")
                if left is None or not finalizers_of(left):
                    return NOTHING
                latest = left
        if watch.manage_status:
            verdict = self._write_ending(work.key, latest, verdict, ended)
        if work.finalizing and verdict.successful:
            return NOTHING
        return plan_next(verdict, self._overrides.settings(watch, work.key, work.obj).reconcile_period)

    def _write_ending(self, key: ResourceKey, latest: Object, verdict: Verdict, ended: datetime.datetime) -> Verdict:
        unchanged = verdict.cancelled or self._cancelled()
        written = self._status.ended(key, latest, verdict, ended, only_if_unchanged=unchanged)
        if written or not verdict.successful:
            return verdict
        return Verdict(False, counts=verdict.counts, retry="its status was not written")

    def _without_run(self, watch: Watch, work: Work, problem: str) -> Next:
        """Write to the log and the status why there is no run; return another attempt."""
        logger.error(problem, extra={"resource": str(work.key)})
        verdict = Verdict(False, problem)
        if watch.manage_status:
            self._write_ending(work.key, work.obj, verdict, datetime.datetime.now(datetime.UTC))
        return plan_next(verdict, 0)


def _put_off(works: Sequence[Work]) -> dict[ResourceKey, Next]:
    return {work.key: Next(Outcome.REQUEUE, retry="the controller's end") for work in works}
