"""What must hold of every Task whatever happens to the operator, the API server and the nodes. Pure.

Each invariant takes a history and yields a sentence for each case in which it does not hold.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from support.faults.history import History, PodStory, TaskStory, stories
from support.faults.witness import BEGIN
from support.kubectl import FINAL, Object, alive_at_once, condition, has_ended

ORDER = "taskorder"
MAX_LOSSES = 3
# Seconds from the end of the last fault to the last verdict.
HEALED_WITHIN = 60.0
# Runs of the playbook that a Task of a few steps may cost, with a fault or two. Each change of its Pods is one.
MAX_RUNS = 80


def a_step_begins_once(history: History) -> Iterator[str]:
    """In one Pod a step begins once, and again for each of its own retries."""
    for task, pod in _pods(history):
        for step in pod.steps:
            begins, may = pod.begins(step["name"]), 1 + step.get("retries", 0)
            if begins > may:
                yield f"{task.name}: step {step['name']} began {begins} times in Pod {pod.name}, at most {may} are due"


def steps_take_turns(history: History) -> Iterator[str]:
    """A step begins after the one before it has ended, and let it."""
    for task, pod in _pods(history):
        for before, step in itertools.pairwise(pod.steps):
            begin = next((i for i, w in enumerate(pod.lines) if w.step == step["name"] and w.event == BEGIN), None)
            if begin is None:
                continue
            till_then = dataclasses.replace(pod, lines=pod.lines[:begin])
            last = max((i for i, word in enumerate(pod.lines) if word.step == before["name"]), default=-1)
            if not till_then.has_passed(before) or last > begin:
                yield f"{task.name}: step {step['name']} began in Pod {pod.name} before {before['name']} had passed"


def one_pod_at_a_time(history: History) -> Iterator[str]:
    """Two Pods of a Task are never alive at once: neither their steps say so, nor the API server."""
    for task in stories(history):
        for earlier, later in itertools.combinations(task.pods, 2):
            first, second = sorted((earlier, later), key=lambda pod: pod.lines[0].at if pod.lines else float("inf"))
            if second.lines and first.lines[-1].at > second.lines[0].at:
                yield f"{task.name}: Pod {first.name} still ran when Pod {second.name} had begun"
        changes = sorted((change for pod in task.pods for change in pod.changes), key=lambda change: change["at"])
        if max(alive_at_once(changes), default=0) > 1:
            yield f"{task.name}: the API server had two live Pods at once"


def a_pod_is_known(history: History) -> Iterator[str]:
    """Each step that ran was in a Pod that belonged to its Task."""
    known = {pod.uid for _, pod in _pods(history)}
    for uid, lines in itertools.groupby(history.lines, key=lambda line: line.pod):
        if uid not in known:
            yield f"{next(lines).task}: Pod {uid} ran, and no watch saw it as one of the Task's"


def a_verdict_is_true(history: History) -> Iterator[str]:
    """A Task is Successful exactly when its steps have said that they passed."""
    for task in stories(history):
        status = task.last.get("status", {})
        if status.get("status") == "Successful":
            pod = task.pod(status.get("podName"))
            if pod is None or not pod.has_succeeded:
                yield f"{task.name}: it is Successful, but not all of its steps passed"
        elif status.get("status") in FINAL and not _was_stopped(task):
            succeeded = [pod.name for pod in task.pods if _is_of_last_run(task, pod) and pod.has_succeeded]
            if succeeded:
                yield f"{task.name}: it is {status['status']}, though all steps of Pod {succeeded[0]} passed"


def a_verdict_is_for_good(history: History) -> Iterator[str]:
    """Once a run has its verdict, neither that nor its reason, its end or the number of its Pods changes."""
    for task in stories(history):
        verdicts: dict[str, tuple[Any, ...]] = {}
        for change in task.changes:
            status = change["object"].get("status", {})
            run = str(status.get("specHash"))
            if run not in verdicts and status.get("status") not in FINAL:
                continue
            told = _verdict(change["object"])
            if verdicts.setdefault(run, told) != told:
                yield f"{task.name}: its verdict {verdicts[run]} became {told}"
                break


def _verdict(task: Object) -> tuple[Any, ...]:
    status = task["status"]
    return status["status"], condition(task)["reason"], status.get("completionTime"), status.get("attempts")


def a_success_is_the_last(history: History) -> Iterator[str]:
    """Once all steps of a Pod have passed, no other Pod is made for the same spec."""
    for task in stories(history):
        for index, pod in enumerate(task.pods):
            later = [one.name for one in task.pods[index + 1 :] if one.generation == pod.generation]
            if pod.has_succeeded and later:
                yield f"{task.name}: all steps of Pod {pod.name} passed, and Pod {later[0]} was made after it"


def every_task_ends(history: History) -> Iterator[str]:
    """Each Task has its verdict within a minute of the end of the last fault."""
    for task in stories(history):
        ends = [c["at"] for c in task.changes if c["object"].get("status", {}).get("status") in FINAL]
        if not ends:
            if not task.is_gone:
                yield f"{task.name}: it has no verdict, but {task.last.get('status', {}).get('status')}"
        elif ends[0] > history.healed + HEALED_WITHIN:
            late = ends[0] - history.healed
            yield f"{task.name}: its verdict came {late:.0f} s after the last fault, at most {HEALED_WITHIN:g} are due"


def work_is_bounded(history: History) -> Iterator[str]:
    """A Task has no Pod after its third loss but those of its retries, and a bounded number of runs."""
    for task in stories(history):
        for generation, pods in itertools.groupby(task.pods, key=lambda pod: pod.generation):
            made = list(pods)
            may = made[0].spec.get("retries", 0) + MAX_LOSSES
            if len(made) > may:
                yield f"{task.name}: generation {generation} had {len(made)} Pods, at most {may} are due"
        if (runs := history.runs.get(task.name, 0)) > MAX_RUNS:
            yield f"{task.name}: it had {runs} runs, at most {MAX_RUNS} are due"


def the_order_goes_up(history: History) -> Iterator[str]:
    """The order of a Pod is a number of a step, 0 or -1; it only grows, and -1 is its end."""
    for task, pod in _pods(history):
        words = [change["object"]["metadata"]["annotations"].get(ORDER) for change in pod.changes]
        orders = [word for word, _ in itertools.groupby(words)]
        odd = [word for word in orders if word not in map(str, range(-1, len(pod.steps) + 1))]
        if odd:
            yield f"{task.name}: Pod {pod.name} had the order {odd[0]!r}"
        elif any(earlier == "-1" or -1 < int(later) < int(earlier) for earlier, later in itertools.pairwise(orders)):
            yield f"{task.name}: the orders of Pod {pod.name} were {', '.join(map(str, orders))}"


def nothing_stays(history: History) -> Iterator[str]:
    """When a Task has its verdict nothing of it runs any more, and when it is gone so are its Pods."""
    for task, pod in _pods(history):
        last = pod.changes[-1]
        if last["type"] == "DELETED":
            continue
        if task.is_gone:
            yield f"{task.name}: it is gone, and Pod {pod.name} is not"
        elif task.last.get("status", {}).get("status") in FINAL and not has_ended(last["object"]):
            yield f"{task.name}: it has its verdict, and Pod {pod.name} still runs"


INVARIANTS: tuple[Callable[[History], Iterator[str]], ...] = (
    a_step_begins_once,
    steps_take_turns,
    one_pod_at_a_time,
    a_pod_is_known,
    a_verdict_is_true,
    a_verdict_is_for_good,
    a_success_is_the_last,
    every_task_ends,
    work_is_bounded,
    the_order_goes_up,
    nothing_stays,
)


def violations(history: History) -> list[str]:
    """Return what does not hold of a history, each with the name of its invariant."""
    return [f"{check.__name__}: {case}" for check in INVARIANTS for case in check(history)]


def told_secrets(secrets: Mapping[str, str], texts: Mapping[str, str]) -> list[str]:
    """Return where secrets are told.

    Args:
        secrets: the value of each by its name.
        texts: what must not hold them, by its place.
    """
    found = ((name, place) for name, value in secrets.items() for place, text in texts.items() if value in text)
    return [f"no_secret_is_told: {name} is in {place}" for name, place in found]


def _pods(history: History) -> Iterator[tuple[TaskStory, PodStory]]:
    for task in stories(history):
        for pod in task.pods:
            yield task, pod


def _was_stopped(task: TaskStory) -> bool:
    """Tell whether somebody else than a step may have ended the Task."""
    return bool(task.last["spec"].get("cancel") or task.last["spec"].get("timeout"))


def _is_of_last_run(task: TaskStory, pod: PodStory) -> bool:
    return pod.generation == str(task.last["metadata"].get("generation"))
