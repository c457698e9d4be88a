"""An API server of one object, for the tests of what is written to it."""

import copy
from collections.abc import Callable
from typing import Any

from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube.api import JSON_PATCH, MERGE_PATCH, ApiResource
from taskflow_controller.kube.kinds import GroupVersionKind, Object, ResourceKey

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
KEY = ResourceKey(WIDGET, "ns", "w")
PATH = "/apis/example.com/v1/namespaces/ns/widgets/w"


class ObjectServer:
    """One object with resourceVersion checks; ``refusals`` are raised, or called, before requests are looked at."""

    def __init__(self) -> None:
        self.has_status = True
        self.keeps_status = True
        self.refusals: list[Exception | Callable[[], None]] = []
        self.patches: list[tuple[str, Any]] = []
        self.gone = False
        metadata = {"name": "w", "namespace": "ns", "uid": "u1", "resourceVersion": "1", "generation": 1}
        self.object: Object = {"metadata": metadata, "spec": {}, "status": {"mine": 1}}

    def resource(self, gvk: GroupVersionKind) -> ApiResource:
        return ApiResource("widgets", True, self.has_status)

    def get(self, path: str) -> Object:
        if self.gone or path != PATH:
            raise ApiException(status=404)
        return self.seen()

    def patch(self, path: str, body: Any, content_type: str) -> Object:
        self.patches.append((path, body))
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, Exception):
                raise refusal
            refusal()
        if self.gone or (path.endswith("/status") and not self.has_status):
            raise ApiException(status=404)
        self._apply_json(body) if content_type == JSON_PATCH else self._merge(body, content_type)
        self.touch()
        return self.seen()

    def seen(self) -> Object:
        """The object as a client has it."""
        return copy.deepcopy(self.object)

    def touch(self, **fields: Any) -> None:
        """Another's change."""
        metadata = self.object["metadata"]
        metadata.update(fields, resourceVersion=str(int(metadata["resourceVersion"]) + 1))

    def disappear(self) -> None:
        self.gone = True

    def _merge(self, body: Any, content_type: str) -> None:
        assert content_type == MERGE_PATCH
        metadata = self.object["metadata"]
        if any(body["metadata"][name] != metadata[name] for name in ("uid", "resourceVersion")):
            raise ApiException(status=409)
        if "finalizers" in body["metadata"]:
            metadata["finalizers"] = body["metadata"]["finalizers"]
        if self.keeps_status:
            self.object["status"].update(body.get("status") or {})

    def _apply_json(self, body: Any) -> None:
        finalizers = self.object["metadata"].get("finalizers") or []
        (uid, name, removal) = body
        index = int(removal["path"].removeprefix("/metadata/finalizers/"))
        assert (uid["path"], name["path"], removal["op"]) == ("/metadata/uid", removal["path"], "remove")
        if uid["value"] != self.object["metadata"]["uid"] or finalizers[index : index + 1] != [name["value"]]:
            raise ApiException(status=422)
        del finalizers[index]
        if not finalizers and self.object["metadata"].get("deletionTimestamp"):
            self.gone = True
