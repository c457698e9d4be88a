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
  - A Task that has its verdict gets no new Pod. A Pod that was deleted or lost before that is replaced, until three
    have been lost; one that failed is, as often as C(spec.retries) says.
  - A Task with C(spec.suspend) has no Pod. One with C(spec.cancel), or whose C(spec.timeout) has passed, gets none.
  - A Task that has ended is deleted when its C(spec.ttlSecondsAfterFinished) have passed.
  - Images of steps with neither C(command) nor C(script) are looked up in their registries, with the pull secrets that
    the Pod has.
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
  registry_ca:
    description:
      - A file of certificates (PEM) that registries are trusted by, beside the public ones.
      - Read from E(TASKFLOW_REGISTRY_CA) when it is not given.
    type: path
  image_cache_dir:
    description:
      - A directory to keep in what images run, by their digests. Nothing is kept without it.
      - Read from E(TASKFLOW_IMAGE_CACHE) when it is not given.
    type: path
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
retry_after:
  description: After how many seconds another try makes sense, where that is known.
  returned: failure
  type: float
"""

import typing as t

from ansible.module_utils.basic import env_fallback
from ansible_collections.taskflow.operator.plugins.module_utils import _contract as c
from ansible_collections.taskflow.operator.plugins.module_utils._attempts import Plan, plan_pods
from ansible_collections.taskflow.operator.plugins.module_utils._cluster import ALREADY_EXISTS, timestamp
from ansible_collections.taskflow.operator.plugins.module_utils._durations import seconds_until
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import ImageConfig, parse_mirrors
from ansible_collections.taskflow.operator.plugins.module_utils._lookup import LookupSettings, look_up
from ansible_collections.taskflow.operator.plugins.module_utils._module import run_module
from ansible_collections.taskflow.operator.plugins.module_utils._pod import Attempt, build_pod, images_to_look_up
from ansible_collections.taskflow.operator.plugins.module_utils._registry import HAS_DXF, local_architecture
from ansible_collections.taskflow.operator.plugins.module_utils._run import expiry
from ansible_collections.taskflow.operator.plugins.module_utils._spec import Resolved, resolve
from ansible_collections.taskflow.operator.plugins.module_utils._status import Event

if t.TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.taskflow.operator.plugins.module_utils._cluster import Cluster

Object = dict[str, t.Any]

ARGUMENTS = {
    "agent_image": {"type": "str", "fallback": (env_fallback, [c.AGENT_IMAGE_ENV])},
    "registry_mirrors": {"type": "list", "elements": "str", "fallback": (env_fallback, [c.REGISTRY_MIRRORS_ENV])},
    "registry_ca": {"type": "path", "fallback": (env_fallback, [c.REGISTRY_CA_ENV])},
    "image_cache_dir": {"type": "path", "fallback": (env_fallback, [c.IMAGE_CACHE_ENV])},
    "architecture": {"type": "str"},
}


def have_pod(module: AnsibleModule, cluster: Cluster) -> dict[str, t.Any]:
    """Carry out the plan for the Task's Pods."""
    task = cluster.get_task(module.params["namespace"], module.params["name"])
    if task is None:
        return {"changed": False, "action": "absent", "deleted": []}
    now = timestamp()
    moment = expiry(task)
    if moment is not None and seconds_until(moment, now) <= 0:
        if not module.check_mode:
            cluster.delete_task(task)
        return {"changed": True, "action": "expired", "deleted": []}
    plan = plan_pods(task, cluster.pods_of(task), now)
    if not module.check_mode:
        for pod in plan.delete:
            cluster.delete_pod(pod)
    created = create_pod(module, cluster, task, plan) if plan.attempt else None
    return result_of(plan, created)


def result_of(plan: Plan, created: Object | None) -> dict[str, t.Any]:
    """Return the module's result for a plan that was carried out."""
    deleted = [pod_name(pod) for pod in plan.delete]
    before = [*([pod_name(plan.current)] if plan.current else []), *deleted]
    pod = created or plan.current
    return {
        "changed": bool(deleted or created),
        "action": "waiting" if plan.action == "created" and created is None else plan.action,
        "deleted": deleted,
        "diff": {"before": {"pods": before}, "after": created or {"pods": [pod_name(pod)] if pod else []}},
        **({"pod": pod} if pod else {}),
    }


def pod_name(pod: Object) -> str:
    """Return the Pod's name."""
    return str(pod["metadata"]["name"])


def create_pod(module: AnsibleModule, cluster: Cluster, task: Object, plan: Plan) -> Object | None:
    """Build and create the Pod of one attempt, and say so in an Event; None when it is there already."""
    attempt = plan.attempt or Attempt()
    resolved = resolve(task)
    native = bool(resolved.sidecars) and cluster.has_native_sidecars()
    configs = image_configs(module, cluster, task, resolved, images_to_look_up(resolved, native))
    agent_image = module.params["agent_image"] or c.DEFAULT_AGENT_IMAGE
    try:
        pod = cluster.create_pod(
            build_pod(task, agent_image, configs, attempt, native),
            dry_run=module.check_mode,
        )
    except TaskError as error:
        if error.reason == ALREADY_EXISTS:
            return None
        raise
    if not module.check_mode:
        again = f" (attempt {attempt.number}, {plan.why})" if plan.why else ""
        cluster.emit(task, Event("Normal", "Created", f"created Pod {pod_name(pod)}{again}"))
    return pod


def image_configs(
    module: AnsibleModule, cluster: Cluster, task: Object, resolved: Resolved, images: list[str]
) -> dict[str, ImageConfig]:
    """Return what the images run by themselves, as their registries say."""
    if not images:
        return {}
    params = module.params
    secrets = [str(reference.get("name", "")) for reference in resolved.template.get("imagePullSecrets") or []]
    settings = LookupSettings(
        mirrors=parse_mirrors(params["registry_mirrors"] or []),
        architecture=params["architecture"] or local_architecture(),
        ca_file=params["registry_ca"] or None,
        cache_dir=params["image_cache_dir"] or None,
    )
    account = resolved.service_account or "default"
    return look_up(cluster, task["metadata"]["namespace"], account, secrets, images, settings)


def main() -> None:
    """Run the module."""
    run_module(have_pod, ARGUMENTS, {"python-dxf": HAS_DXF})


if __name__ == "__main__":
    main()
