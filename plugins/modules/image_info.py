#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell what images run by themselves."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_info
short_description: Tell what images run by themselves
version_added: 0.1.0
description:
  - Reads the ENTRYPOINT and CMD of container images from their registries, without pulling them.
  - All images together are looked up within a few seconds, or the module fails and says what each registry said.
  - No cluster is needed, unless O(pull_secrets) or O(service_account) says to read pull secrets there.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.registry
options:
  images:
    description: The images' references, as in a Pod.
    type: list
    elements: str
    required: true
  username:
    description: Whom to be where a registry of these images asks.
    type: str
  password:
    description: The password, or token, of O(username).
    type: str
  pull_secrets:
    description: The names of pull secrets in O(namespace), in place of O(username).
    type: list
    elements: str
  service_account:
    description: A ServiceAccount in O(namespace) whose pull secrets are used, where O(pull_secrets) has none.
    type: str
  namespace:
    description: The namespace of O(pull_secrets) and O(service_account).
    type: str
    default: default
attributes:
  check_mode:
    description: Changes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
seealso:
  - module: taskflow.operator.task_pod
"""

EXAMPLES = r"""
- name: See what an image runs
  taskflow.operator.image_info:
    images:
      - registry.example.com/shop/tools:v3
    username: reader
    password: "{{ registry_token }}"
  register: found

- name: Show its command line
  ansible.builtin.debug:
    msg: "{{ found.images[0].entrypoint + found.images[0].cmd }}"

- name: Ask as the Pods of a namespace would
  taskflow.operator.image_info:
    images:
      - registry.example.com/shop/tools:v3
    namespace: shop
    service_account: default
"""

RETURN = r"""
images:
  description: What each of O(images) runs, in their order.
  returned: success
  type: list
  elements: dict
  contains:
    image:
      description: The reference.
      returned: always
      type: str
      sample: registry.example.com/shop/tools:v3
    entrypoint:
      description: The program and its first arguments; empty where the image has no ENTRYPOINT.
      returned: always
      type: list
      elements: str
      sample: [/usr/bin/tools]
    cmd:
      description: The arguments that are used when the Pod gives none; empty where the image has no CMD.
      returned: always
      type: list
      elements: str
      sample: [--help]
reason:
  description: Why it is not known, in one word.
  returned: failure
  type: str
  sample: ImageLookupFailed
permanent:
  description: Whether only other arguments can help.
  returned: failure
  type: bool
retry_after:
  description: After how many seconds another try makes sense, where that is known.
  returned: failure
  type: float
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import HAS_DXF
from ansible_collections.taskflow.operator.plugins.module_utils._kube.access import CLUSTER_ARGUMENTS
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._module.find import describe_images
from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import (
    LOOKUP_ARGUMENTS,
    failure_of,
    lookup_settings,
    require,
)

ARGUMENTS = {
    "images": {"type": "list", "elements": "str", "required": True},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "pull_secrets": {"type": "list", "elements": "str", "no_log": False},
    "service_account": {"type": "str"},
    "namespace": {"type": "str", "default": "default"},
    **CLUSTER_ARGUMENTS,
    **LOOKUP_ARGUMENTS,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_together=[("username", "password")],
        mutually_exclusive=[("username", "pull_secrets"), ("username", "service_account")],
    )
    require(module, {"python-dxf": HAS_DXF})
    params = module.params
    try:
        found = describe_images(params, lookup_settings(params), lambda: Api(params))
    except TaskError as error:
        module.fail_json(**failure_of(error))
    module.exit_json(changed=False, images=found)


if __name__ == "__main__":
    main()
