#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the Pod that runs a Task's steps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_pod
short_description: Have the Pod that runs a Task's steps
version_added: 0.1.0
description:
  - Creates the Pod of a C(Task) (C(api.practice.com/v1alpha1)) when one is due, and deletes those of its earlier specs.
  - At most one Pod of a Task is alive at any time. While one of an earlier spec or attempt is still ending, none is
    created. A Pod's name follows from the Task, its spec and the attempt, so that none can be made twice.
  - A Pod of that name counts as the Task's if its UID is in the status, or if it is what this module would make.
    Otherwise the module fails with the reason V(PodNameTaken), and leaves that Pod alone.
  - A Task that has its verdict gets no new Pod. A Pod that was deleted or lost before that is replaced, until three
    have been lost; one that failed is, as often as C(spec.retries) says.
  - A Task with C(spec.suspend) has no Pod. One with C(spec.cancel), or whose C(spec.timeout) has passed, gets none.
  - A Task that has ended is deleted when its C(spec.ttlSecondsAfterFinished) have passed.
  - Images of steps with neither C(command) nor C(script) are looked up in their registries, with the pull secrets that
    the Pod has.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.task
  - taskflow.operator.pod
  - taskflow.operator.registry
seealso:
  - module: taskflow.operator.task_reconcile
  - module: taskflow.operator.task_order
  - module: taskflow.operator.task_status
"""

EXAMPLES = r"""
- name: Have the Pod of a Task
  taskflow.operator.task_pod:
    name: example-taskflow
    namespace: default
  register: result

- name: Ask for images of Docker Hub at a mirror first
  taskflow.operator.task_pod:
    name: example-taskflow
    registry_mirrors:
      - docker.io=https://mirror.example.com

- name: Have the Pods of many Tasks
  taskflow.operator.task_pod:
    tasks:
      - name: example-taskflow
      - name: other-taskflow
        namespace: elsewhere
  register: made

- name: Show which of them can't have one
  ansible.builtin.debug:
    msg: "{{ made.resources | selectattr('failed') }}"
"""

RETURN = r"""
action:
  description:
    - What was done.
    - V(created) a Pod; V(kept) the one that is there; V(waiting) for a Pod of an earlier spec or attempt to end;
      V(suspended) says that the Task is not to run now; V(finished) that no Pod is due, for the Task has its verdict
      or was cancelled; V(expired) that it was deleted, for its time to live had passed; V(absent) that there is no such
      Task.
  returned: success
  type: str
  sample: created
pod:
  description: The Pod of the present run.
  returned: when there is one
  type: dict
adopted:
  description:
    - Whether the Pod that was kept is one that the status does not speak of yet. It has turned out to be what this
      module would make.
  returned: when that is so
  type: bool
deleted:
  description: The names of the Pods that were deleted.
  returned: success
  type: list
  elements: str
ended:
  description:
    - The name of the Pod that was told to end, and that stays for its logs. A sidecar has failed in it before its first
      step began, or containers of others would go on after its steps.
  returned: when there is one
  type: str
reason:
  description: Why the Task can't have a Pod, in one word.
  returned: failure
  type: str
  sample: ImageLookupFailed
permanent:
  description: Whether only a changed spec can help.
  returned: failure
  type: bool
retry_after:
  description: After how many seconds another try makes sense, where that is known.
  returned: failure
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
from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import POD_ARGUMENTS, run_module


def main() -> None:
    """Run the module."""
    run_module(
        lambda reconciler, found, _target: reconciler.have_pod(found), POD_ARGUMENTS, libraries={"python-dxf": HAS_DXF}
    )


if __name__ == "__main__":
    main()
