"""Turns a run's events into log lines, as ``--ansible-log-events`` asks for.

``tasks`` gives one line for each task and host, with the resource; ``everything`` gives one for each event, with all
its data. The arguments and results of tasks with ``no_log`` are already censored when ansible-runner passes an event.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from taskflow_controller.runs.run_events import COLOUR, result_message

logger = logging.getLogger(__name__)

LEVELS = ("tasks", "everything", "nothing")

_TASK_EVENTS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}
_BAD = ("failed", "unreachable")
_SAYING = ("ansible.builtin.debug", "debug")  # modules whose purpose is their message
_MAX_OUTPUT = 256 * 1024


class EventLog:
    """Logs the events of one run.

    Args:
        level: which events become log lines, one of ``LEVELS``.
        resource: the resource's name in the log.
        output: whether to log what Ansible printed, too, when the run ends.
    """

    def __init__(self, level: str, resource: str, *, output: bool = False) -> None:
        self._log = _WRITERS[level]
        self._resource, self._output = resource, output
        self._printed: list[str] = []
        self._room = _MAX_OUTPUT

    def handle(self, event: Mapping[str, Any]) -> None:
        """Log one of ansible-runner's events."""
        self._log(self._resource, event)
        if self._output and event.get("stdout") and self._room > 0:
            text = COLOUR.sub("", event["stdout"])[: self._room]
            self._room -= len(text)
            self._printed.append(text)

    def end(self) -> None:
        """Log what Ansible printed, if wanted."""
        if self._output:
            cut = "" if self._room > 0 else f"\n[cut after {_MAX_OUTPUT} characters]"
            logger.info("output", extra={"resource": self._resource, "output": "\n".join(self._printed) + cut})


def _log_task(resource: str, event: Mapping[str, Any]) -> None:
    outcome = _TASK_EVENTS.get(event.get("event", ""))
    if outcome is None:
        return
    data = event.get("event_data") or {}
    result, action = data.get("res") or {}, data.get("task_action")
    ignored = outcome == "failed" and bool(data.get("ignore_errors"))
    if outcome == "ok" and result.get("changed"):
        outcome = "changed"
    fields = {"resource": resource, "task": data.get("task"), "host": data.get("host"), "action": action}
    if "duration" in data:
        fields["duration"] = round(data["duration"], 3)
    if outcome in _BAD or action in _SAYING:
        fields["result"] = result_message(result)
    # Not an error, because a rescue may follow. The line that ends the run shows whether one did.
    level = logging.WARNING if outcome in _BAD and not ignored else logging.INFO
    line = f"task {outcome}{', ignored' if ignored else ''}"
    logger.log(level, line, extra=fields)


def _log_event(resource: str, event: Mapping[str, Any]) -> None:
    fields = {"resource": resource, "event": event.get("event"), "data": event.get("event_data") or {}}
    if event.get("stdout"):
        fields["output"] = COLOUR.sub("", event["stdout"])
    logger.info("event", extra=fields)


_WRITERS: Mapping[str, Callable[[str, Mapping[str, Any]], None]] = {
    "tasks": _log_task,
    "everything": _log_event,
    "nothing": lambda resource, event: None,
}
