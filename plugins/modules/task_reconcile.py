#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do all that is due for Tasks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_reconcile
short_description: Do all that is due for Tasks
version_added: 0.1.0
description:
  - Does for each C(Task) (C(api.practice.com/v1alpha1)) what M(taskflow.operator.task_pod),
    M(taskflow.operator.task_order) and M(taskflow.operator.task_status) do, in this order; the order only where the Pod
    was there already, and the status only where the Task still is.
  - A Task that can't have its Pod has the reason recorded in its status. That is no failure of the module;
    RV(requeue_after) tells when it is tried again.
  - A Pod is the Task's if its UID is in the status, or if it is exactly what this module would make; its labels, owner
    and annotations prove nothing. Where labels or owner were taken off it, they are put back.
  - A Task and its Pods are read once, where the three modules read them thrice. What is written is conditional on what
    was read; a Task that somebody changed meanwhile is read afresh and done once more.
  - Of many Tasks those whose images have to be looked up come last. One whose registry has not answered lately fails
    with the reason V(ImageLookupPending), and has all the time that a look-up may take when it is tried again alone.
options:
  track_pods:
    description:
      - Whether a Pod that is made has the finalizer C(api.practice.com/task-tracking). Such a Pod stays, though
        somebody deletes it or its node goes, until this module has recorded how it ended; so no success is lost and
        run again.
      - The module takes the finalizer off when the Task has its verdict, or its next Pod. It can't for a Task that has
        been deleted, so something else has to do that; the operator's controller does. Leave it V(false) in a cluster
        without the operator, or such Pods stay for ever.
      - Pods in the namespace in which this module itself runs never have it, for that namespace could not be deleted.
    type: bool
    default: false
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.task
  - taskflow.operator.pod
  - taskflow.operator.registry
seealso:
  - module: taskflow.operator.task_pod
  - module: taskflow.operator.task_order
  - module: taskflow.operator.task_status
"""

EXAMPLES = r"""
- name: Do all that is due for a Task
  taskflow.operator.task_reconcile:
    name: example-taskflow
    namespace: default

- name: Do all that is due for many Tasks
  taskflow.operator.task_reconcile:
    tasks:
      - name: example-taskflow
      - name: other-taskflow
        namespace: elsewhere
  register: reconciled

- name: Stop where one of them failed
  ansible.builtin.assert:
    that: reconciled.resources | selectattr('failed') | length == 0
"""

RETURN = r"""
action:
  description:
    - What was done about the Task's Pod, as M(taskflow.operator.task_pod) has it.
    - V(failed) says that it can't have one.
  returned: success
  type: str
  sample: kept
deleted:
  description: The names of the Pods that were deleted.
  returned: success
  type: list
  elements: str
state:
  description: The Task's state, in one word.
  returned: when the Task is there still
  type: str
  sample: Running
reason:
  description: The reason of its condition C(Succeeded); of a failure why it can't be done. Each is one word.
  returned: when the Task is there still, and on failure
  type: str
  sample: Running
message:
  description: Why the Task can't have a Pod.
  returned: when RV(action) is V(failed)
  type: str
pod_name:
  description: The name of its Pod.
  returned: when it has or had one
  type: str
order:
  description: The Pod's order annotation.
  returned: when there is one
  type: str
  sample: "2"
requeue_after:
  description:
    - After how many seconds the Task is to be looked at again though nothing may have changed, as
      M(taskflow.operator.task_status) has it.
    - The controller that runs this module sees to it.
  returned: when that is so
  type: int
  sample: 300
permanent:
  description: Whether only a changed spec can help.
  returned: failure
  type: bool
retry_after:
  description: After how many seconds another try makes sense.
  returned: failure, where that is known
  type: float
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

from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import HAS_DXF
from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import (
    POD_ARGUMENTS,
    TRACK_ARGUMENTS,
    run_module,
)


def main() -> None:
    """Run the module."""
    run_module(
        lambda reconciler, found, _target: reconciler.reconcile(found),
        {**POD_ARGUMENTS, **TRACK_ARGUMENTS},
        libraries={"python-dxf": HAS_DXF},
    )


if __name__ == "__main__":
    main()
