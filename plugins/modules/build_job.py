#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the Job of a Build, and record how far it is."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_job
short_description: Have the Job that does a Build's work, and record how far it is
version_added: 0.1.0
description:
  - Creates the Job of a C(Build) (C(ci.zt.vapi.cc/v1)) when its wanted state has none, and writes the Build's status.
  - A Job's name carries a hash of the spec and of the annotation C(build.taskflow/request). The same wanted state is
    built once.
  - A Job of another wanted state that still runs is deleted first, with its Pods. Until they are gone, none is created.
  - The Job's Pod runs the steps one after the other, as that of a C(Task) does. The first step clones the source.
  - A Build is judged by the containers of its steps. A Pod in which others' containers go on after those is ended, and
    its Job is kept from another try.
  - A Build with C(spec.suspend) has no Job.
  - The Job of a Build that has ended is deleted when its C(spec.ttlSecondsAfterFinished) have passed.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.cluster
  - taskflow.operator.pod
  - taskflow.operator.registry
options:
  name:
    description: The Build's name.
    type: str
    required: true
  namespace:
    description: The Build's namespace.
    type: str
    default: default
  git_image:
    description:
      - The image that clones the source. It has git and sh.
      - Read from E(TASKFLOW_GIT_IMAGE) when it is not given; else it is C(docker.io/alpine/git:2.47.2).
    type: str
attributes:
  check_mode:
    support: full
    description: The API server is asked whether it would take the Job.
  diff_mode:
    support: full
    description: Shows the Build's status before and after.
seealso:
  - module: taskflow.operator.task_pod
"""

EXAMPLES = r"""
- name: Have the Job of a Build
  taskflow.operator.build_job:
    name: website
    namespace: ci
  register: result
"""

RETURN = r"""
action:
  description:
    - What was done.
    - V(created) a Job; V(kept) the one that is there; V(waiting) for a Job of an earlier state to be gone; V(failed) to
      make a Job, and the status says why;
      V(suspended) says that none is wanted now; V(finished) that the wanted state has been built, or could not be;
      V(absent) that there is no such Build.
  returned: success
  type: str
  sample: created
job_name:
  description: The Job of the wanted state; empty where it has had none yet.
  returned: success
  type: str
  sample: website-4f9c21ab30
deleted:
  description: The names of the Jobs that were deleted.
  returned: success
  type: list
  elements: str
status:
  description: The Build's status, as it is now.
  returned: when there is such a Build
  type: dict
  sample:
    phase: Running
    jobName: website-4f9c21ab30
requeue_after:
  description:
    - After how many seconds the Build is to be looked at again though nothing may have changed.
    - The controller that runs this module sees to it.
  returned: when that is so
  type: int
  sample: 10
reason:
  description: Why the API server could not be asked, in one word.
  returned: failure
  type: str
  sample: APIUnreachable
permanent:
  description: Whether only a changed spec can help.
  returned: failure
  type: bool
"""

from ansible.module_utils.basic import AnsibleModule, env_fallback
from ansible_collections.taskflow.operator.plugins.module_utils import _contract as c
from ansible_collections.taskflow.operator.plugins.module_utils._build.api import BuildApi
from ansible_collections.taskflow.operator.plugins.module_utils._build.build import DEFAULT_GIT_IMAGE, GIT_IMAGE_ENV
from ansible_collections.taskflow.operator.plugins.module_utils._build.reconcile import BuildReconciler
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.batch import Images
from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import HAS_DXF
from ansible_collections.taskflow.operator.plugins.module_utils._kube.access import CLUSTER_ARGUMENTS
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._module.run_module import (
    POD_ARGUMENTS,
    failure_of,
    lookup_settings,
    require,
)

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "git_image": {"type": "str", "fallback": (env_fallback, [GIT_IMAGE_ENV])},
    **CLUSTER_ARGUMENTS,
    **POD_ARGUMENTS,
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    require(module, {"python-dxf": HAS_DXF})
    params = module.params
    try:
        api = Api(params)
        images = Images(api, lambda: lookup_settings(params), for_many=False)
        agent_image = params["agent_image"] or c.DEFAULT_AGENT_IMAGE
        git_image = params["git_image"] or DEFAULT_GIT_IMAGE
        reconciler = BuildReconciler(BuildApi(api), module.check_mode, agent_image, git_image, images)
        result = reconciler.reconcile_named(params["namespace"], params["name"])
    except TaskError as error:
        module.fail_json(**failure_of(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
