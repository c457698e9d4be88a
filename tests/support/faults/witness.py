"""The witness: a file on each node to which every step appends a line when it begins and when it ends.

Nothing that the operator, the agent or Kubernetes loses can change it, so it is the truth that all of them are held to.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from support.kubectl import Object

BEGIN, BEAT, END = "begin", "beat", "end"
# Where a step finds the folder of its world, and where that is on the node.
MOUNT = "/witness"
NODE_FOLDER = "/var/lib/taskflow-faults"
LINES = "lines"
# A Secret of each world. Its value must turn up nowhere.
SECRET, SECRET_KEY = "canary", "value"

_ATTEMPT = "metadata.annotations['api.practice.com/attempt']"
# A line is one write to a file that was opened with O_APPEND, so lines never mix. The uptime is the kernel's, which
# the nodes of a kind cluster share; nobody sets it.
_TELL = (
    'tell() { read -r up rest </proc/uptime; echo "$up $TASK $POD $ATTEMPT $STEP $*" >>/witness/lines; }; '
    "tell begin; ( %s ); code=$?; tell end $code; exit $code"
)


@dataclasses.dataclass(frozen=True)
class Line:
    """What a step said.

    Attributes:
        at: seconds since the host was started.
        task: the Task's name.
        pod: the Pod's UID.
        attempt: the number that the operator gave the Pod.
        step: the step's name.
        event: begin, beat or end.
        code: the exit code at the end.
        node: the node that the file is from.
    """

    at: float
    task: str
    pod: str
    attempt: int
    step: str
    event: str
    code: int | None = None
    node: str = ""

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code}"
        where = f"{self.node} {self.task} attempt {self.attempt} {self.pod[:8]}"
        return f"{self.at:.2f} {where} {self.step} {self.event}{code}"


def parse(text: str, node: str = "") -> list[Line]:
    """Return the lines of a file. What follows the last newline was cut off by the end of its node.

    Raises:
        ValueError: a line is none of a step's.
    """
    whole = text[: text.rfind("\n") + 1]
    return [_line(words, node) for words in whole.splitlines()]


def _line(text: str, node: str) -> Line:
    at, task, pod, attempt, step, event, *code = text.split()
    if event not in (BEGIN, BEAT, END) or len(code) != (event == END):
        raise ValueError(f"not a witness's line: {text!r}")
    return Line(float(at), task, pod, int(attempt), step, event, int(code[0]) if code else None, node)


def merged(files: Mapping[str, str]) -> list[Line]:
    """Return the lines of all nodes in the order of their times; those of one node stay in the file's order."""
    return list(heapq.merge(*(_in_order(parse(text, node)) for node, text in files.items()), key=lambda line: line.at))


def _in_order(lines: Sequence[Line]) -> Iterator[Line]:
    """Yield lines with times that never go back: two steps may read theirs in another order than they write."""
    latest = itertools.accumulate((line.at for line in lines), max)
    return (dataclasses.replace(line, at=at) for line, at in zip(lines, latest, strict=True))


def of_task(lines: Iterable[Line], task: str) -> list[Line]:
    """Return the lines of one Task's Pods."""
    return [line for line in lines if line.task == task]


def step(name: str, body: str = "true", **fields: object) -> Object:
    """Return a step that bears witness, whatever its body does."""
    env = [
        {"name": "TASK", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['taskname']"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": _ATTEMPT}}},
        {"name": "STEP", "value": name},
        {"name": "CANARY", "valueFrom": {"secretKeyRef": {"name": SECRET, "key": SECRET_KEY}}},
    ]
    mounts = [{"name": "witness", "mountPath": MOUNT}]
    command = ["sh", "-c", _TELL % body]
    return {"name": name, "image": "busybox:1.28", "command": command, "env": env, "volumeMounts": mounts, **fields}


def gate(name: str, first_attempt_only: bool = False) -> str:
    """Return a step's body that waits until a gate is open, and says meanwhile that it lives."""
    wait = f'until [ -e "/witness/$TASK-{name}" ]; do tell beat; sleep 0.4; done'
    return f'if [ "$ATTEMPT" = 1 ]; then {wait}; fi' if first_attempt_only else wait


def volume(namespace: str) -> Object:
    """Return the volume of a world's steps."""
    return {"name": "witness", "hostPath": {"path": folder_of(namespace), "type": "DirectoryOrCreate"}}


def folder_of(namespace: str) -> str:
    """Return the folder of a world on each node."""
    return f"{NODE_FOLDER}/{namespace}"
