# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Have a Task or a Build as a playbook wants it, and wait for what comes of it."""

from __future__ import annotations

import dataclasses
import time
import typing as t

from .._contract import Object
from .._errors import ALREADY_EXISTS, CONFLICT, NOT_FOUND, TaskError
from .._kube.client import Api
from .._kube.kind import POD, Kind
from .wanted import dropped_fields, failed_step, has_ended, has_succeeded, merged, message_of, outline, state_of

# How often a change is tried while others, such as the operator with its status, change the resource too.
TRIES = 10
# Seconds between two looks at a resource that is waited for.
PAUSE = 1.0


def log_of(api: Api, resource: Object, step: str, lines: int) -> list[str]:
    """Return the last lines of a step's log; none where there is no such log any more."""
    namespace, status = resource["metadata"]["namespace"], resource.get("status") or {}
    try:
        pod = status.get("podName") or _pod_of_job(api, namespace, status["jobName"])
        query = {"container": step, "tailLines": str(lines)}
        log = api.send(f"read the log of step {step}", "GET", POD.path(namespace, pod, "log"), query)
        return log.decode(errors="replace").splitlines()
    except (TaskError, KeyError, ValueError):
        return []


def _pod_of_job(api: Api, namespace: str, job: str) -> str:
    """Return the name of a Job's last Pod. Raises ValueError: there is none."""
    pods = api.list_all(POD, namespace, "a Job's Pods", labels=f"job-name={job}")
    metadata = max((pod["metadata"] for pod in pods), key=lambda m: m["creationTimestamp"])
    return str(metadata["name"])


def _uid(resource: Object) -> str:
    return str(resource["metadata"]["uid"])


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What a playbook wants of one resource.

    Each method returns a module's result, or raises TaskError.

    Args:
        api: sends the requests.
        kind: the resource's kind.
        check_mode: True to change nothing. The API server is asked whether it would take a change.
    """

    api: Api
    kind: Kind[Object]
    check_mode: bool

    def present(self, wanted: Object) -> Object:
        """Have the resource with this spec, these labels and these annotations.

        The API server fills in defaults and drops what its schema does not have. So what it makes of the wanted
        resource is compared, not what was sent; an update that changes nothing is none to it.
        """
        metadata = wanted["metadata"]
        for _try in range(TRIES):
            live = self.api.get(self.kind, metadata["namespace"], metadata["name"])
            self._check_life(live)
            try:
                if live is None:
                    after = self.api.create(self.kind, wanted, self.check_mode)
                else:
                    after = self.api.replace(self.kind, merged(live, wanted), self.check_mode)
            except TaskError as error:
                # Gone since; where it was not there before, it is its namespace that is not there.
                is_gone = error.reason == NOT_FOUND and live is not None
                if error.reason not in (CONFLICT, ALREADY_EXISTS) and not is_gone:
                    raise
                continue
            return self._result(live, after, list(dropped_fields(wanted["spec"], after["spec"], "spec")))
        raise TaskError(CONFLICT, f"{self._called(wanted)} was changed by others each of {TRIES} times: try again")

    def absent(self, wanted: Object, timeout: float | None = None) -> Object:
        """Have no such resource, and with a timeout wait until it is gone.

        Raises:
            TaskError: Timeout: it is still there after so many seconds.
        """
        metadata = wanted["metadata"]
        live = self.api.get(self.kind, metadata["namespace"], metadata["name"])
        if live is not None and not self.check_mode:
            self.api.delete(self.kind, live)
            if timeout is not None:
                self._wait(live, lambda found: found is None or _uid(found) != _uid(live), timeout)
        return self._result(live, None, [])

    def wait_for_end(self, resource: Object, timeout: float) -> Object:
        """Return the resource when it has its verdict.

        Raises:
            TaskError: Timeout: it has none after so many seconds; Deleted: it is not there any more.
        """

        def ended(found: Object | None) -> Object | None:
            if found is None or _uid(found) != _uid(resource):
                raise TaskError("Deleted", f"{self._called(resource)} was deleted before its end was seen")
            return found if has_ended(self.kind, found) else None

        return t.cast("Object", self._wait(resource, ended, timeout))

    def failure_of(self, resource: Object, lines: int) -> Object | None:
        """Return what a module that fails returns of a resource that has ended; None of one that succeeded."""
        if has_succeeded(self.kind, resource):
            return None
        message = f"{self._called(resource)} is {state_of(self.kind, resource)}: {message_of(resource)}"
        step = failed_step(resource)
        if step is None:
            return {"msg": message}
        log = log_of(self.api, resource, step, lines) if lines else []
        said = "\n".join([f". The last lines of step {step}:", *log]) if log else ""
        return {"msg": message + said, "failed_step": step, "log": log}

    def _wait(self, resource: Object, test: t.Callable[[Object | None], t.Any], timeout: float) -> t.Any:
        end = time.monotonic() + timeout
        while True:
            found = self.api.get(self.kind, resource["metadata"]["namespace"], resource["metadata"]["name"])
            if value := test(found):
                return value
            if time.monotonic() >= end:
                state = state_of(self.kind, found) if found else "gone"
                words = f"{self._called(resource)} is {state} after {timeout:g} s: {message_of(found or resource)}"
                raise TaskError("Timeout", words)
            time.sleep(PAUSE)

    def _result(self, before: Object | None, after: Object | None, dropped: list[str]) -> Object:
        return {
            "changed": outline(before) != outline(after),
            "resource": after or {},
            "dropped": dropped,
            "diff": {"before": outline(before), "after": outline(after)},
        }

    def _check_life(self, live: Object | None) -> None:
        if live is not None and live["metadata"].get("deletionTimestamp"):
            raise TaskError("Deleting", f"{self._called(live)} is being deleted: try again when it is gone")

    def _called(self, resource: Object) -> str:
        return f"{self.kind.name} {resource['metadata']['namespace']}/{resource['metadata']['name']}"
