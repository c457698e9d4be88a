"""Runs tasks in the process itself, where Ansible forks a worker for each.

In the rehearsal all of them, for it is to leave traces. In a run, where that is wanted (``--no-worker-fork``), those
that only work on variables, for which the fork is most of the cost. What their lookups and filters leave in the process
then is there for the tasks after them.
"""

import copy
import traceback
from typing import Any

from ansible import constants
from ansible._internal import _task
from ansible._internal._errors import _error_utils
from ansible.errors import AnsibleError
from ansible.executor.process.worker import WorkerProcess
from ansible.executor.task_executor import TaskExecutor
from ansible.executor.task_result import _RawTaskResult
from ansible.plugins import strategy
from ansible.plugins.loader import action_loader
from ansible.utils.display import Display

from taskflow_controller.runs.warm.server.temporary import is_ansibles_path

# By themselves they start nothing, and use no connection.
_ACTIONS = ("assert", "debug", "fail", "set_fact")
_PLAIN = frozenset(constants.add_internal_fqcns(_ACTIONS))
# The executor's own, without a plugin.
_INCLUDES = frozenset({*constants._ACTION_INCLUDE_TASKS, *constants._ACTION_INCLUDE_ROLE})


def install() -> None:
    """Have all of this process's strategies choose, for each task, whether it needs a worker."""
    strategy.WorkerProcess = _worker


def _worker(**fields: Any) -> Any:
    return (InlineWorker if _is_plain(fields["task"], fields["task_vars"]) else WorkerProcess)(**fields)


def _is_plain(task: Any, task_vars: Any) -> bool:
    """Return whether a task may run here: it is not one that waits, and its action is Ansible's own."""
    if task.async_val or task.timeout or task.retries or task.until or task.delegate_to or task.become:
        return False
    if task.loop_control and task.loop_control.pause:
        return False
    if task_vars.get("ansible_connection") != "local":
        return False
    if task.action in _INCLUDES:
        return True
    if task.action not in _PLAIN:
        return False
    found = action_loader.find_plugin_with_context(task.action, collection_list=task.collections)
    return found.resolved and is_ansibles_path(found.plugin_resolved_path, "action", task.action.rpartition(".")[2])


class InlineWorker:
    """Takes the place of WorkerProcess."""

    pid = None

    def __init__(self, **fields: Any) -> None:
        self._fields = fields
        self.exitcode = 0

    def start(self) -> None:
        try:
            self._run()
        except SystemExit:  # of a plugin; it ends a worker, and with it the run
            Display().debug(f"a task ended its worker: {traceback.format_exc()}")
            self.exitcode = 1

    def _run(self) -> None:
        given = self._fields
        task = given["task"].copy(exclude_parent=True, exclude_tasks=True)
        task._parent = copy.copy(given["task"]._parent)  # it is validated with the task, and so changed
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
        except Exception as error:  # what can't be pickled is left out
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
