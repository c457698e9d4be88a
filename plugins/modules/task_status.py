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
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
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
      message:
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
      message: the namespace has no room for another Pod
"""

RETURN = r"""
status:
  description: The Task's status, as it is now.
  returned: when there is such a Task
  type: dict
  sample:
    status: Running
    progress: 2/4
requeue_after:
  description:
    - After how many seconds the Task is to be looked at again though nothing may have changed; its timeout, the end
      of its time to live, or another try of what failed.
    - The controller that runs this module sees to it.
  returned: when that is so
  type: int
  sample: 300
"""

import typing as t

from ansible_collections.taskflow.operator.plugins.module_utils._cluster import timestamp
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._module import run_module
from ansible_collections.taskflow.operator.plugins.module_utils._status import (
    compute_events,
    compute_status,
    next_look,
)

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.taskflow.operator.plugins.module_utils._cluster import Cluster

ARGUMENTS = {
    "problem": {
        "type": "dict",
        "options": {
            "reason": {"type": "str", "required": True},
            "message": {"type": "str", "required": True},
            "permanent": {"type": "bool", "default": False},
            "retry_after": {"type": "float"},
        },
    },
}


def record(module: AnsibleModule, cluster: Cluster) -> dict[str, t.Any]:
    """Write the Task's status and the events of what changed in it."""
    task = cluster.get_task(module.params["namespace"], module.params["name"])
    if task is None:
        return {"changed": False}
    problem = TaskError(**module.params["problem"]) if module.params["problem"] else None
    now = timestamp()
    before = task.get("status") or {}
    after = compute_status(task, cluster.pods_of(task), problem, now)
    if after != before and not module.check_mode:
        cluster.set_status(task, after)
        for event in compute_events(before, after):
            cluster.emit(task, event)
    again = next_look({**task, "status": after}, problem, now)
    return {
        "changed": after != before,
        "status": after,
        "diff": {"before": before, "after": after},
        **({"requeue_after": again} if again else {}),
    }


def main() -> None:
    """Run the module."""
    run_module(record, ARGUMENTS)


if __name__ == "__main__":
    main()
