"""Changes objects on the API server without undoing what other clients change at the same time.

A function makes the patch from the object as it is. If another client was faster, the function is called again with
the fresh object. An object that is gone needs no patch, which is not an error.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import (
    METADATA_LIST,
    NOT_FOUND,
    PAGE_SIZE,
    ApiResource,
    ApiServer,
    KindNotServedError,
    list_path,
    object_path,
)
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name

CONFLICT, UNPROCESSABLE = 409, 422
_PASSING = {429, 500, 502, 503, 504}
_MAX_CONFLICTS = 20
_FIRST_PAUSE, _MAX_PAUSE = 0.2, 10.0
_SLICE = 0.1  # seconds within which a wait notices that it should end


@dataclass(frozen=True)
class Patch:
    """A patch of an object.

    Attributes:
        body: the patch as JSON.
        content_type: ``api.MERGE_PATCH`` or ``api.JSON_PATCH``.
        status: whether it changes the object's status.
    """

    body: Any
    content_type: str
    status: bool = False


PatchFor = Callable[[Object], Patch | None]
"""Makes the patch for an object as it is, or returns None if the object needs none."""


@dataclass(frozen=True)
class Patience:
    """How long a change is retried while the API server fails.

    Attributes:
        seconds: the longest time.
        hurry: ends the retries early when it returns true.
    """

    seconds: float
    hurry: Callable[[], bool] = lambda: False

    def pauses(self) -> "_Pauses":
        """Return the pauses between the attempts of one change; the time starts now."""
        return _Pauses(self)


class _Pauses:
    def __init__(self, patience: Patience) -> None:
        self._hurry = patience.hurry
        self._end = time.monotonic() + patience.seconds
        self._next = _FIRST_PAUSE

    def wait(self) -> bool:
        """Wait, longer each time; return false if the time is up."""
        until = time.monotonic() + self._next * random.uniform(0.5, 1)
        self._next = min(2 * self._next, _MAX_PAUSE)
        if until > self._end:
            return False
        while time.monotonic() < until and not self._hurry():
            time.sleep(_SLICE)
        return not self._hurry()


class Objects:
    """The objects on the API server. Thread-safe."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._resources: dict[GroupVersionKind, ApiResource] = {}

    def read(self, gvk: GroupVersionKind, obj: Object) -> Object | None:
        """Return an object as it is now, or None if it is gone or another object has its name.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        found = self.find(gvk, *namespace_and_name(obj))
        return found if found and found["metadata"].get("uid") == obj["metadata"].get("uid") else None

    def find(self, gvk: GroupVersionKind, namespace: str, name: str) -> Object | None:
        """Return the object of a name as it is now, or None if there is none, or the API server does not have the kind.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        try:
            return self._api.get(object_path(gvk, self._resource(gvk), namespace, name))
        except KindNotServedError:
            return None
        except ApiException as exc:
            if exc.status == NOT_FOUND:
                return None
            raise

    def metadata_of_all(self, gvk: GroupVersionKind, namespace: str | None) -> Iterator[Object]:
        """Return all objects of a kind, of which the API server sends the metadata only; none if it has no such kind.

        Args:
            gvk: the kind.
            namespace: None for all namespaces.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        try:
            path = list_path(gvk, self._resource(gvk), namespace)
        except KindNotServedError:
            return
        query: dict[str, Any] = {"limit": PAGE_SIZE}
        while True:
            page = self._api.get(path, query, METADATA_LIST)
            yield from page.get("items") or []
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                return

    def change(self, gvk: GroupVersionKind, obj: Object, patch_for: PatchFor, patience: Patience) -> Object | None:
        """Change an object and return the result, or None if the object is gone.

        Args:
            gvk: its kind.
            obj: the object as last known.
            patch_for: makes the patch; called again with the fresh object if another client's write came first.
            patience: how long to try.

        Raises:
            ApiException: the server refuses.
            urllib3.exceptions.HTTPError: there is no answer.
        """
        pauses, conflicts, latest = patience.pauses(), 0, obj
        while True:
            try:
                done, fresh = self._attempt(gvk, latest, patch_for, last=conflicts == _MAX_CONFLICTS)
            except (ApiException, urllib3.exceptions.HTTPError) as exc:
                if not is_passing(exc) or not pauses.wait():
                    raise
                continue
            if done or fresh is None:
                return fresh
            conflicts, latest = conflicts + 1, fresh

    def _attempt(
        self, gvk: GroupVersionKind, known: Object, patch_for: PatchFor, *, last: bool
    ) -> tuple[bool, Object | None]:
        """Return (true, the changed object), or (false, the fresh object) if another client's change came first."""
        patch = patch_for(known)
        if patch is None:
            return True, known
        try:
            return True, self._patch(gvk, known, patch)
        except KindNotServedError:
            return True, None
        except ApiException as exc:
            if last or exc.status not in (NOT_FOUND, CONFLICT, UNPROCESSABLE):
                raise
            refusal = exc
        if refusal.status == NOT_FOUND:
            self._resources.pop(gvk, None)  # a kind that has lost its status subresource answers so, too
        fresh = self.read(gvk, known)
        if refusal.status == UNPROCESSABLE and fresh is not None and _version(fresh) == _version(known):
            raise refusal  # not an outdated test in a JSON patch, but a patch that is never accepted
        return False, fresh

    def _patch(self, gvk: GroupVersionKind, obj: Object, patch: Patch) -> Object:
        resource = self._resource(gvk)
        path = object_path(gvk, resource, *namespace_and_name(obj))
        if patch.status and resource.has_status:
            path += "/status"
        return self._api.patch(path, patch.body, patch.content_type)

    def _resource(self, gvk: GroupVersionKind) -> ApiResource:
        if gvk not in self._resources:
            self._resources[gvk] = self._api.resource(gvk)
        return self._resources[gvk]


def _version(obj: Object) -> Any:
    return obj["metadata"].get("resourceVersion")


def is_passing(exc: ApiException | urllib3.exceptions.HTTPError) -> bool:
    """Return whether a request may succeed if repeated: there was no answer, or its status says so."""
    return not isinstance(exc, ApiException) or not exc.status or exc.status in _PASSING


def is_conflict(exc: BaseException) -> bool:
    """Return whether a request was refused because another client's came first."""
    return isinstance(exc, ApiException) and exc.status == CONFLICT
