"""The controller under load, on a private control plane: one event, a burst of Tasks, and memory at rest."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator, Sequence

from load import SOON, Stage, TaskWatch
from measurement import Figure, Part, Target, percentile
from process_usage import Sampler, shared_memory_once, usage
from setting import Setting

EVENTS = 20
BURST_TASKS = 500
IDLE_TASKS = 1000
IDLE_SECONDS = 20
PAUSE = 0.5  # seconds after an event: what follows a Pod's making is no part of the next one

REACTION = Figure("one Task, an idle controller: until its Pod is made", "ms, median")
REACTION_WORST = Figure("the same, the longest of 20", "ms")

QUEUE_RATE = Figure("500 Tasks wait: reconciles per second until all have their Pods", "1/s", Target(50, at_least=True))
QUEUE_CORES = Figure("500 Tasks wait: cores in use by controller and API server", "cores", Target(2))
QUEUE_CONTROLLER = Figure("500 Tasks wait: of these the controller's", "cores")

RATE = Figure("burst: reconciles per second, until 500 Tasks have ended", "1/s", Target(50, at_least=True))
CORES = Figure("burst: cores in use by controller and API server", "cores", Target(2))
CONTROLLER_CORES = Figure("burst: of these the controller's", "cores")
RECONCILES = Figure("burst: reconciles per Task", "")
BURST_SECONDS = Figure("burst: from the first Task's making to the last verdict", "s")
POD_50 = Figure("burst: from a Task to its Pod, half are no longer than", "s")
POD_99 = Figure("burst: from a Task to its Pod, 99 of 100", "s")
VERDICT_50 = Figure("burst: from a Task to its verdict, half are no longer than", "s")
VERDICT_99 = Figure("burst: from a Task to its verdict, 99 of 100", "s")
PEAK = Figure("burst: the controller's memory at most", "MB RSS")

IDLE_RSS = Figure("controller at rest with 1000 finished Tasks", "MB RSS", Target(250))
IDLE_PSS = Figure("the same, with shared pages counted once", "MB PSS")
IDLE_CPU = Figure("the same: processor time", "% of a core")


def _event(setting: Setting) -> Iterator[tuple[str, float]]:
    stage = Stage(setting, "bench-event")
    with TaskWatch(stage.api, stage.namespace) as watch, stage.controller():
        for number in range(EVENTS + 1):
            name = f"one-{number}"
            watch.make(name)
            stage.wait(lambda: len(watch.reacted) == len(watch.made), f"the Pod of {name}", SOON)
            time.sleep(PAUSE)
    times = [seconds * 1000 for seconds in watch.spans(watch.reacted)][1:]  # the first one warms up
    yield REACTION.name, statistics.median(times)
    yield REACTION_WORST.name, max(times)


def _queue(setting: Setting) -> Iterator[tuple[str, float]]:
    stage = Stage(setting, "bench-queue")
    with TaskWatch(stage.api, stage.namespace) as watch:
        watch.make_many([f"queued-{number:04}" for number in range(BURST_TASKS)])
        with stage.controller() as controller:
            # From the first Pod on: how long the controller takes to start is another matter.
            stage.wait(lambda: bool(watch.reacted), "the first Pod", SOON)
            before, began = controller.reconciles(), time.monotonic()
            with Sampler({"controller": [controller.process.pid], "api": stage.server_pids()}) as sampler:
                stage.wait(lambda: len(watch.reacted) == len(watch.made), "the Pods of all Tasks")
                reconciles, seconds = controller.reconciles() - before, time.monotonic() - began
    yield QUEUE_RATE.name, reconciles / seconds
    yield QUEUE_CORES.name, (sampler.cpu_seconds("controller") + sampler.cpu_seconds("api")) / seconds
    yield QUEUE_CONTROLLER.name, sampler.cpu_seconds("controller") / seconds


def _burst(setting: Setting) -> Iterator[tuple[str, float]]:
    stage = Stage(setting, "bench-burst")
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(TaskWatch(stage.api, stage.namespace))
        controller = stack.enter_context(stage.controller())
        kubelet = stack.enter_context(stage.kubelet())
        groups = {"controller": [controller.process.pid], "api": stage.server_pids(), "kubelet": [kubelet]}
        _make(stage, watch, ["warm-up"])
        watch.forget()
        before = controller.reconciles()
        with Sampler(groups, watch.counts) as sampler:
            began = time.monotonic()
            _make(stage, watch, [f"burst-{number:04}" for number in range(BURST_TASKS)])
            seconds = time.monotonic() - began
        reconciles = controller.reconciles() - before
    setting.series["burst"] = sampler.samples
    yield RATE.name, reconciles / seconds
    yield CORES.name, (sampler.cpu_seconds("controller") + sampler.cpu_seconds("api")) / seconds
    yield CONTROLLER_CORES.name, sampler.cpu_seconds("controller") / seconds
    yield RECONCILES.name, reconciles / BURST_TASKS
    yield BURST_SECONDS.name, seconds
    yield PEAK.name, sampler.peak_rss("controller") / 1e6
    pods, verdicts = watch.spans(watch.reacted), watch.spans(watch.finished)
    yield POD_50.name, percentile(pods, 50)
    yield POD_99.name, percentile(pods, 99)
    yield VERDICT_50.name, percentile(verdicts, 50)
    yield VERDICT_99.name, percentile(verdicts, 99)


def _memory(setting: Setting) -> Iterator[tuple[str, float]]:
    stage = Stage(setting, "bench-memory")
    with TaskWatch(stage.api, stage.namespace) as watch, stage.controller() as controller:
        with stage.kubelet():
            _make(stage, watch, [f"idle-{number:04}" for number in range(IDLE_TASKS)])
        pids = [controller.process.pid]
        time.sleep(IDLE_SECONDS)
        before = usage(pids)
        time.sleep(IDLE_SECONDS)
        after = usage(pids)
        yield IDLE_RSS.name, after.rss / 1e6
        yield IDLE_PSS.name, shared_memory_once(pids) / 1e6
        yield IDLE_CPU.name, (after.cpu - before.cpu) / IDLE_SECONDS * 100


def _make(stage: Stage, watch: TaskWatch, names: Sequence[str]) -> None:
    """Make Tasks as fast as they can be made, and wait until all have their verdict."""
    watch.make_many(names)
    stage.wait(lambda: len(watch.finished) == len(watch.made), f"the verdicts of {len(names)} Tasks")


EVENT = Part("event", (REACTION, REACTION_WORST), _event)
_BURST_FIGURES = (
    RATE,
    CORES,
    CONTROLLER_CORES,
    RECONCILES,
    BURST_SECONDS,
    POD_50,
    POD_99,
    VERDICT_50,
    VERDICT_99,
    PEAK,
)
QUEUE = Part("queue", (QUEUE_RATE, QUEUE_CORES, QUEUE_CONTROLLER), _queue)
BURST = Part("burst", _BURST_FIGURES, _burst)
MEMORY = Part("memory", (IDLE_RSS, IDLE_PSS, IDLE_CPU), _memory)
