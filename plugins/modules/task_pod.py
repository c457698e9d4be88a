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
  - At most one Pod of a Task is alive at any time. While one of an earlier spec is still ending, none is created.
  - A Task whose present spec has its verdict gets no new Pod. A Pod that was deleted or lost before that is replaced,
    until three have been lost.
  - Images of steps with neither C(command) nor C(script) are looked up in their registries.
author:
  - The taskflow.operator contributors (@taskflow)
extends_documentation_fragment:
  - taskflow.operator.task
options:
  agent_image:
    description:
      - The image that holds the agent, which starts each step when it is its turn.
      - Read from E(TASKFLOW_AGENT_IMAGE) when not given; else it is C(docker.io/taskflow/agent) of this version.
    type: str
  registry_mirrors:
    description:
      - URLs to ask for a registry's images before the registry itself, such as the nodes' mirrors.
      - Each is written as C(REGISTRY=URL). A registry may have several, which are asked in this order.
      - Read from E(TASKFLOW_REGISTRY_MIRRORS) when it is not given, separated by commas.
    type: list
    elements: str
  architecture:
    description:
      - Whose ENTRYPOINT is read where an image is there for several, such as V(amd64) or V(arm64).
      - The default is the architecture of the machine that runs the module.
    type: str
requirements:
  - python-dxf >= 12
seealso:
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
"""

RETURN = r"""
action:
  description:
    - What was done.
    - V(created) a Pod; V(kept) the one that is there; V(waiting) for a Pod of an earlier spec to end;
      V(finished) says that the Task has its verdict and no Pod is due; V(absent) that there is no such Task.
  returned: success
  type: str
  sample: created
pod:
  description: The Pod of the present spec.
  returned: when there is one
  type: dict
deleted:
  description: The names of the Pods that were deleted.
  returned: success
  type: list
  elements: str
reason:
  description: Why the Task can't have a Pod, in one word.
  returned: failure
  type: str
  sample: ImageLookupFailed
permanent:
  description: Whether only a changed spec can help.
  returned: failure
  type: bool
"""

import typing as t

from ansible.module_utils.basic import env_fallback
from ansible_collections.taskflow.operator.plugins.module_utils import _contract as c
from ansible_collections.taskflow.operator.plugins.module_utils._attempts import Plan, plan_pods
from ansible_collections.taskflow.operator.plugins.module_utils._image import parse_mirrors
from ansible_collections.taskflow.operator.plugins.module_utils._module import run_module
from ansible_collections.taskflow.operator.plugins.module_utils._pod import build_pod, check_spec, images_to_look_up
from ansible_collections.taskflow.operator.plugins.module_utils._registry import HAS_DXF, Registries, local_architecture
from ansible_collections.taskflow.operator.plugins.module_utils._status import Event

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.taskflow.operator.plugins.module_utils._cluster import Cluster

ARGUMENTS = {
    "agent_image": {"type": "str", "fallback": (env_fallback, [c.AGENT_IMAGE_ENV])},
    "registry_mirrors": {"type": "list", "elements": "str", "fallback": (env_fallback, [c.REGISTRY_MIRRORS_ENV])},
    "architecture": {"type": "str"},
}


def have_pod(module: AnsibleModule, cluster: Cluster) -> dict[str, t.Any]:
    """Carry out the plan for the Task's Pods."""
    task = cluster.get_task(module.params["namespace"], module.params["name"])
    if task is None:
        return {"changed": False, "action": "absent", "deleted": []}
    plan = plan_pods(task, cluster.pods_of(task))
    names = [pod["metadata"]["name"] for pod in plan.delete]
    if not module.check_mode:
        for pod in plan.delete:
            cluster.delete_pod(pod)
    result = {
        "changed": bool(names or plan.attempt),
        "action": action_of(plan),
        "deleted": names,
        "diff": {
            "before": {"pods": [pod_name(plan.current), *names] if plan.current else names},
            "after": {"pods": [pod_name(plan.current)] if plan.current else []},
        },
    }
    if plan.attempt:
        plan = Plan(current=create_pod(module, cluster, task, plan.attempt))
        result["diff"]["after"] = plan.current
    if plan.current:
        result["pod"] = plan.current
    return result


def action_of(plan: Plan) -> str:
    """Return the word that tells what a plan does."""
    if plan.attempt:
        return "created"
    if plan.waiting:
        return "waiting"
    return "kept" if plan.current else "finished"


def pod_name(pod: dict[str, t.Any]) -> str:
    """Return the Pod's name."""
    return str(pod["metadata"]["name"])


def create_pod(module: AnsibleModule, cluster: Cluster, task: dict[str, t.Any], attempt: int) -> dict[str, t.Any]:
    """Build and create the Pod of one attempt, and say so in an Event."""
    check_spec(task["spec"])
    mirrors = parse_mirrors(module.params["registry_mirrors"] or [])
    registries = Registries(mirrors, module.params["architecture"] or local_architecture())
    configs = {image: registries.config(image) for image in images_to_look_up(task)}
    agent_image = module.params["agent_image"] or c.DEFAULT_AGENT_IMAGE
    pod = cluster.create_pod(build_pod(task, agent_image, configs, attempt), dry_run=module.check_mode)
    if not module.check_mode:
        again = f" (attempt {attempt}, the one before was lost)" if attempt > 1 else ""
        cluster.emit(task, Event("Normal", "Created", f"created Pod {pod_name(pod)}{again}"))
    return pod


def main() -> None:
    """Run the module."""
    run_module(have_pod, ARGUMENTS, {"python-dxf": HAS_DXF})


if __name__ == "__main__":
    main()
