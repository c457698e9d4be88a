"""Tasks on a real cluster: what the order of the steps costs, and how fast one step follows another."""

from __future__ import annotations

import datetime
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

from measurement import Figure, NotMeasuredError, Part, Target, in_turn
from raw_api import Object, RawApi
from setting import Setting

IMAGE = "busybox:1.28"
ROUNDS = 3
WAIT = 300
FINAL = ("Successful", "Failure", "Cancelled")
NOOP_STEPS = 20

ORDERED = Figure("20 no-op steps, against one raw Pod with the same containers", "x", Target(1.15))
ORDERED_SECONDS = Figure("20 no-op steps", "s")
RAW_SECONDS = Figure("one raw Pod with 20 containers", "s")
HAND_OFF = Figure("hand-off: a step's end to the next one's command", "ms, median", Target(10))
HAND_OFF_WORST = Figure("hand-off: 99 of 100 are no longer than", "ms")
MODES = Figure("4 steps of 200 ms: Local, against Annotation", "x faster", Target(2.5, at_least=True))
LOCAL_SECONDS = Figure("4 steps of 200 ms, Local", "s")
ANNOTATION_SECONDS = Figure("4 steps of 200 ms, Annotation", "s")


def _noops(setting: Setting) -> Iterator[tuple[str, float]]:
    containers = [{"name": f"s{n:02}", "image": IMAGE, "command": ["true"]} for n in range(NOOP_STEPS)]
    tasks: list[Object] = []
    with setting.namespace() as namespace:

        def once(kind: str) -> float:
            if kind == "raw":
                return _run_pod(setting.cluster, namespace, containers)
            seconds, task = _run_task(setting.cluster, namespace, {"steps": containers})
            tasks.append(task)
            return seconds

        seconds = in_turn(("ordered", "raw"), ROUNDS, once)
    ordered, raw = statistics.median(seconds["ordered"]), statistics.median(seconds["raw"])
    yield ORDERED_SECONDS.name, ordered
    yield RAW_SECONDS.name, raw
    yield ORDERED.name, ordered / raw
    gaps = [gap for task in tasks for gap in hand_offs(task)]
    yield HAND_OFF.name, statistics.median(gaps)
    yield HAND_OFF_WORST.name, statistics.quantiles(gaps, n=100)[98]


def _modes(setting: Setting) -> Iterator[tuple[str, float]]:
    steps = [{"name": f"s{n}", "image": IMAGE, "command": ["sleep", "0.2"]} for n in range(4)]
    with setting.namespace() as namespace:

        def once(handoff: str) -> float:
            return _run_task(setting.cluster, namespace, {"steps": steps, "handoff": handoff})[0]

        seconds = in_turn(("Local", "Annotation"), ROUNDS, once)
    local, annotation = statistics.median(seconds["Local"]), statistics.median(seconds["Annotation"])
    yield LOCAL_SECONDS.name, local
    yield ANNOTATION_SECONDS.name, annotation
    yield MODES.name, annotation / local


def hand_offs(task: Object) -> list[float]:
    """Return the milliseconds from each step's end to the next one's begin, by the agents' own clocks."""
    steps = task["status"]["steps"]
    times = [tuple(datetime.datetime.fromisoformat(s[key]) for key in ("startedAt", "finishedAt")) for s in steps]
    return [(after[0] - before[1]).total_seconds() * 1000 for before, after in itertools.pairwise(times)]


def _run_task(api: RawApi, namespace: str, spec: Object) -> tuple[float, Object]:
    path = f"/apis/api.practice.com/v1alpha1/namespaces/{namespace}/tasks"
    body = {"apiVersion": "api.practice.com/v1alpha1", "kind": "Task", "metadata": {"generateName": "t-"}, "spec": spec}
    seconds, task = _until(api, path, body, lambda task: task.get("status", {}).get("status") in FINAL)
    if task["status"]["status"] != "Successful":
        raise NotMeasuredError(f"a Task failed: {task['status']['conditions']}")
    return seconds, task


def _run_pod(api: RawApi, namespace: str, containers: list[Object]) -> float:
    spec = {"containers": containers, "restartPolicy": "Never", "automountServiceAccountToken": False}
    body = {"metadata": {"generateName": "raw-"}, "spec": spec}
    path = f"/api/v1/namespaces/{namespace}/pods"
    seconds, pod = _until(api, path, body, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"))
    if pod["status"]["phase"] != "Succeeded":
        raise NotMeasuredError(f"the raw Pod failed: {pod['status']}")
    return seconds


def _until(api: RawApi, path: str, body: Object, ended: Callable[[Object], bool]) -> tuple[float, Object]:
    """Create an object; return the seconds until a watch has shown its end, and the object."""
    start = time.perf_counter()
    made = api.create(path, body)
    for event in api.watch(path, made["metadata"]["resourceVersion"], seconds=WAIT):
        if event["object"]["metadata"].get("uid") == made["metadata"]["uid"] and ended(event["object"]):
            return time.perf_counter() - start, event["object"]
    raise NotMeasuredError(f"{path}/{made['metadata']['name']} has not ended in {WAIT} s")


STEPS = Part("steps", (ORDERED, ORDERED_SECONDS, RAW_SECONDS, HAND_OFF, HAND_OFF_WORST), _noops)
HANDOFF_MODES = Part("modes", (MODES, LOCAL_SECONDS, ANNOTATION_SECONDS), _modes)
