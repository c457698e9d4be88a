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

from .. import _contract as c
from .._contract import Object
from .._durations import seconds_of

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
    """Return the file that says: this step's agent is up, or this sidecar's command has been started."""
    return f"{run_dir(number)}/ready"


def done_file(number: int) -> str:
    """Return the file that says how a step, or a sidecar, has ended."""
    return f"{run_dir(number)}/done"


def begun_file(number: int) -> str:
    """Return the file that tells sidecars that a step's command runs, or has run."""
    return f"{run_dir(number)}/begun"


def started_file(number: int) -> str:
    """Return the file that keeps a step's command from being started twice."""
    return f"{run_dir(number)}/started"


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


def escaped(text: str) -> str:
    """Return what the kubelet, which expands $(NAME) in a container's args, makes this text of."""
    return text.replace("$", "$$")


def order_flags() -> list[str]:
    """Return the flags that show the agent the order annotation."""
    return ["--wait", f"{c.PODINFO_DIR}/{c.ORDER_FILE_NAME}", "--quit", str(c.ORDER_QUIT)]


def report_flags(container: Object, containers: int) -> list[str]:
    """Return where the agent leaves its report; ``containers`` is how many the Pod has, init containers included.

    The kubelet cuts a message at 4 KiB, and at its share of the 12 KiB that a Pod may have.
    """
    limit = min(c.CONTAINER_MESSAGE_BYTES, c.POD_MESSAGE_BYTES // containers)
    path = container.get("terminationMessagePath")
    return ["--termination-limit", str(limit), *(["--termination-log", escaped(path)] if path else [])]


def mark_flags(number: int) -> list[str]:
    """Return where a step or a sidecar says how far it is."""
    return ["--ready", ready_file(number), "--done", done_file(number)]


def once_flags(number: int) -> list[str]:
    """Return what keeps a step from running twice in one Pod, should the kubelet make its container again."""
    return ["--started", started_file(number)]


def turn_flags(number: int, turn: int | None) -> list[str]:
    """Return when a step begins: ``turn`` is the order that it waits for, None where the one before it is enough."""
    flags = [] if turn is None else ["--waitcontent", str(turn)]
    return [*flags, *(["--after", done_file(number - 1)] if number > 1 else [])]


def await_flags(steps: t.Iterable[int], sidecars: t.Mapping[int, str]) -> list[str]:
    """Return what the first step awaits: that the other steps' agents are up, and that each sidecar has started.

    It does not begin if one of those has failed by then, and tells them if it does; ``sidecars`` has their names.
    """
    flags = []
    for number in (*steps, *sidecars):
        flags += ["--await", ready_file(number)]
    for number, name in sidecars.items():
        flags += ["--sidecar", f"{name}={done_file(number)}"]
    return [*flags, "--begun", begun_file(1)] if sidecars else flags


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
            flags += ["--env", f"{escaped(variable['name'])}=$({variable['name']})"]
    return flags


def until_flags(steps: int) -> list[str]:
    """Return when a sidecar is stopped: when the last step has ended, or one in a way that ends the Task."""
    flags = []
    for number in range(1, steps + 1):
        flags += ["--until", done_file(number)]
    return flags


def stays(sidecar: Object) -> bool:
    """Tell whether the agent of a native sidecar stays when the command has ended.

    The kubelet would start it again, and hold the steps back until then. Where the kubelet probes the command,
    that it has ended must show.
    """
    return not any(sidecar.get(probe) for probe in ("startupProbe", "readinessProbe", "livenessProbe"))


def stay_flags() -> list[str]:
    """Return that it does: after a success until all is over, and after a failure until the first step has begun."""
    return ["--on-success", "stay", "--hold", begun_file(1)]


def script_flags(number: int) -> list[str]:
    """Return the flags that run a container's script; its arguments follow."""
    return ["--encodefile", f"{c.SCRIPTS_DIR}/{number}", "--script-dir", run_dir(number), "--"]
