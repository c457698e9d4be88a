# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What the Task modules have in common: their arguments, the way they fail, and how they find the Task."""

from __future__ import annotations

import typing as t

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from . import _cluster
from ._errors import TaskError

TASK_ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "kubeconfig": {"type": "path", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
    "context": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
}

Work = t.Callable[[AnsibleModule, _cluster.Cluster], dict[str, t.Any]]


def run_module(
    work: Work, arguments: t.Mapping[str, t.Any] | None = None, libraries: t.Mapping[str, bool] | None = None
) -> None:
    """Run a module's work and end the module with its result.

    Args:
        work: takes the module and the cluster, returns the module's result.
        arguments: the module's own arguments, beside those that all have.
        libraries: the Python packages it needs beside kubernetes, and whether each could be imported.

    A TaskError fails the module; its result then holds ``reason`` and ``permanent`` beside ``msg``.
    """
    module = AnsibleModule(argument_spec={**TASK_ARGUMENTS, **(arguments or {})}, supports_check_mode=True)
    for library, is_there in {"kubernetes": _cluster.HAS_KUBERNETES, **(libraries or {})}.items():
        if not is_there:
            module.fail_json(msg=missing_required_lib(library))
    try:
        cluster = _cluster.Cluster(module.params["kubeconfig"], module.params["context"])
        result = work(module, cluster)
    except TaskError as error:
        after = {} if error.retry_after is None else {"retry_after": error.retry_after}
        module.fail_json(msg=error.message, reason=error.reason, permanent=error.permanent, **after)
    module.exit_json(**result)
