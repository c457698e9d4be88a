"""Runs inside Ansible: keeps the errors of tasks with ``no_log`` from being printed.

From 2.19 on ansible-core prints what a failed task said before its censored result, and what a task says may well
hold what ``no_log`` is to hide. It does so because ``exception`` is among the keys that its censoring preserves. The
import of this module takes it out; there is no public way. Other versions, where there is no such set, are left alone.
"""

from ansible.executor import task_result
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: taskflow_no_log
type: aggregate
short_description: Keeps the errors of tasks with no_log from being printed
description: There is nothing to set.
"""


def hide_errors() -> None:
    """Let a censored result have no ``exception``. Safe to call again."""
    preserved = getattr(task_result, "_PRESERVE", None)
    if isinstance(preserved, set):
        preserved.discard("exception")


hide_errors()


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Ansible imports this file for the sake of a callback; this one wants no events."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "taskflow_no_log"

    def __init__(self) -> None:
        super().__init__()
        self.disabled = True
