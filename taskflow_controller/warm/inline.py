"""Runs tasks in the process itself, where Ansible forks a worker: for the rehearsal, which is to leave traces."""

from typing import Any

from ansible._internal import _task
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult


class InlineWorker:
    """Takes the place of WorkerProcess."""

    pid = None
    exitcode = 0

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def start(self) -> None:
        given = self._fields
        task = given["task"].copy(exclude_parent=True, exclude_tasks=True)
        task._parent = given["task"]._parent
        names = ("loader", "shared_loader_obj", "final_q", "variable_manager")
        with _task.TaskContext(task):
            executor = TaskExecutor(
                given["host"], task, given["task_vars"], given["play_context"].copy(), *(given[name] for name in names)
            )
            result = executor.run()
        given["final_q"].send_task_result(
            _RawTaskResult(host=given["host"], task=task, return_data=result, task_fields=task.dump_attrs())
        )

    def is_alive(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""

    def terminate(self) -> None:
        """Nothing to end."""
