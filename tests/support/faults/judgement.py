"""What came of a case: everything that is wrong with it, and what helps to understand that."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from support.faults import witness
from support.faults.history import Change, History
from support.faults.invariants import told_secrets, violations
from support.faults.world import World
from support.nodes import node_run

# Prints the UIDs that steps find in their environment.
_PODS_OF_PROCESSES = "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | sed -n 's/^POD=//p' | sort -u"
# How long the last process of a Pod that is gone may live.
GOING_SECONDS = 10.0
# As much of a line of a log as is shown.
SHOWN = 400


def history_of(world: World, task: str) -> History:
    """Return everything that was seen of the Tasks of a name."""
    tasks = [change for change in world.recorder.changes("tasks") if change["object"]["metadata"]["name"] == task]
    changes = world.recorder.changes("pods")
    # A Pod that loses its label is still one of them.
    uids = {_uid(one) for one in changes if one["object"]["metadata"].get("labels", {}).get("taskname") == task}
    pods = [change for change in changes if _uid(change) in uids]
    runs = {task: world.operators.runs(task)}
    return History(witness.of_task(world.lines(), task), tasks, pods, world.proxy.healed, runs)


def problems_of(world: World, task: str) -> list[str]:
    """Return everything that is wrong with the Tasks of a name, which were removed."""
    history = history_of(world, task)
    return [
        *([world.recorder.problem] if world.recorder.problem else []),
        *violations(history),
        *_secrets_told(world),
        *_processes_kept(world, {_uid(change) for change in history.pods}),
        *world.operators.descriptors_kept(),
    ]


def told_of(world: World, task: str) -> str:
    """Return what helps to understand a case."""
    history = history_of(world, task)
    parts = {
        "writes": world.proxy.writes,
        "witness": _without_repeats(history.lines),
        "Task": _versions(history.tasks),
        "log": (line[:SHOWN] for line in world.operators.present.tail(15).splitlines()),
    }
    return "\n".join("\n".join([f"--- {name}", *map(str, lines)]) for name, lines in parts.items())


def _secrets_told(world: World) -> list[str]:
    objects = {plural: json.dumps(world.recorder.changes(plural)) for plural in ("tasks", "pods")}
    files = {str(path): _text(path) for path in world.operators.files() if path.is_file()}
    return told_secrets(world.secrets, {**objects, **files, "Events": json.dumps(world.events())})


def _processes_kept(world: World, pods: set[str]) -> Iterator[str]:
    """Yield a problem for each node on which something of these Pods still runs, a moment after they are gone."""
    deadline = time.monotonic() + GOING_SECONDS
    while (alive := _alive(world, pods)) and time.monotonic() < deadline:
        time.sleep(0.5)
    for node, uids in alive.items():
        yield f"processes of Pods that are gone run on node {node}: {', '.join(sorted(uids))}"


def _alive(world: World, pods: set[str]) -> dict[str, set[str]]:
    """Return which of the Pods have a process, by node. Each step has its Pod's UID in its environment."""
    found = {node: set(node_run(node, "sh", "-c", _PODS_OF_PROCESSES).split()) & pods for node in world.nodes}
    return {node: uids for node, uids in found.items() if uids}


def _uid(change: Change) -> str:
    uid: str = change["object"]["metadata"]["uid"]
    return uid


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it went meanwhile
        return ""


def _without_repeats(lines: Iterable[witness.Line]) -> Iterator[witness.Line]:
    """Yield lines, and of those that say the same again and again the last."""
    for _, same in itertools.groupby(lines, key=lambda line: (line.pod, line.step, line.event)):
        *_, last = same
        yield last


def _versions(changes: Iterable[Change]) -> Iterator[str]:
    """Yield what a Task's versions came to, each in a line."""
    for change in changes:
        status = change["object"].get("status", {})
        steps = ",".join(step["state"] for step in status.get("steps") or [])
        words = (change["type"], status.get("status"), status.get("podName"), status.get("order"), steps)
        yield f"{change['at']:.2f} " + " ".join(map(str, words))
