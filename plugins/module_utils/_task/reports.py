# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""How a container ended: by the report that its agent left, or else by the kubelet's words. Pure."""

from __future__ import annotations

import datetime
import json
import re
import typing as t

from .._contract import CANCELLED, ENDED, FAILED, SKIPPED, SUCCEEDED, Object
from .._durations import parse_time
from .._kube.shapes import ContainerStatus, StepStatus, Terminated

AGENT_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
# The agent's report has each result as a field of its own.
RESULT_PREFIX = "result."
# The kubelet's word for a container that was over its memory limit, and ours for one that was ended with its agent.
OOM_KILLED, KILLED = "OOMKilled", "Killed"
OUT_OF_MEMORY = "the container was out of memory (resources.limits.memory)"
# The agent's words for a step that was ended while it waited, and for a command that a signal ended.
ENDED_BEFORE_ITS_TURN, SIGNAL = "EndedBeforeItsTurn", "Signal"
# Ours for a container of which nobody knows how its command ended.
NO_REPORT = "NoReport"
_BEGIN_OF_REPORT = re.compile(r'\{"state":"(?P<state>[A-Za-z]+)","exitCode":(?P<code>\d+),')
# Which signal from outside told the agent to end; 0 for none. In a result or a message the quotes would be escaped.
_TOLD = re.compile(r'"told": ?(\d+)')
# What agents before that said of a step that a signal had ended while it waited.
_FORMER_EARLY_END = re.compile(r"ended by signal \d+ before it was started")
# The agent's exit code for a step that did not run; its exit codes when a program could not be run.
_DID_NOT_RUN, _NOT_STARTED_CODES = 1, (126, 127)
# The exit code of runc where it could not execute the container's program.
_RUNTIME_CODE = 255
_SIGNAL_BASE = 128
# The kubelet's word for a container that it starts again, later each time; and after how many starts a sidecar will
# come to nothing else.
CRASH_LOOP, RESTARTS = "CrashLoopBackOff", 2
# How a container ends that is stopped, or killed: perhaps with the whole Pod.
KILL_CODE = 137
STOPPED_CODES = (KILL_CODE, 143)
# The words of the kubelet, and of older ones, for a container that was made but could not be started.
START_ERRORS = ("StartError", "ContainerCannotRun")
# What the kubelet says of a container that it finds no trace of.
FORGOTTEN = ("ContainerStatusUnknown", "Unknown")


class SidecarEnd(t.NamedTuple):
    """How a sidecar ended.

    Attributes:
        name: the sidecar's; empty where it is not known which it was.
        end: its end, told as of a step; None where nothing tells of it.
        words: those of the first step's agent, where nothing else does.
        is_from_outside: whether something outside ended it.
    """

    name: str
    end: StepStatus | None
    words: str = ""
    is_from_outside: bool = False


def known_end(terminated: Terminated) -> Terminated:
    """Return how a container ended, with the exit code that its agent tells of where the runtime has lost it.

    containerd loses the exit codes of containers that end while it is away, and says 255, reason Unknown. What the
    agent has left as its last word is still there.
    """
    report = _report(terminated.get("message") or "")
    if report is None or terminated.get("reason") not in FORGOTTEN:
        return terminated
    code = 0 if report["state"] == SUCCEEDED or report.get("continued") else report["exitCode"]
    return {**terminated, "exitCode": code, "reason": "Error" if code else "Completed"}


def step_end(terminated: Terminated) -> StepStatus:
    """Return the fields of a step whose container has ended: the agent's report, or else the kubelet's."""
    terminated = known_end(terminated)
    report = _true_report(terminated)
    exit_code = terminated.get("exitCode", 0)
    if report is None:
        return _end_without_report(terminated, exit_code)
    state, code = report.pop("state"), report.pop("exitCode")
    if state in (SKIPPED, CANCELLED):
        # A command that was told to end may well have ended with exit code 0.
        return {"state": state, "exitCode": exit_code, **report}
    if exit_code or state == SUCCEEDED:
        # The agent itself ends with 0 when the Task goes on.
        report.pop("continued", None)
    if state == SUCCEEDED and exit_code == 0:
        # That all went well needs no words except those of the step itself.
        return {"state": SUCCEEDED, "exitCode": 0, **report}
    status: StepStatus = {"state": FAILED, "exitCode": exit_code or code, **report}
    if state == SUCCEEDED:
        status["reason"] = KILLED
        status["message"] = "the container was ended from outside after its command had succeeded"
    if terminated.get("reason") == OOM_KILLED:
        # The kernel chose the command, and the agent lived to see it end by SIGKILL.
        status["reason"], status["message"] = OOM_KILLED, OUT_OF_MEMORY
    return status


