"""Writes the conditions of the resources whose status is managed, and leaves other keys of the status alone."""

import datetime
import logging
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import MERGE_PATCH, plain_cause
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey
from taskflow_controller.kube.objects import Objects, Patch, PatchFor, Patience, is_conflict, is_passing
from taskflow_controller.reconcile import conditions
from taskflow_controller.reconcile.conditions import conditions_of
from taskflow_controller.reconcile.verdicts import Verdict

logger = logging.getLogger(__name__)

ENDING_PATIENCE = 60.0  # seconds for which writing a verdict is retried while the API server fails


class StatusWriter:
    """Writes conditions, and only if they have changed. Thread-safe.

    Args:
        objects: changes the resources.
        hurry: returns true if the controller is about to end, so that it must not wait.
    """

    def __init__(self, objects: Objects, hurry: Callable[[], bool]) -> None:
        self._objects, self._hurry = objects, hurry
        self._without_status: set[GroupVersionKind] = set()

    def started(self, key: ResourceKey, obj: Object) -> Object | None:
        """Write to the status that a run begins, and return the object; None if the object is gone.

        A failure is only logged, because the run can go on without it.

        Args:
            key: the resource.
            obj: how it was last seen.
        """
        now = datetime.datetime.now(datetime.UTC)
        change = _change(lambda known: conditions.started(known, now))
        try:
            return self._write(key, obj, change, Patience(0))
        except (ApiException, urllib3.exceptions.HTTPError) as exc:
            logger.warning(
                "cannot write to the status that a run begins: %s", plain_cause(exc), extra={"resource": str(key)}
            )
            return obj

    def ended(
        self,
        key: ResourceKey,
        obj: Object,
        verdict: Verdict,
        completed: datetime.datetime,
        *,
        only_if_unchanged: bool = False,
    ) -> bool:
        """Write a verdict to the status.

        If the API server refuses it for good, the error is only logged, because another run would change nothing.

        Args:
            key: the resource.
            obj: how it was last seen.
            verdict: how its run ended.
            completed: when, in UTC.
            only_if_unchanged: drop the verdict if the object has changed, because another replica may work on it.

        Returns:
            False, after an error in the log, if the API server did not answer in time.
        """
        change = _change(lambda known: conditions.ended(known, verdict, completed))
        if only_if_unchanged:
            change = _unless_changed(obj, change)
        try:
            self._write(key, obj, change, Patience(ENDING_PATIENCE, self._hurry))
        except (ApiException, urllib3.exceptions.HTTPError) as exc:
            words = "success" if verdict.successful else f"failure: {verdict.message}"
            fields = {"resource": str(key), "verdict": words}
            logger.error("cannot write the status: %s", plain_cause(exc), extra=fields)
            return not (is_passing(exc) or is_conflict(exc))
        return True

    def _write(self, key: ResourceKey, obj: Object, patch_for: PatchFor, patience: Patience) -> Object | None:
        written = self._objects.change(key.gvk, obj, patch_for, patience)
        if written is not None and not conditions_of(written) and key.gvk not in self._without_status:
            self._without_status.add(key.gvk)
            logger.warning("%s keeps no conditions in its status; set manageStatus to false in its watch", key.gvk)
        return written


def _change(make: Callable[[list[Any]], list[Any]]) -> PatchFor:
    """Return the change of an object's conditions to those that ``make`` makes of them."""

    def patch(obj: Object) -> Patch | None:
        known = conditions_of(obj)
        wanted = make(known)
        if wanted == known:
            return None
        # A merge patch replaces the whole list, so it must apply only if the object has not changed since.
        metadata = {name: obj["metadata"].get(name) for name in ("uid", "resourceVersion")}
        return Patch({"metadata": metadata, "status": {"conditions": wanted}}, MERGE_PATCH, status=True)

    return patch


def _unless_changed(obj: Object, patch_for: PatchFor) -> PatchFor:
    version = obj["metadata"].get("resourceVersion")
    return lambda known: patch_for(known) if known["metadata"].get("resourceVersion") == version else None
