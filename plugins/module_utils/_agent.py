# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""The agent's side of a Pod: where its files are, and the flags it is started with. Pure.

A container of the Task has a number: the steps from 1 in their order, then the sidecars.
"""

from __future__ import annotations

import base64
import gzip
import math
import typing as t

from . import _contract as c
from ._durations import seconds_of

Object = dict[str, t.Any]

AGENT = f"{c.AGENT_DIR}/{c.AGENT_NAME}"
# A script travels in pieces, each an argument of its own.
SCRIPT_CHUNK = c.ARGUMENT_BYTES * 3 // 4


def run_dir(number: int) -> str:
    """Return the directory that only this container can write."""
    return f"{c.RUN_DIR}/{number}"


def run_volume(number: int) -> str:
    """Return the name of its volume."""
    return f"{c.RUN_VOLUME_PREFIX}{number}"


def ready_file(number: int) -> str:
    """Return the file that says: this container's agent is up, or this sidecar has been started."""
    return f"{run_dir(number)}/ready"


def done_file(number: int) -> str:
    """Return the file that says how a step has ended."""
    return f"{run_dir(number)}/done"


def results_dir(number: int) -> str:
    """Return the directory that a step writes its results to."""
    return f"{run_dir(number)}/{c.RESULTS_DIR_NAME}"


def install_arguments(scripts: t.Mapping[int, str]) -> list[str]:
    """Return the arguments of the init container; ``scripts`` has the script of each container that has one."""
    arguments = ["install", c.AGENT_DIR]
    if scripts:
        arguments += ["--scripts-dir", c.SCRIPTS_DIR]
    for number, script in scripts.items():
        text = encode_script(script)
        for start in range(0, len(text), SCRIPT_CHUNK):
            arguments += ["--script", f"{number}={text[start : start + SCRIPT_CHUNK]}"]
    return arguments


def encode_script(script: str) -> str:
    """Return a script as the agent reads it: gzip, then base64."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode()


def order_flags() -> list[str]:
    """Return the flags that show the agent the order annotation."""
    return ["--wait", f"{c.PODINFO_DIR}/{c.ORDER_FILE_NAME}", "--quit", str(c.ORDER_QUIT)]


def report_flags(container: Object, containers: int) -> list[str]:
    """Return where the agent leaves its report; ``containers`` is how many the Pod has, init containers included.

    The kubelet cuts a message at 4 KiB, and at its share of the 12 KiB that a Pod may have.
    """
    limit = min(c.CONTAINER_MESSAGE_BYTES, c.POD_MESSAGE_BYTES // containers)
    path = container.get("terminationMessagePath")
    return ["--termination-limit", str(limit), *(["--termination-log", path] if path else [])]


def turn_flags(number: int, waits_for: t.Iterable[int], turn: int | None) -> list[str]:
    """Return when a step begins, and where it says how far it is.

    Args:
        number: the step's.
        waits_for: the containers that the first step awaits.
        turn: the order that it waits for; None where the step before it is enough.
    """
    flags = [] if turn is None else ["--waitcontent", str(turn)]
    flags += ["--ready", ready_file(number), "--done", done_file(number)]
    if number > 1:
        return [*flags, "--after", done_file(number - 1)]
    for other in waits_for:
        flags += ["--await", ready_file(other)]
    return flags


def failure_flags(step: Object, grace: int | None) -> list[str]:
    """Return what the agent does when a step fails or takes too long."""
    flags = grace_flags(grace)
    if step.get("timeout"):
        flags += ["--timeout", f"{seconds_of(step['timeout'], step['name']):.3f}".rstrip("0").rstrip(".")]
    if step.get("onError") == c.ON_ERROR_CONTINUE:
        flags += ["--on-error", c.ON_ERROR_CONTINUE]
    if step.get("retries"):
        flags += ["--retries", str(step["retries"])]
    return flags


def grace_flags(grace: int | None) -> list[str]:
    """Return how many seconds are between SIGTERM and SIGKILL, where the Task says it."""
    return [] if grace is None else ["--grace", str(math.ceil(grace))]


def result_flags(number: int, writes: t.Iterable[str]) -> list[str]:
    """Return which results the agent of a step reports."""
    names = sorted(writes)
    flags = ["--results-dir", results_dir(number)] if names else []
    for name in names:
        flags += ["--result", name]
    return flags


def fill_flags(step: Object, reads: t.Mapping[str, int], mark: str) -> list[str]:
    """Return what the agent fills in: the results of the steps ``reads`` (names and numbers), in arguments and env.

    The kubelet has expanded the variables by then: $(NAME) is the variable's own value, with the marks in it.
    """
    if not reads:
        return []
    flags = ["--fill", mark]
    for name, number in reads.items():
        flags += ["--results-of", f"{name}={done_file(number)}"]
    for variable in step.get("env") or []:
        if f"{{{mark}:" in str(variable.get("value", "")):
            flags += ["--env", f"{variable['name']}=$({variable['name']})"]
    return flags


def until_flags(steps: int) -> list[str]:
    """Return when a sidecar is stopped: when the last step has ended, or one in a way that ends the Task."""
    flags = []
    for number in range(1, steps + 1):
        flags += ["--until", done_file(number)]
    return flags


def script_flags(number: int) -> list[str]:
    """Return the flags that run a container's script; its arguments follow."""
    return ["--encodefile", f"{c.SCRIPTS_DIR}/{number}", "--script-dir", run_dir(number), "--"]