def is_from_outside(terminated: Terminated) -> bool:
    """Tell whether something outside has ended a container, as happens when its Pod is deleted, or killed it.

    The agent tells which signal it was told to end by. Older ones do not; there, each signal that ended the command may
    have come from outside.
    """
    terminated = known_end(terminated)
    exit_code, reason = terminated.get("exitCode", 0), terminated.get("reason")
    if reason == OOM_KILLED:
        return False
    report = _true_report(terminated)
    if report is None or exit_code not in (0, report["exitCode"]):
        return exit_code in STOPPED_CODES or reason in (*FORGOTTEN, *START_ERRORS)
    told = _TOLD.search(terminated.get("message") or "")
    return told[1] != "0" if told else report.get("reason") in (SIGNAL, ENDED_BEFORE_ITS_TURN)


def sidecar_end(end: Terminated) -> StepStatus:
    """Return how a sidecar ended: by the agent's report, or where none started it, by the kubelet's."""
    if _report(end.get("message") or ""):
        return step_end(end)
    words: StepStatus = {"state": FAILED, "exitCode": end.get("exitCode", 0)}
    for key in ("reason", "message", "finishedAt"):
        if end.get(key) not in (None, "", "Completed"):
            words[key] = end[key]
    return words


def sidecar_in(message: str) -> str:
    """Return which sidecar the agent's report of a first step names that did not begin; empty if it names none."""
    try:
        report = json.loads(message)
    except (ValueError, RecursionError):
        return ""
    name = report.get("sidecar") if isinstance(report, dict) else None
    return name if isinstance(name, str) else ""


def bad_end(container: ContainerStatus, is_native: bool, over: datetime.datetime | None = None) -> Terminated | None:
    """Return how a sidecar's container ended that was not to end; None if it has not, or has ended well.

    A native one that was stopped may have been stopped with its Pod. Otherwise the kubelet starts it again, and how it
    ended is in lastState then. After the steps (``over``) the sidecars end, too, each in its way.
    """
    now: Terminated = known_end((container.get("state") or {}).get("terminated") or {})
    last: Terminated = known_end((container.get("lastState") or {}).get("terminated") or {})
    code = now.get("exitCode")
    if code and not (is_native and code in STOPPED_CODES) and (over is None or ended_before(now, over)):
        return now
    return last if last.get("exitCode") else None


def early_end(container: ContainerStatus, is_native: bool, holds: bool, quits: bool) -> Terminated | None:
    """Return how a sidecar ended before the first step's turn; None where it has not, or may have been told to.

    Args:
        container: its status.
        is_native: whether the kubelet starts it again.
        holds: whether the kubelet has yet to start a step's container.
        quits: whether the order tells all to end; a native sidecar does not see it.
    """
    if quits and not is_native:
        return None
    return bad_end(container, is_native) or (_idle_end(container) if holds else None)


def start_error(container: ContainerStatus) -> Terminated | None:
    """Return how an ordinary sidecar has ended whose agent never ran, so that the first step would wait for ever."""
    end: Terminated = (container.get("state") or {}).get("terminated") or {}
    return end if end.get("reason") in START_ERRORS else None


def ended_before(end: Terminated, moment: datetime.datetime) -> bool:
    """Tell whether a container ended before; only the agent's report has the time to the millisecond."""
    finished = (_report(end.get("message") or "") or {}).get("finishedAt")
    return finished is not None and parse_time(finished) < moment


