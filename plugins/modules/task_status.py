#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record what is known of a Task in its status."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_status
short_description: Record the state of a Task in its status
version_added: 0.1.0
description:
  - Computes the status of a C(Task) (C(api.practice.com/v1alpha1)) from its Pod and writes it when it has changed.
  - Records an Event on the Task for each step that starts, succeeds or fails, and for the Task's start and end.
  - A verdict, V(Successful), V(Failure) or V(Cancelled), comes after the order that goes with it
    (M(taskflow.operator.task_order)), and never changes until the spec does.
  - A status that the API server does not take, because the Task leaves no room for it, is cut until it does. Its
    condition says so.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.task
options:
  problem:
    description: What keeps the Task from having a Pod, as M(taskflow.operator.task_pod) returns it on failure.
    type: dict
    suboptions:
      reason:
        description: The reason, in one word.
        type: str
        required: true
      msg:
        description: The reason in words.
        type: str
        required: true
      permanent:
        description: Whether only a changed spec can help. The Task then fails; otherwise it stays pending.
        type: bool
        default: false
      retry_after:
        description: After how many seconds another try makes sense, where that is known.
        type: float
  tasks:
    description:
      - Many Tasks to serve in one go, in place of O(name). They share one connection and the reading of their Pods.
      - Each gets its own result in RV(results). One that fails fails neither the others nor the module.
    type: list
    elements: dict
    suboptions:
      name:
        description: The Task's name.
        type: str
        required: true
      namespace:
        description: The Task's namespace.
        type: str
        default: default
      problem:
        description: What keeps the Task from having a Pod, as M(taskflow.operator.task_pod) returns it on failure.
        type: dict
        suboptions:
          reason:
            description: The reason, in one word.
            type: str
            required: true
          msg:
            description: The reason in words.
            type: str
            required: true
          permanent:
            description: Whether only a changed spec can help. The Task then fails; otherwise it stays pending.
            type: bool
            default: false
          retry_after:
            description: After how many seconds another try makes sense, where that is known.
            type: float
seealso:
  - module: taskflow.operator.task_reconcile
  - module: taskflow.operator.task_pod
  - module: taskflow.operator.task_order
"""

EXAMPLES = r"""
- name: Record the state of a Task
  taskflow.operator.task_status:
    name: example-taskflow

- name: Record why a Task has no Pod
  taskflow.operator.task_status:
    name: example-taskflow
    problem:
      reason: QuotaExceeded
      msg: the namespace has no room for another Pod

- name: Do both in one go
  taskflow.operator.task_status:
    tasks:
      - name: example-taskflow
      - name: other-taskflow
        problem:
          reason: QuotaExceeded
          msg: the namespace has no room for another Pod
"""

RETURN = r"""
status:
  description: The Task's status, as it is now.
  returned: when there is such a Task
  type: dict
  sample:
    status: Running
    progress: 2/4
is_written:
  description: False, because etcd has no room for any status of so large a Task. An Event tells of it.
  returned: when no status could be written
  type: bool
  sample: false
requeue_after:
  description:
    - After how many seconds the Task is to be looked at again though nothing may have changed; its timeout, the end
      of its time to live, or another try of what failed.
    - The controller that runs this module sees to it.
  returned: when that is so
  type: int
  sample: 300
reason:
  description: Why it can't be done, in one word.
  returned: failure
  type: str
  sample: APIUnreachable
permanent:
  description: Whether only a changed spec can help.
  returned: failure
  type: bool
results:
  description:
    - What came of each of O(tasks), in their order; the same as for a single Task, and RV(results[].name),
      RV(results[].namespace) and RV(results[].failed) beside it.
    - One that failed has what a failed module returns. It has RV(results[].exception) where that was a fault of the
      module itself.
  returned: when O(tasks) is given
  type: list
  elements: dict
  contains:
    name:
      description: The Task's name.
      returned: always
      type: str
    namespace:
      description: The Task's namespace.
      returned: always
      type: str
    failed:
      description: Whether something went wrong with this Task.
      returned: always
      type: bool
    exception:
      description: Where in the module it went wrong.
      returned: when it is a fault of the module
      type: str
resources:
  description: The verdict on each of O(tasks), in their order, for the controller that runs this module.
  returned: when O(tasks) is given
  type: list
  elements: dict
  contains:
    name:
      description: The Task's name.
      returned: always
      type: str
    namespace:
      description: The Task's namespace.
      returned: always
      type: str
    failed:
      description: Whether it is to be tried again, as something that failed.
      returned: always
      type: bool
    alone:
      description: Whether nothing is wrong with it, but that it can't be done together with the others.
      returned: when that is so; RV(resources[].failed) is true then
      type: bool
    msg:
      description: What is wrong with the Task; empty when nothing is.
      returned: always
      type: str
    requeue_after:
      description: After how many seconds the Task is to be looked at again though nothing may have changed.
      returned: when that is so
      type: int
"""

from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import PROBLEM_ARGUMENTS, run_module


def main() -> None:
    """Run the module."""
    run_module(
        lambda reconciler, found, target: reconciler.record_status(found, target.problem), of_each=PROBLEM_ARGUMENTS
    )


if __name__ == "__main__":
    main()
