# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What the Task modules have in common: their arguments, the way they fail, and how they find the Task."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from . import _cluster, _registry
from ._errors import TaskError

TASK_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "kubeconfig": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
    "context": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
}

Work = t.Callable[[AnsibleModule, _cluster.Cluster], dict[str, t.Any]]


def run_module(work: Work, arguments: t.Mapping[str, t.Any] | None = None, needs_registry: bool = False) -> None:
    """Run a module's work and end the module with its result.

    A TaskError fails the module; its result then holds ``reason`` and ``permanent`` beside ``msg``.
    """
    module = AnsibleModule(argument_spec={**TASK_ARGUMENTS, **(arguments or {})}, supports_check_mode=True)
    if not _cluster.HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"))
    if needs_registry and not _registry.HAS_DXF:
        module.fail_json(msg=missing_required_lib("python-dxf"))
    try:
        cluster = _cluster.Cluster(module.params["kubeconfig"], module.params["context"])
        result = work(module, cluster)
    except TaskError as error:
        module.fail_json(msg=error.message, reason=error.reason, permanent=error.permanent)
    module.exit_json(**result)
