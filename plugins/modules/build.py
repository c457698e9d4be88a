#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have a Build, and wait for its end."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build
short_description: Have a Build, and wait for its end
version_added: 0.1.0
description:
  - Creates, changes or deletes a C(Build) (C(ci.zt.vapi.cc/v1)), and waits for its end if that is wanted.
  - The operator on the cluster clones its source and builds it.
  - The same wanted state is built once. Another annotation C(build.taskflow/request) in O(definition) builds it anew.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.wanted
seealso:
  - module: taskflow.operator.task
"""

EXAMPLES = r"""
- name: Test a tag of a repository
  taskflow.operator.build:
    name: website
    namespace: ci
    spec:
      source:
        git:
          url: https://git.example.com/website.git
          revision: v1.2
      image: registry.example.com/ci/golang:1.25
      command: [make, test]
    wait: true
  register: built

- name: Show which commit that was
  ansible.builtin.debug:
    var: built.status.revision

- name: Build the newest commit of a branch once for each run of this play
  taskflow.operator.build:
    definition:
      metadata:
        name: website
        namespace: ci
        annotations:
          build.taskflow/request: "{{ now(utc=true).isoformat() }}"
      spec:
        source:
          git:
            url: https://git.example.com/website.git
            revision: main
        image: registry.example.com/ci/golang:1.25
        command: [make, test]
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
    phase: Successful
    jobName: website-4f9c21ab30
step_results:
  description: The results of the steps, by the names of the steps.
  returned: when there is such a resource
  type: dict
  sample:
    clone:
      revision: 8d3f0a3d1a2b4c5d6e7f8091a2b3c4d5e6f70819
resource:
  description: The resource as the API server has it, without its status.
  returned: when there is such a resource
  type: dict
failed_step:
  description: The name of the step that failed.
  returned: when a step has failed
  type: str
  sample: build
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

from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import BUILD
from ansible_collections.taskflow.operator.plugins.module_utils._module.resource_module import run


def main() -> None:
    """Run the module."""
    run(BUILD)


if __name__ == "__main__":
    main()
