"""Runs inside Ansible: keeps the errors of tasks with ``no_log`` from being printed.

Since 2.19 ansible-core prints a failed task's error before its censored result, and the error may contain what
``no_log`` should hide. The reason is that ``exception`` is among the keys that its censoring preserves. Importing this
module removes the key; there is no public way. Versions that have no such set of keys are left alone.
"""

from ansible.executor import task_result
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: taskflow_no_log
type: aggregate
short_description: Keeps the errors of tasks with no_log from being printed
description: It has no options.
"""


def hide_errors() -> None:
    """Remove ``exception`` from censored results. It is safe to call this again."""
    preserved = getattr(task_result, "_PRESERVE", None)
    if isinstance(preserved, set):
        preserved.discard("exception")


hide_errors()


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """A callback that takes no events. Ansible imports this file only because it has one."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "taskflow_no_log"

    def __init__(self) -> None:
        super().__init__()
        self.disabled = True
