"""Records every version that the API server has of a namespace's Tasks and Pods."""

from __future__ import annotations

import threading
import time

from support.faults.api_server import TASKS, ApiServer
from support.faults.history import Change
from support.kubectl import Object


class Recorder:
    """Two watches in threads of their own. They end with this process.

    ``problem`` is set when a watch could not go on, and versions may have been missed.
    """

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self.problem = ""
        self._changed = threading.Condition()
        self._changes: dict[str, list[Change]] = {"tasks": [], "pods": []}
        for plural, group in (("tasks", TASKS), ("pods", "api/v1")):
            path = f"{group}/namespaces/{namespace}/{plural}"
            threading.Thread(target=self._record, args=(plural, path), name=f"record {path}", daemon=True).start()

    def changes(self, plural: str) -> list[Change]:
        """Return all changes of a kind till now."""
        with self._changed:
            return list(self._changes[plural])

    def now(self, plural: str) -> dict[str, Object]:
        """Return the objects of a kind that there are now, by their names."""
        found: dict[str, Object] = {}
        for change in self.changes(plural):
            name = change["object"]["metadata"]["name"]
            if change["type"] == "DELETED":
                found.pop(name, None)
            else:
                found[name] = change["object"]
        return found

    def wait(self, seconds: float) -> None:
        """Wait until something changes, or for so long."""
        with self._changed:
            self._changed.wait(seconds)

    def _record(self, plural: str, path: str) -> None:
        version = ""
        while not self.problem:
            try:
                version = version or self._api.request("GET", path)["metadata"]["resourceVersion"]
                version = self._follow(plural, path, version)
            except OSError:  # the server was away for a moment
                time.sleep(0.5)
            except Exception as error:
                self.problem = f"the watch of {path} ended: {error}"

    def _follow(self, plural: str, path: str, version: str) -> str:
        """Record one watch to its end, and return the version to go on from."""
        for event in self._api.watch(path, version):
            if event["type"] == "ERROR":
                raise RuntimeError(str(event["object"]))
            version = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "BOOKMARK":
                with self._changed:
                    self._changes[plural].append({**event, "at": time.monotonic()})
                    self._changed.notify_all()
        return version
