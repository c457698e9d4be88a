"""A node without containers: takes Pods that are bound to no node, and moves their statuses through a real API server.

    simulated_kubelet.py KUBECONFIG NAMESPACE [--start SECONDS] [--step SECONDS]

Each Pod is bound, as a scheduler would do it, and gets the reports of pod_life.py, each of them one request. A Pod that
is being deleted is removed. A process of its own, so that what it uses is not counted as anybody else's.
"""

from __future__ import annotations

import argparse
import datetime
import heapq
import itertools
import os
import queue
import sys
import threading
import time

from pod_life import Object, Pace, PodLife
from raw_api import CONFLICT, NOT_FOUND, RawApi, RefusedError

NODE = "simulated"
WRITERS = 4


class SimulatedKubelet:
    """Lives the lives of all Pods that its watch shows, with a few threads that write."""

    def __init__(self, api: RawApi, namespace: str, pace: Pace) -> None:
        self._api, self._namespace, self._pace = api, namespace, pace
        self._seen: set[str] = set()
        self._due: list[tuple[float, int, PodLife]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._lives: queue.SimpleQueue[PodLife] = queue.SimpleQueue()
        self._removals: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until the process ends, or a request fails that should not."""
        for target in [self._hand_out, self._remove, *[self._write] * WRITERS]:
            threading.Thread(target=target, daemon=True).start()
        since = ""
        while True:
            since = self._follow(since)

    def _follow(self, since: str) -> str:
        for event in self._api.watch(f"/api/v1/namespaces/{self._namespace}/pods", since):
            if event["type"] == "ERROR":
                return ""  # too old: from the beginning; what was seen is known
            since = event["object"]["metadata"]["resourceVersion"]
            if event["type"] != "DELETED":
                self._take(event["object"])
        return since

    def _take(self, pod: Object) -> None:
        uid, life = pod["metadata"]["uid"], PodLife(pod, self._pace)
        if pod["metadata"].get("deletionTimestamp"):
            self._removals.put(life.path)
        elif uid not in self._seen and not pod["spec"].get("nodeName"):
            self._seen.add(uid)
            self._lives.put(life)

    def _hand_out(self) -> None:
        """Give the writers each Pod that is due."""
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    self._changed.wait(max(self._due[0][0] - time.monotonic(), 0) if self._due else None)
                self._lives.put(heapq.heappop(self._due)[2])

    def _remove(self) -> None:
        while True:
            self._api.delete(f"{self._removals.get()}?gracePeriodSeconds=0")

    def _write(self) -> None:
        while True:
            life = self._lives.get()
            try:
                if not life.has_begun:
                    self._api.create(f"{life.path}/binding", life.binding(NODE))
                self._api.merge(f"{life.path}/status", {"status": life.report(datetime.datetime.now(datetime.UTC))})
            except RefusedError as exc:
                if exc.status in (NOT_FOUND, CONFLICT):
                    continue  # it is gone, or bound to another node
                raise
            if not life.is_over:
                with self._changed:
                    heapq.heappush(self._due, (time.monotonic() + life.pause, next(self._numbers), life))
                    self._changed.notify()


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description="Moves the statuses of Pods as a kubelet would.")
    parser.add_argument("kubeconfig")
    parser.add_argument("namespace", help="whose Pods it takes")
    parser.add_argument("--start", type=float, default=0.5, metavar="SECONDS", help="between a starting Pod's reports")
    parser.add_argument("--step", type=float, default=0.5, metavar="SECONDS", help="that each step takes")
    options = parser.parse_args()
    threading.excepthook = _end
    api = RawApi(options.kubeconfig, connections=WRITERS + 2)
    SimulatedKubelet(api, options.namespace, Pace(options.start, options.step)).run()


def _end(failure: threading.ExceptHookArgs) -> None:
    """End the process with a thread that fails, so that nobody waits for what will not come."""
    sys.__excepthook__(failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    os._exit(1)


if __name__ == "__main__":
    main()
