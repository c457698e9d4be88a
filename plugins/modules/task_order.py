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
  - With C(handoff) V(Annotation) it goes up by one at a time, and that is what starts a step. With V(Local) the steps
    start each other, and the order follows them; it may pass over numbers of steps that have ended.
  - With C(handoff) V(Annotation) the Task's annotation C(api.practice.com/hold-order) holds it, at the number that it
    gives, or where it is if that is no number.
  - What anybody else has written there is put back to what the steps' states call for, and an Event of the Task says
    so. That is what is no number from V(0) to that of the last step and not V(-1), a number lower than the order has
    been, and one higher than the steps before it allow.
  - A Task with C(spec.cancel), or whose C(spec.timeout) has passed, is told to end by V(-1).
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.task
seealso:
  - module: taskflow.operator.task_reconcile
  - module: taskflow.operator.task_pod
  - module: taskflow.operator.task_status
"""

EXAMPLES = r"""
- name: Let the next step begin when it is its turn
  taskflow.operator.task_order:
    name: example-taskflow

- name: Do that for many Tasks
  taskflow.operator.task_order:
    tasks:
      - name: example-taskflow
      - name: other-taskflow
        namespace: elsewhere
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

from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import run_module


def main() -> None:
    """Run the module."""
    run_module(lambda reconciler, found, _target: reconciler.advance_order(found))


if __name__ == "__main__":
    main()
