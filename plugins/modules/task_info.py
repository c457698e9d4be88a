#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find Tasks and their states."""

from __future__ import annotations

DOCUMENTATION = r"""
module: task_info
short_description: Find Tasks and their states
version_added: 0.1.0
description:
  - Returns the C(Task)s (C(api.practice.com/v1alpha1)) that match all that is given.
  - One request lists the Tasks of all namespaces. With O(namespaces) it is one for each of them.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
options:
  name:
    description: The name that a Task has.
    type: str
  namespaces:
    description:
      - The namespaces to look in.
      - The default is all namespaces, which takes the right to list Tasks in the whole cluster.
    type: list
    elements: str
    aliases: [namespace]
  label_selectors:
    description: Label selectors, all of which a Task matches, such as V(team=a), V(tier!=test) or V(team in (a,b\)).
    type: list
    elements: str
  states:
    description: The states that a Task may be in.
    type: list
    elements: str
    choices: [Pending, Running, Successful, Failure, Cancelled]
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: taskflow.operator.task
"""

EXAMPLES = r"""
- name: Find the Tasks of a team that have failed
  taskflow.operator.task_info:
    namespaces: [shop, ci]
    label_selectors: [team=a]
    states: [Failure]
  register: found

- name: Show their names
  ansible.builtin.debug:
    msg: "{{ found.tasks | map(attribute='metadata.name') }}"
"""

RETURN = r"""
tasks:
  description: The Tasks, as the API server has them.
  returned: success
  type: list
  elements: dict
  contains:
    metadata:
      description: Name, namespace, labels and the like.
      returned: always
      type: dict
    spec:
      description: What the Task is to run.
      returned: always
      type: dict
    status:
      description: How far it is. The state is in C(status).
      returned: when the operator has seen the Task
      type: dict
reason:
  description: Why they could not be read, in one word.
  returned: failure
  type: str
  sample: Forbidden
permanent:
  description: Whether only other arguments can help.
  returned: failure
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._kube.access import CLUSTER_ARGUMENTS
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._module.find import find_tasks
from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import failure_of, require

ARGUMENTS = {
    "name": {"type": "str"},
    "namespaces": {"type": "list", "elements": "str", "aliases": ["namespace"]},
    "label_selectors": {"type": "list", "elements": "str"},
    "states": {
        "type": "list",
        "elements": "str",
        "choices": ["Pending", "Running", "Successful", "Failure", "Cancelled"],
    },
    **CLUSTER_ARGUMENTS,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    require(module, {})
    try:
        found = find_tasks(Api(module.params), module.params)
    except TaskError as error:
        module.fail_json(**failure_of(error))
    module.exit_json(changed=False, tasks=found)


if __name__ == "__main__":
    main()
