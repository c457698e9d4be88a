# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What the modules task and build have in common: all but the kind of their resource."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from .._contract import Object
from .._errors import TaskError
from .._kube.access import CLUSTER_ARGUMENTS
from .._kube.client import Api
from .._kube.kind import Kind
from .apply import Wanted
from .run_module import Arguments, failure_of, require
from .wanted import state_of, wanted_resource

ARGUMENTS: Arguments = {
    "name": {"type": "str"},
    "namespace": {"type": "str", "default": "default"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "spec": {"type": "dict"},
    "definition": {"type": "dict"},
    "wait": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 600},
    "log_lines": {"type": "int", "default": 20},
    **CLUSTER_ARGUMENTS,
}


def run(kind: Kind[Object]) -> None:
    """Run the module for a kind, and end it with what came of it."""
    module = AnsibleModule(
        argument_spec=dict(ARGUMENTS),
        supports_check_mode=True,
        mutually_exclusive=[("spec", "definition")],
        required_one_of=[("name", "definition")],
    )
    require(module, {})
    result: Object = {}
    try:
        resource = wanted_resource(kind, module.params)
        wanted = Wanted(Api(module.params), kind, module.check_mode)
        failure = _have(module, wanted, resource, result)
    except TaskError as error:
        failure = failure_of(error)
    if failure:
        module.fail_json(**_public(kind, result), **failure)
    module.exit_json(**_public(kind, result))


def _have(module: AnsibleModule, wanted: Wanted, resource: Object, result: Object) -> Object:
    """Have the resource as it is wanted, put what came of it into the result, and return why the module fails, if so.

    Raises:
        TaskError: it can't be done. The result has what was done before.
    """
    params, waits = module.params, module.params["wait"] and not module.check_mode
    if params["state"] == "absent":
        result.update(wanted.absent(resource, params["wait_timeout"] if waits else None))
        return {}
    if resource["spec"] is None:
        raise TaskError("InvalidDefinition", "state is present, and spec is missing: give spec, or one in definition")
    result.update(wanted.present(resource))
    for field in result["dropped"]:
        module.warn(f"{field} was dropped by the API server: a {wanted.kind.name} has no such field")
    if not waits:
        return {}
    result["resource"] = wanted.wait_for_end(result["resource"], params["wait_timeout"])
    return wanted.failure_of(result["resource"], params["log_lines"]) or {}


def _public(kind: Kind[Object], result: Object) -> Object:
    """Return what the module returns of a result."""
    resource = result.get("resource") or {}
    if not resource:
        return {key: result[key] for key in ("changed", "diff") if key in result}
    status = resource.get("status") or {}
    return {
        "changed": result["changed"],
        "diff": result["diff"],
        "resource": {key: value for key, value in resource.items() if key != "status"},
        "state": state_of(kind, resource),
        "status": status,
        # The word results is Ansible's own, for loops.
        "step_results": {step["name"]: step["results"] for step in status.get("steps") or [] if step.get("results")},
    }
