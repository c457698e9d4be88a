"""Connects informers -> routing -> work queue -> workers, each with one run at a time."""

import functools
import logging
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from taskflow_controller.config.watches import DependentWatch, Watch
from taskflow_controller.kube.api import ApiServer
from taskflow_controller.kube.informers import Change, ResourceInformer, WatchedKind, for_namespaces, stuck_watches
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey
from taskflow_controller.kube.store import Store
from taskflow_controller.kube.work_queue import WorkItem, WorkQueue
from taskflow_controller.reconcile.dependent_finalizers import DependentFinalizers, Rule
from taskflow_controller.reconcile.leftovers import LeftoverSearch
from taskflow_controller.reconcile.own_changes import is_own_change
from taskflow_controller.reconcile.reconciler import Reconciler
from taskflow_controller.reconcile.verdicts import Next
from taskflow_controller.runs.launcher import Work
from taskflow_controller.serve.metrics import Metrics, Outcome
from taskflow_controller.triggers.causes import Cause, Causes
from taskflow_controller.triggers.dependents import DependentKinds
from taskflow_controller.triggers.predicates import FINALIZERS, keep_only
from taskflow_controller.triggers.routing import Router, Routes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How many runs may go on at once.

    Attributes:
        max_concurrent: the limit of each kind that has none of its own.
        max_total: the limit of all kinds together. None: twice the number of CPUs, because a run waits for the API
            server about as long as it computes, or the highest limit of a kind if that is more.
    """

    max_concurrent: int
    max_total: int | None = None

    def for_watch(self, watch: Watch) -> int:
        """Return how many runs of a watch may go on at once."""
        return watch.max_concurrent or self.max_concurrent

    def workers(self, watches: Sequence[Watch]) -> int:
        """Return how many runs may go on at once, but no more than the limits of the watches allow."""
        each = [self.for_watch(watch) for watch in watches]
        return min(sum(each), self.max_total or max(2 * (os.cpu_count() or 1), *each))


class Controller:
    """Watches the resources and runs their playbooks.

    ``start_informers`` and ``start_workers`` are separate, because a standby replica watches but does not work.

    Args:
        api: the API server.
        watches: what to watch, and what to run.
        reconciler: serves the resources.
        limits: how many runs may go on at once.
        namespaces: where to watch; empty for everywhere.
        finalizers: takes the finalizers off dependents whose owner is gone.
        metrics: counts what happens.

    Attributes:
        queue: the resources that need a run.
        informers: those of the kinds in the watches file.
        dependents: watches the kinds that playbooks turn out to use.
    """

    def __init__(
        self,
        api: ApiServer,
        watches: Sequence[Watch],
        reconciler: Reconciler,
        limits: Limits,
        namespaces: tuple[str, ...] = (),
        *,
        finalizers: DependentFinalizers,
        metrics: Metrics | None = None,
    ) -> None:
        self._reconciler, self._finalizers = reconciler, finalizers
        self._watches = {watch.gvk: watch for watch in watches}
        kind_limits = {watch.gvk: limits.for_watch(watch) for watch in watches}
        self._metrics = metrics or Metrics(kind_limits)
        group_limits: Mapping[Hashable, int] = dict(kind_limits.items())
        self.queue: WorkQueue[ResourceKey, Cause] = WorkQueue(
            lambda key: key.gvk,
            group_limits,
            observer=self._metrics,
            batches={watch.gvk: watch.batch for watch in watches},
        )
        self.informers: list[ResourceInformer] = []
        self._stores = {watch.gvk: Store() for watch in watches}
        self._routers = {watch.gvk: Router(watch, self._stores[watch.gvk], is_own_change) for watch in watches}
        self.dependents = DependentKinds(api, namespaces, self._used_kind_changed)
        primaries = []
        for watch in watches:
            primary = self._watch_primary(api, watch, namespaces)
            primaries.append(primary)
            for dependent in watch.dependents:
                self._watch_dependent(api, watch, dependent, primary, namespaces)
        self._leftovers = LeftoverSearch(primaries, reconciler, self.queue.add)
        self._workers = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(limits.workers(watches))
        ]
        self._working = False
        # The queue of a standby replica fills, too, but no worker takes from it.
        self._metrics.show_queue(lambda: self.queue.state() if self._working else {})
        self._metrics.show_resources(self._resources)
        self._metrics.show_watches(self._failing_watches)

    def start_informers(self) -> None:
        """Begin to watch, and to queue the resources that need a run."""
        for informer in self.informers:
            informer.start()

    def start_workers(self) -> None:
        """Begin to take resources from the queue."""
        self.queue.restart_waits()
        self._working = True
        for worker in self._workers:
            worker.start()
        self._finalizers.start()
        self._leftovers.start()

    def shut_down(self, timeout: float) -> bool:
        """Start no more runs, and wait up to ``timeout`` seconds for the others. Return whether all have ended."""
        self._leftovers.stop()
        self._finalizers.shut_down()
        self.queue.shut_down()
        return self.queue.drain(timeout)

    def stop_informers(self) -> None:
        """Stop watching. Does not wait for requests that are under way."""
        self.dependents.stop()
        for informer in self.informers:
            informer.stop()

    def informer_problem(self) -> str | None:
        """Return which informers lack their first list, and why; None if all have it.

        The kinds that playbooks turn out to use don't count: work goes on without them, and the log has the reason.
        """
        missing = [informer for informer in self.informers if not informer.synced]
        causes = (f"{informer}: {informer.trouble or 'listing'}" for informer in missing)
        return f"not synced: {'; '.join(causes)}" if missing else None

    def watch_problem(self) -> str | None:
        """Return which kinds in the watches file could not be watched for long, and why; None if there is none."""
        return stuck_watches(self.informers)

    def thread_problem(self) -> str | None:
        """Return which started threads have ended, or None if all are alive."""
        dead = [str(informer) for informer in self._all_informers() if not informer.alive]
        started = (worker for worker in self._workers if worker.ident is not None)
        dead += [worker.name for worker in started if not worker.is_alive()]
        dead += filter(None, [self._finalizers.problem()])
        return f"not running: {', '.join(dead)}" if dead else None

    def _all_informers(self) -> list[ResourceInformer]:
        return self.informers + self.dependents.informers()

    def _resources(self) -> Iterator[tuple[GroupVersionKind, Object]]:
        for gvk, store in self._stores.items():
            for obj in store.outlines():
                yield gvk, obj

    def _failing_watches(self) -> Iterator[tuple[GroupVersionKind, str, bool]]:
        for informer in self._all_informers():
            yield informer.gvk, informer.namespace or "", informer.trouble is not None

    def _watch_primary(self, api: ApiServer, watch: Watch, namespaces: tuple[str, ...]) -> WatchedKind:
        kind = for_namespaces(
            api,
            watch.gvk,
            namespaces,
            on_change=functools.partial(self._primary_changed, watch),
            store=self._stores[watch.gvk],
            label_selector=watch.selector,
        )
        if not watch.selector:
            self.dependents.share(kind)
        self.informers += kind.informers
        return kind

    def _watch_dependent(
        self,
        api: ApiServer,
        watch: Watch,
        dependent: DependentWatch,
        primary: WatchedKind,
        namespaces: tuple[str, ...],
    ) -> None:
        router, store, fields = self._routers[watch.gvk], Store(), dependent.fields
        held: Callable[[Change], None] | None = None
        if dependent.finalizer:
            owners = self._stores[watch.gvk]
            rule = Rule(
                dependent.finalizer,
                dependent.gvk,
                watch.gvk,
                owners,
                lambda: primary.synced,
                store,
                dependent.label_selector,
                namespaces,
            )
            held, fields = self._finalizers.add(rule), fields and (*fields, FINALIZERS)

        def changed(change: Change) -> None:
            if held:
                held(change)
            self._enqueue(router.dependent(dependent, change))

        kind = for_namespaces(
            api,
            dependent.gvk,
            namespaces,
            on_change=changed,
            store=store,
            label_selector=dependent.label_selector,
            trim=functools.partial(keep_only, fields=fields),
        )
        self.informers += kind.informers

    def _primary_changed(self, watch: Watch, change: Change) -> None:
        self._finalizers.owner_changed(change)
        if not watch.selector:
            self.dependents.changed(watch.gvk, change)
        self._enqueue(self._routers[watch.gvk].primary(change))

    def _used_kind_changed(self, watch: Watch, change: Change) -> None:
        self._enqueue(self._routers[watch.gvk].used_kind(change))

    def _enqueue(self, routes: Routes) -> None:
        # Deletions, too, so that a directory is not removed while a run uses it.
        for key, cause in routes:
            self.queue.add(key, cause)

    def _work(self) -> None:
        while (items := self.queue.get()) is not None:
            keys = [item.key for item in items]
            try:
                self._process(items)
            except Exception:  # a bug in handling some resources must not stop the others
                text = "bug: a reconcile ended with an error and will be tried again"
                logger.exception(text, extra={"resources": [str(key) for key in keys]})
                for key in keys:
                    self._metrics.reconciled(key.gvk, Outcome.ERROR)
                    self._retry(key, "an internal error")
            finally:
                self.queue.done(*keys)

    def _process(self, items: Sequence[WorkItem[ResourceKey, Cause]]) -> None:
        works = []
        for item in items:
            key = item.key
            self.queue.cancel_delayed(key)
            obj = self._stores[key.gvk].get(key.namespace, key.name)
            if obj is None:
                self.queue.forget(key)
                self._reconciler.clean_up(key)
            else:
                works.append(Work(key, obj, Causes(item.reasons, item.more)))
        for key, following in self._reconciler.reconcile(self._watches[items[0].key.gvk], works).items():
            self._follow(key, following)

    def _follow(self, key: ResourceKey, following: Next) -> None:
        self._metrics.reconciled(key.gvk, following.outcome)
        if following.retry is not None:
            self._retry(key, following.retry)
            return
        self.queue.forget(key)
        if following.delay is not None:
            self.queue.add_after(key, following.delay, following.cause)

    def _retry(self, key: ResourceKey, after: str) -> None:
        self.queue.add_rate_limited(key, Cause.retry(self.queue.failures(key) + 1, after))
