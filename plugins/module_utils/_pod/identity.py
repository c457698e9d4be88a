# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What tells one run of a Task from another, and what its Pods are called. Pure."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing as t

from .. import _contract as c
from .._kube.shapes import Task

NAME_MAX = 63
# The end of a Pod's name, as Kubernetes itself makes them: letters that spell no words.
SUFFIX_LETTERS, SUFFIX_LENGTH = "bcdfghjklmnpqrstvwxz2456789", 5


@dataclasses.dataclass(frozen=True)
class Attempt:
    """Which Pod of a run it is.

    Attributes:
        number: of all Pods of the run, from 1.
        retry: how many of the Pods before it failed and are retried by it.
    """

    number: int = 1
    retry: int = 0


FIRST_ATTEMPT = Attempt()


def spec_hash(task: Task) -> str:
    """Return what tells one run from another: a digest of the spec without the fields that control a run."""
    relevant = {key: value for key, value in task["spec"].items() if key not in c.CONTROL_FIELDS}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]


def label_value(name: str) -> str:
    """Return a resource's name as a label value: cut and hashed when it is longer than a label may be."""
    if len(name) <= NAME_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return name[: NAME_MAX - len(digest) - 1].rstrip("-.") + "-" + digest


def pod_name(task: Task, attempt: int, spec: str = "") -> str:
    """Return the name of an attempt's Pod: always the same, so that it can't be made twice.

    It is short enough to be a label and a host name.

    Args:
        task: the Task.
        attempt: the attempt's number.
        spec: the spec_hash() of the attempt's run; that of the present one where it is empty.
    """
    metadata = task["metadata"]
    room = NAME_MAX - SUFFIX_LENGTH - 1
    start = (c.POD_NAME_PREFIX + metadata["name"].replace(".", "-"))[:room].rstrip("-")
    digest = hashlib.sha256(f"{metadata['uid']}/{spec or spec_hash(task)}/{attempt}".encode()).digest()
    return f"{start}-{''.join(SUFFIX_LETTERS[byte % len(SUFFIX_LETTERS)] for byte in digest[:SUFFIX_LENGTH])}"


def task_labels(name: str) -> dict[str, str]:
    """Return the labels that every Pod of the Task of this name carries."""
    return {c.TYPE_LABEL: c.TYPE_LABEL_VALUE, c.TASK_LABEL: label_value(name)}


def task_selector(names: t.Iterable[str]) -> str:
    """Return the label selector for the Pods of the Tasks of these names."""
    values = ",".join(map(label_value, names))
    return f"{c.TYPE_LABEL}={c.TYPE_LABEL_VALUE},{c.TASK_LABEL} in ({values})"
