#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a Task, and wait for its end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task
short_description: Have a Task, and wait for its end
version_added: 0.1.0
description:
  - Creates, changes or deletes a C(Task) (C(api.practice.com/v1alpha1)), and waits for its end if that is wanted.
  - The operator on the cluster runs it.
  - A changed spec replaces a run that goes on, and runs a Task again that has ended.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.wanted
seealso:
  - module: taskflow.operator.task_info
  - module: taskflow.operator.build
"""

EXAMPLES = r"""
- name: Run two steps, and go on when they have succeeded
  taskflow.operator.task:
    name: migrate
    namespace: shop
    spec:
      timeout: 10m
      steps:
        - name: dump
          image: registry.example.com/shop/tools:v3
          command: [dump, --to, /taskflow/dump.sql]
        - name: migrate
          image: registry.example.com/shop/tools:v3
          command: [migrate]
    wait: true
  register: migration

- name: Show what the step migrate has found
  ansible.builtin.debug:
    var: migration.step_results.migrate

- name: Have the Task of a manifest
  taskflow.operator.task:
    definition: "{{ lookup('ansible.builtin.file', 'task.yaml') | from_yaml }}"
    namespace: shop

- name: Remove a Task and its Pod
  taskflow.operator.task:
    name: migrate
    namespace: shop
    state: absent
    wait: true
"""

RETURN = r"""
state:
  description:
    - The state in one word. V(Pending) also while the operator has not seen the present spec yet.
  returned: when there is such a resource
  type: str
  sample: Successful
status:
  description: The whole status, with each step's own in C(steps).
  returned: when there is such a resource
  type: dict
  sample:
    status: Successful
    progress: 2/2
step_results:
  description: The results of the steps, by the names of the steps.
  returned: when there is such a resource
  type: dict
  sample:
    migrate:
      version: "42"
resource:
  description: The resource as the API server has it, without its status.
  returned: when there is such a resource
  type: dict
failed_step:
  description: The name of the step that failed.
  returned: when a step has failed
  type: str
  sample: migrate
log:
  description: The last lines of that step's log. They are in RV(ignore:msg), too.
  returned: when a step has failed
  type: list
  elements: str
reason:
  description: Why it can't be done, in one word.
  returned: failure, when it was not waited for the end
  type: str
  sample: Refused
permanent:
  description: Whether only another spec can help.
  returned: failure, when it was not waited for the end
  type: bool
"""

from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import TASK
from ansible_collections.taskflow.operator.plugins.module_utils._module.resource_module import run


def main() -> None:
    """Run the module."""
    run(TASK)


if __name__ == "__main__":
    main()
