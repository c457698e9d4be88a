#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Advance the order annotation of a Task's Pod."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_order
short_description: Advance the order of a Task's Pod
version_added: 0.1.0
description:
  - Sets the annotation C(taskorder) of the Pod of a C(Task) (C(api.practice.com/v1alpha1)) from the state of its steps.
  - It is V(0) at first, then V(1) to the number of the last step, and V(-1) for good once a step has failed.
  - It goes up by one at a time. With C(handoff) V(Annotation) that is what starts a step. With V(Local) the steps
    start each other, and the order follows them.
  - With C(handoff) V(Annotation) the Task's annotation C(api.practice.com/hold-order) holds it, at the number that it
    gives, or where it is if that is no number.
  - A Task with C(spec.cancel), or whose C(spec.timeout) has passed, is told to end by V(-1).
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.task
seealso:
  - module: taskflow.operator.task_pod
  - module: taskflow.operator.task_status
"""

EXAMPLES = r"""
- name: Let the next step begin when it is its turn
  taskflow.operator.task_order:
    name: example-taskflow
"""

RETURN = r"""
order:
  description: The order annotation, as it is now.
  returned: when the Task has a Pod
  type: int
  sample: 2
pod_name:
  description: The Pod's name.
  returned: when the Task has a Pod
  type: str
"""

import typing as t

from ansible_collections.taskflow.operator.plugins.module_utils import _contract as c
from ansible_collections.taskflow.operator.plugins.module_utils._attempts import current_pod
from ansible_collections.taskflow.operator.plugins.module_utils._cluster import timestamp
from ansible_collections.taskflow.operator.plugins.module_utils._module import run_module
from ansible_collections.taskflow.operator.plugins.module_utils._order import orders_to_come, pod_order
from ansible_collections.taskflow.operator.plugins.module_utils._verdict import shall_stop

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.taskflow.operator.plugins.module_utils._cluster import Cluster


def advance(module: AnsibleModule, cluster: Cluster) -> dict[str, t.Any]:
    """Set the order annotation to what the steps' states call for."""
    task = cluster.get_task(module.params["namespace"], module.params["name"])
    pod = current_pod(task, cluster.pods_of(task)) if task else None
    if task is None or pod is None:
        return {"changed": False}
    before = pod_order(pod)
    orders = orders_to_come(before, task, pod, shall_stop(task, timestamp()))
    after = orders[-1] if orders else before
    if not module.check_mode:
        for order in orders:
            cancelled = order == c.ORDER_QUIT and bool(task["spec"].get("cancel"))
            pod = cluster.set_order(pod, order, cancelled)
    return {
        "changed": bool(orders),
        "order": after,
        "pod_name": pod["metadata"]["name"],
        "diff": {"before": {c.ORDER_ANNOTATION: str(before)}, "after": {c.ORDER_ANNOTATION: str(after)}},
    }


def main() -> None:
    """Run the module."""
    run_module(advance)


if __name__ == "__main__":
    main()
