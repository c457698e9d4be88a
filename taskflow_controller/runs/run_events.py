"""Makes a run's result from ansible-runner's events: counts, failures, the last output of a run that broke off."""

import re
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskflow_controller.durations import seconds_or_none
from taskflow_controller.runs.resource_results import ResourceResult, ResourceResults

COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_KEPT_LINES = 60
_MAX_MESSAGE = 2000
_MAX_ITEMS = 3
_REQUEUE_MODULES = ("operator_sdk.util.requeue_after", "requeue_after")


@dataclass(frozen=True)
class TaskFailure:
    """A task that failed, and was neither ignored nor rescued, with the host and the task's message."""

    task: str
    host: str
    message: str


@dataclass(frozen=True)
class RunCounts:
    """The numbers of the play recap, summed over the hosts."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0


class EventCollector:
    """Collects the events of one run as they come. Not thread-safe."""

    def __init__(self) -> None:
        self._failed: dict[str, list[TaskFailure]] = defaultdict(list)
        self._unreachable: dict[str, list[TaskFailure]] = defaultdict(list)
        self._recap: dict[str, Any] | None = None
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._requeue_after: float | None = None
        self._resources = ResourceResults()

    def handle(self, event: Mapping[str, Any]) -> bool:
        """Take one event. Return true, so that ansible-runner keeps its file."""
        kind, data = event.get("event"), event.get("event_data") or {}
        if kind in ("runner_on_ok", "runner_on_failed", "runner_on_unreachable"):
            self._handle_result(kind, data)
        elif kind == "playbook_on_stats":
            self._recap = data
        elif kind in ("verbose", "error", "warning") and event.get("stdout"):
            self._lines.extend(COLOUR.sub("", event["stdout"]).splitlines())
        return True

    def _handle_result(self, kind: str, data: Mapping[str, Any]) -> None:
        result = data.get("res") or {}
        if kind == "runner_on_ok":
            self._note_requeue(data)
        if kind == "runner_on_ok" or (kind == "runner_on_failed" and data.get("ignore_errors")):
            self._resources.note(result)
            return
        failed = self._failed if kind == "runner_on_failed" else self._unreachable
        failed[data.get("host", "")].append(_failure(data))
        self._resources.note_failed_task(result)

    @property
    def counts(self) -> RunCounts:
        """The numbers of the play recap; zeros if the run did not reach it."""
        recap = self._recap or {}
        return RunCounts(
            ok=_total(recap, "ok"),
            changed=_total(recap, "changed"),
            failed=_total(recap, "failures") + _total(recap, "dark"),
            skipped=_total(recap, "skipped"),
        )

    @property
    def requeue_after(self) -> float | None:
        """The shortest time, in seconds, after which a module wants the next run; None if no module does."""
        return self._requeue_after

    def resources(self) -> dict[tuple[str, str], ResourceResult]:
        """Return the results of single resources, by (namespace, name)."""
        return self._resources.final(broke_off=self._recap is None)

    def failures(self) -> tuple[TaskFailure, ...]:
        """Return the failures that counted.

        The event of a rescued failure looks like any other; only the play recap shows the difference. It counts, for
        each host, the failures that were not rescued. These come after the rescued ones, because a host whose failure
        is not rescued only runs its ``always`` sections after it.
        """
        failed = self._counted(self._failed, "failures")
        return (*failed, *self._counted(self._unreachable, "dark"))

    def error_text(self) -> str:
        """Return the last output of a run that did not reach its recap, or "" if it did."""
        if self._recap is not None:
            return ""
        lines = [line.rstrip() for line in self._lines if line.strip()]
        first = next((index for index, line in enumerate(lines) if "ERROR" in line or "Traceback" in line), 0)
        return "\n".join(lines[first:])[:_MAX_MESSAGE]

    def _counted(self, seen: Mapping[str, list[TaskFailure]], column: str) -> Iterator[TaskFailure]:
        for host, failures in seen.items():
            if self._recap is None:
                yield from failures
            elif count := (self._recap.get(column) or {}).get(host, 0):
                yield from failures[-count:]

    def _note_requeue(self, data: Mapping[str, Any]) -> None:
        result = data.get("res") or {}
        wanted = result.get("requeue_after")
        if wanted is None and data.get("task_action") in _REQUEUE_MODULES:
            wanted = result.get("period")
        seconds = seconds_or_none(wanted)
        if seconds is not None and (self._requeue_after is None or seconds < self._requeue_after):
            self._requeue_after = seconds


def _failure(data: Mapping[str, Any]) -> TaskFailure:
    return TaskFailure(
        task=str(data.get("task") or ""),
        host=str(data.get("host") or ""),
        message=result_message(data.get("res") or {}).strip()[:_MAX_MESSAGE],
    )


def result_message(result: Mapping[str, Any]) -> str:
    """Return a failed task's message: for a loop those of its failed items, for ``no_log`` only that it is hidden."""
    if result.get("censored"):
        return str(result["censored"])
    items = [item for item in result.get("results") or [] if isinstance(item, Mapping)]
    failed = [item for item in items if item.get("failed") or item.get("censored")]
    if failed:
        return "; ".join(result_message(item) for item in failed[:_MAX_ITEMS])
    for key in ("msg", "module_stderr", "stderr", "module_stdout", "stdout"):
        if result.get(key):
            return str(result[key])
    return "no message"


def _total(recap: Mapping[str, Any], column: str) -> int:
    return sum((recap.get(column) or {}).values())
