"""Runs tasks in the process itself instead of a forked worker, so that the rehearsal loads everything here."""

import copy
import traceback
from typing import Any

from ansible._internal import _task
from ansible._internal._errors import _error_utils
from ansible.errors import AnsibleError
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.utils.display import Display


class InlineWorker:
    """Takes the place of WorkerProcess."""

    pid = None

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self.exitcode = 0

    def start(self) -> None:
        try:
            self._run()
        except SystemExit:  # from a plugin; in a worker it would end the worker, and so the run
            Display().debug(f"a task ended its worker: {traceback.format_exc()}")
            self.exitcode = 1

    def _run(self) -> None:
        given = self._fields
        task = given["task"].copy(exclude_parent=True, exclude_tasks=True)
        task._parent = copy.copy(given["task"]._parent)  # validating the task changes it, too
        names = ("loader", "shared_loader_obj", "final_q", "variable_manager")
        with _task.TaskContext(task):
            executor = TaskExecutor(
                given["host"], task, given["task_vars"], given["play_context"].copy(), *(given[name] for name in names)
            )
            result = executor.run()
            self._send(task, result, task.dump_attrs())

    def _send(self, task: Any, result: Any, fields: Any) -> None:
        host, queue = self._fields["host"], self._fields["final_q"]
        try:
            queue.send_task_result(_RawTaskResult(host=host, task=task, return_data=result, task_fields=fields))
        except Exception as error:  # a result that can't be pickled is left out
            try:
                raise AnsibleError("Task result omitted due to queue send failure.") from error
            except AnsibleError as told:
                result = _error_utils.result_dict_from_exception(told)
            queue.send_task_result(_RawTaskResult(host=host, task=task, return_data=result, task_fields={}))

    def is_alive(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""

    def terminate(self) -> None:
        """Nothing to end."""
