"""Each invariant holds of a sound history, and fails of one that breaks it, and of no other."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from support.faults.history import History
from support.faults.invariants import INVARIANTS, MAX_RUNS, told_secrets, violations
from support.faults.witness import BEAT, BEGIN, END, Line

Object = dict[str, Any]
TASK, OTHER_RUN = "task-uid", "other-hash"


def line(at: float, event: str, step: str = "a", pod: str = "p1", code: int | None = None) -> Line:
    return Line(at, "t", pod, int(pod[1:]), step, event, code, "n")


def ran(start: float, *steps: str, pod: str = "p1", code: int = 0) -> list[Line]:
    """Return what steps say that take a second each; the last ends with this code."""
    codes = {steps[-1]: code}
    return [
        one
        for number, name in enumerate(steps)
        for one in (
            line(start + number, BEGIN, name, pod),
            line(start + number + 0.9, END, name, pod, codes.get(name, 0)),
        )
    ]


def task(at: float, state: str, pod: str = "p1", kind: str = "MODIFIED", **status: Any) -> Object:
    final = state in ("Successful", "Failure", "Cancelled")
    condition = {"type": "Succeeded", "reason": state}
    told = {"status": state, "podName": pod, "attempts": int(pod[1:]), "specHash": "hash", "conditions": [condition]}
    ended = {"completionTime": "2024-01-06T22:19:24Z"} if final else {}
    spec = {"steps": [{"name": "a"}, {"name": "b"}]}
    metadata = {"name": "t", "uid": TASK, "generation": 1}
    return {
        "type": kind,
        "at": at,
        "object": {"metadata": metadata, "spec": spec, "status": {**told, **ended, **status}},
    }


def pod(at: float, name: str, order: str, phase: str = "Running", kind: str = "MODIFIED") -> Object:
    annotations = {"taskorder": order, "api.practice.com/generation": "1"}
    owner = {"kind": "Task", "name": "t", "uid": TASK}
    metadata = {"name": name, "uid": name, "annotations": annotations, "ownerReferences": [owner]}
    return {"type": kind, "at": at, "object": {"metadata": metadata, "status": {"phase": phase}}}


def sound() -> History:
    """Two steps that succeed, and their Task."""
    return History(
        lines=ran(1, "a", "b"),
        tasks=[task(0, "Pending", kind="ADDED"), task(1, "Running"), task(3, "Successful")],
        pods=[
            pod(0, "p1", "0", "Pending", "ADDED"),
            pod(1, "p1", "1"),
            pod(2, "p1", "2"),
            pod(3, "p1", "2", "Succeeded"),
        ],
        runs={"t": 5},
    )


def lost() -> History:
    """The first Pod is lost while its first step runs, and the second succeeds."""
    return History(
        lines=[line(1, BEGIN), line(1.5, BEAT), *ran(3, "a", "b", pod="p2")],
        tasks=[task(0, "Pending", kind="ADDED"), task(1, "Running"), task(6, "Successful", "p2")],
        pods=[
            pod(0, "p1", "0", "Pending", "ADDED"),
            pod(1, "p1", "1"),
            pod(2, "p1", "1", kind="DELETED"),
            pod(2.5, "p2", "0", "Pending", "ADDED"),
            pod(3, "p2", "1"),
            pod(5, "p2", "2", "Succeeded"),
        ],
        healed=2,
    )


def failed() -> History:
    """The first step fails."""
    return History(
        lines=ran(1, "a", code=3),
        tasks=[task(0, "Pending", kind="ADDED"), task(3, "Failure")],
        pods=[pod(0, "p1", "0", "Pending", "ADDED"), pod(1, "p1", "1"), pod(2, "p1", "-1", "Failed")],
    )


@pytest.mark.parametrize("history", [sound, lost, failed])
def test_a_sound_history_breaks_nothing(history: Callable[[], History]) -> None:
    assert violations(history()) == []


def with_steps(history: History, *steps: Object, **spec: Any) -> History:
    """Return a history in which the Task has these steps."""
    tasks = copy.deepcopy(list(history.tasks))
    for change in tasks:
        change["object"]["spec"] = {"steps": list(steps), **spec}
    return dataclasses.replace(history, tasks=tasks)


def test_what_a_spec_allows_breaks_nothing() -> None:
    again = dataclasses.replace(sound(), lines=[*ran(0, "a", code=1), *ran(1, "a", "b")])
    assert violations(with_steps(again, {"name": "a", "retries": 1}, {"name": "b"})) == []
    continued = dataclasses.replace(sound(), lines=[*ran(1, "a", code=1), *ran(2, "b")])
    assert violations(with_steps(continued, {"name": "a", "onError": "continue"}, {"name": "b"})) == []


def test_a_pod_that_failed_may_be_followed_by_a_retry() -> None:
    history = lost()
    lines = [*ran(1, "a", code=3), *ran(3, "a", "b", pod="p2")]
    pods = [*history.pods[:2], pod(2, "p1", "-1", "Failed"), *history.pods[3:]]
    retried = dataclasses.replace(history, lines=lines, pods=pods)
    assert violations(with_steps(retried, {"name": "a"}, {"name": "b"}, retries=1)) == []


def change(history: History, **fields: Any) -> History:
    return dataclasses.replace(history, **fields)


def gone(history: History) -> History:
    """The Task is deleted, and its Pod is not."""
    return change(history, tasks=[*history.tasks, task(9, "Successful", kind="DELETED")])


BROKEN = {
    "a_step_begins_once": [
        change(sound(), lines=[*ran(0, "a", code=1), *ran(1, "a", "b")]),
        # After all others, too: that is how a container that is made again ran its step.
        change(sound(), lines=[*ran(1, "a", "b"), *ran(4, "a")]),
    ],
    "steps_take_turns": [
        change(sound(), lines=[line(1, BEGIN), line(1.1, BEGIN, "b"), line(2, END, code=0), line(2, END, "b", code=0)]),
        change(sound(), lines=[*ran(1, "a", code=1), *ran(2, "b")]),
        change(sound(), lines=ran(2, "b")),
        change(sound(), lines=[*ran(1, "a"), line(2, BEGIN, "b"), line(2.1, BEAT), line(3, END, "b", code=0)]),
    ],
    "one_pod_at_a_time": [
        change(lost(), lines=[*lost().lines[:2], line(3.5, BEAT), *lost().lines[2:]]),
        change(lost(), pods=[*lost().pods[:2], *lost().pods[3:], pod(6, "p1", "1", kind="DELETED")]),
    ],
    "a_pod_is_known": [
        change(sound(), lines=[*sound().lines, *ran(9, "a", pod="p9")]),
    ],
    "a_verdict_is_true": [
        change(sound(), lines=[*ran(1, "a"), line(2, BEGIN, "b")]),
        change(sound(), lines=ran(1, "a", "b", code=1)),
        change(sound(), lines=[]),
        change(sound(), tasks=[*sound().tasks[:2], task(3, "Failure")]),
        change(sound(), tasks=[*sound().tasks[:2], task(3, "Successful", "p7", attempts=1)]),
    ],
    "a_verdict_is_for_good": [
        change(failed(), tasks=[*failed().tasks, task(4, "Running")]),
        change(failed(), tasks=[*failed().tasks, task(4, "Failure", completionTime="2024-01-06T22:19:25Z")]),
        change(failed(), tasks=[*failed().tasks, task(4, "Cancelled")]),
        change(sound(), tasks=[*sound().tasks, task(4, "Successful", attempts=2)]),
    ],
    "a_success_is_the_last": [
        change(lost(), lines=[*ran(0, "a", "b"), *ran(3, "a", "b", pod="p2")]),
        change(lost(), lines=ran(0, "a", "b"), tasks=[*lost().tasks[:2], task(6, "Successful")]),
    ],
    "every_task_ends": [
        change(sound(), tasks=sound().tasks[:2]),
        change(sound(), healed=-58),
    ],
    "work_is_bounded": [
        change(sound(), runs={"t": MAX_RUNS + 1}),
        change(lost(), pods=[*(pod(-9 + i, f"p{i + 3}", "0", "Failed", "ADDED") for i in range(4)), *lost().pods]),
    ],
    "the_order_goes_up": [
        change(sound(), pods=[*sound().pods[:3], pod(2.5, "p1", "1"), sound().pods[3]]),
        change(failed(), pods=[*failed().pods, pod(4, "p1", "1", "Failed")]),
        change(sound(), pods=[*sound().pods[:3], pod(3, "p1", "3", "Succeeded")]),
        change(sound(), pods=[*sound().pods[:3], pod(3, "p1", "+2", "Succeeded")]),
        change(sound(), pods=[*sound().pods[:3], pod(3, "p1", "-5", "Succeeded")]),
    ],
    "nothing_stays": [
        gone(sound()),
        change(sound(), pods=sound().pods[:3]),
    ],
}
CASES = [pytest.param(name, one, id=f"{name}-{i}") for name, cases in BROKEN.items() for i, one in enumerate(cases)]


@pytest.mark.parametrize(("name", "history"), CASES)
def test_an_invariant_can_fail(name: str, history: History) -> None:
    assert {found.partition(":")[0] for found in violations(history)} >= {name}


def test_each_invariant_has_a_history_that_breaks_it() -> None:
    assert set(BROKEN) == {check.__name__ for check in INVARIANTS}


def test_two_tasks_of_one_name_are_two() -> None:
    """One that was deleted and made again begins anew."""
    second = copy.deepcopy(sound())
    for number, one in enumerate([*second.tasks, *second.pods]):
        one["at"] += 10
        meta = one["object"]["metadata"]
        meta["uid"] = "second" if number < 3 else "p2"
        if number >= 3:
            meta.update(name="p2", ownerReferences=[{"kind": "Task", "uid": "second"}])
        else:
            one["object"]["status"]["podName"] = "p2"
    first = sound()
    ends = [task(5, "Successful", kind="DELETED")], [pod(6, "p1", "2", "Succeeded", "DELETED")]
    both = History(
        lines=[*first.lines, *ran(11, "a", "b", pod="p2")],
        tasks=[*first.tasks, *ends[0], *second.tasks],
        pods=[*first.pods, *ends[1], *second.pods],
    )
    assert violations(both) == []


def test_a_secret_is_found_wherever_it_is() -> None:
    texts = {"log": "word=s3cret", "Events": "nothing"}
    assert told_secrets({"token": "s3cret"}, texts) == ["no_secret_is_told: token is in log"]
    assert told_secrets({"token": "other"}, texts) == []