def _idle_end(container: ContainerStatus) -> Terminated | None:
    """Return how a native sidecar has ended that ends again and again; None of any other."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    last = (container.get("lastState") or {}).get("terminated")
    return last if waiting.get("reason") == CRASH_LOOP and container.get("restartCount", 0) >= RESTARTS else None


def _end_without_report(terminated: Terminated, exit_code: int) -> StepStatus:
    """Return the fields of a step whose agent has not said how it ended. No exit code makes that a success."""
    reason, said = terminated.get("reason") or "Error", terminated.get("message") or ""
    status: StepStatus = {"state": FAILED, "exitCode": exit_code}
    if reason in START_ERRORS:
        status["reason"], status["message"] = reason, f"the container could not be started: {said or reason}"
    elif reason in ("Error", "Completed"):
        status["reason"], words = _unreported(exit_code)
        status["message"] = f"{words}: {said}" if said else words
    else:
        status["reason"], status["message"] = reason, said or {OOM_KILLED: OUT_OF_MEMORY}.get(reason, reason)
    if reason not in START_ERRORS:
        for key in ("startedAt", "finishedAt"):
            if terminated.get(key):
                status[key] = terminated[key]
    return status


def _unreported(exit_code: int) -> tuple[str, str]:
    """Return reason and words for an exit code without the agent's report."""
    if exit_code == _RUNTIME_CODE:
        return NO_REPORT, "the container could not be started, or has lost its agent's report (see its log)"
    if exit_code > _SIGNAL_BASE:
        return KILLED, "the container was ended from outside, with its agent"
    if exit_code in _NOT_STARTED_CODES:
        return NO_REPORT, "the command could not be started (see its log), and the agent left no report"
    return NO_REPORT, "the agent left no report, so nobody knows how the command ended (see its log)"


def _true_report(terminated: Terminated) -> StepStatus | None:
    """Return the agent's report; None where there is none, or the container did not end as what looks like one says.

    The command may have written it, and somebody have killed the container.
    """
    message = terminated.get("message") or ""
    report = _report(message) or _cut_report(message)
    if report is None:
        return None
    exit_code, state, code = terminated.get("exitCode", 0), report["state"], report["exitCode"]
    if state == CANCELLED and code > _SIGNAL_BASE and _FORMER_EARLY_END.fullmatch(report.get("message", "")):
        report["state"], report["reason"] = FAILED, ENDED_BEFORE_ITS_TURN
    is_true = {SKIPPED: exit_code == code == _DID_NOT_RUN, CANCELLED: exit_code == code, SUCCEEDED: code == 0}
    return report if is_true.get(state, True) else None


def _report(message: str) -> StepStatus | None:
    """Read the agent's termination message as fields of a step's status; None when it is not the agent's."""
    try:
        report = json.loads(message)
    except (ValueError, RecursionError):  # brackets within brackets: a command may write anything there
        return None
    if not isinstance(report, dict) or report.get("state") not in ENDED or not _is_whole(report.get("exitCode")):
        return None
    fields: Object = {key: report[key] for key in ("state", "reason", "message") if isinstance(report.get(key), str)}
    fields.update({key: report[key] for key in ("exitCode", "retries") if _is_whole(report.get(key))})
    fields.update({key: report[key] for key in ("startedAt", "finishedAt") if _is_time(report.get(key))})
    if report.get("continued"):
        fields["continued"] = True
    results = {
        key.removeprefix(RESULT_PREFIX): value
        for key, value in report.items()
        if key.startswith(RESULT_PREFIX) and isinstance(value, str)
    }
    return t.cast(StepStatus, {**fields, "results": results} if results else fields)


def _cut_report(message: str) -> StepStatus | None:
    """Read what is left of a report that the kubelet cut: others added containers, which have their share, too."""
    match = _BEGIN_OF_REPORT.match(message)
    if not match or match["state"] not in ENDED:
        return None
    words = "the kubelet cut the agent's report, for containers were added to the Pod; results and times may be lost"
    fields: StepStatus = {
        "state": match["state"],
        "exitCode": int(match["code"]),
        "reason": "ReportCut",
        "message": words,
    }
    return {**fields, "continued": True} if '"continued":1' in message else fields


def _is_whole(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_time(value: t.Any) -> bool:
    try:
        datetime.datetime.strptime(value, AGENT_TIME_FORMAT)
    except (TypeError, ValueError):
        return False
    return True
