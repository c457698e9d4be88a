# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What the modules have in common: their arguments, one Task or a list of them, and the way they fail."""

from __future__ import annotations

import traceback
import typing as t
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from .. import _contract as c
from .._contract import Object
from .._errors import Postponed, TaskError, describe
from .._image.batch import Images
from .._image.lookup import LookupSettings
from .._image.name import parse_mirrors
from .._image.registry import local_architecture
from .._kube.access import CLUSTER_ARGUMENTS
from .._kube.client import HAS_KUBERNETES, Api
from .._task.api import TaskApi
from .._task.batch import Found, Target, serve_all
from .._task.making import PodMaker
from .._task.reconcile import Reconciler

Arguments = t.Mapping[str, dict[str, t.Any]]

TASK_ARGUMENTS: Arguments = {
    "name": {"type": "str"},
    "namespace": {"type": "str", "default": "default"},
    "tasks": {"type": "list", "elements": "dict"},
    **CLUSTER_ARGUMENTS,
}
# Of each Task in the list.
TARGET_ARGUMENTS: Arguments = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
}
# Of the modules that look images up.
LOOKUP_ARGUMENTS: Arguments = {
    "registry_mirrors": {"type": "list", "elements": "str", "fallback": (env_fallback, [c.REGISTRY_MIRRORS_ENV])},
    "registry_ca": {"type": "path", "fallback": (env_fallback, [c.REGISTRY_CA_ENV])},
    "image_cache_dir": {"type": "path", "fallback": (env_fallback, [c.IMAGE_CACHE_ENV])},
    "architecture": {"type": "str"},
}
# Of the modules that make Pods.
POD_ARGUMENTS: Arguments = {
    "agent_image": {"type": "str", "fallback": (env_fallback, [c.AGENT_IMAGE_ENV])},
    **LOOKUP_ARGUMENTS,
}
# Of the module that looks after a Task's Pods until the end.
TRACK_ARGUMENTS: Arguments = {"track_pods": {"type": "bool", "default": False}}
# What a Task may be given beside its name.
PROBLEM_ARGUMENTS: Arguments = {
    "problem": {
        "type": "dict",
        "options": {
            "reason": {"type": "str", "required": True},
            "msg": {"type": "str", "required": True},
            "permanent": {"type": "bool", "default": False},
            "retry_after": {"type": "float"},
        },
    },
}

Serve = t.Callable[[Reconciler, Found, Target], Object]


def run_module(
    serve: Serve,
    arguments: Arguments | None = None,
    of_each: Arguments | None = None,
    libraries: t.Mapping[str, bool] | None = None,
) -> None:
    """Run a module's work for the Task, or for each of the list, and end the module with what came of it.

    Args:
        serve: does it for one Task, as it was found and is named, with the reconciler's methods.
        arguments: the module's own arguments, beside those that all have.
        of_each: those that each Task may be given, be it the only one or one of the list.
        libraries: the Python packages it needs beside kubernetes, and whether each could be imported.

    What goes wrong with a single Task fails the module; its result then holds ``reason`` and ``permanent`` beside
    ``msg``. Of a list it is in the Task's own results, and the module does not fail.
    """
    spec = {**TASK_ARGUMENTS, **(arguments or {}), **(of_each or {})}
    spec["tasks"] = {**spec["tasks"], "options": {**TARGET_ARGUMENTS, **(of_each or {})}}
    module = AnsibleModule(
        argument_spec=spec,
        supports_check_mode=True,
        required_one_of=[("name", "tasks")],
        mutually_exclusive=[("name", "tasks"), *((key, "tasks") for key in of_each or {})],
    )
    require(module, libraries or {})
    params = module.params
    targets = [_target(given) for given in (params["tasks"] if params["name"] is None else [params])]
    try:
        reconciler = _reconciler(module, Api(params))
        outcomes = serve_all(
            reconciler.api, targets, lambda found, target: serve(reconciler, found, target), reconciler.others_are_done
        )
    except TaskError as error:  # it concerns all of them
        module.fail_json(**failure_of(error))
    if params["name"] is None:
        module.exit_json(**results_of(targets, outcomes, with_diff=module._diff))
    (outcome,) = outcomes
    if isinstance(outcome, TaskError):
        module.fail_json(**failure_of(outcome))
    if isinstance(outcome, Exception):
        raise outcome
    module.exit_json(**outcome)


def require(module: AnsibleModule, libraries: t.Mapping[str, bool]) -> None:
    """Fail the module where the package kubernetes, or one of these, could not be imported."""
    for library, is_there in {"kubernetes": HAS_KUBERNETES, **libraries}.items():
        if not is_there:
            module.fail_json(msg=missing_required_lib(library))


def lookup_settings(params: t.Mapping[str, t.Any]) -> LookupSettings:
    """Return how the ENTRYPOINT of an image is looked up, from a module's LOOKUP_ARGUMENTS."""
    return LookupSettings(
        mirrors=parse_mirrors(params["registry_mirrors"] or []),
        architecture=params["architecture"] or local_architecture(),
        ca_file=params["registry_ca"] or None,
        cache_dir=params["image_cache_dir"] or None,
    )


def _reconciler(module: AnsibleModule, api: Api) -> Reconciler:
    """Return what serves the module's Tasks; it makes Pods where the module has POD_ARGUMENTS."""
    params, tasks = module.params, TaskApi(api)
    if not POD_ARGUMENTS.keys() <= params.keys():
        return Reconciler(tasks, module.check_mode, PodMaker(tasks, module.check_mode))
    maker = PodMaker(
        tasks,
        module.check_mode,
        params["agent_image"] or c.DEFAULT_AGENT_IMAGE,
        Images(api, lambda: lookup_settings(params), for_many=len(params["tasks"] or []) > 1),
        own_namespace=own_namespace() if params.get("track_pods") else "",
        track_pods=bool(params.get("track_pods")),
    )
    return Reconciler(tasks, module.check_mode, maker)


def own_namespace() -> str:
    """Return the namespace that this runs in; "" outside of a Pod."""
    try:
        return Path(c.OWN_NAMESPACE_FILE).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def results_of(
    targets: t.Sequence[Target], outcomes: t.Sequence[Object | Exception], with_diff: bool = False
) -> Object:
    """Return a module's result for a list of Tasks: each one's own result, and the verdict on each.

    Diffs are left out unless they are asked for: what a module returns is kept with each run.
    """
    results, resources, diffs = [], [], []
    for target, outcome in zip(targets, outcomes, strict=True):
        named = {"name": target.name, "namespace": target.namespace}
        result = _failed(outcome) if isinstance(outcome, Exception) else {"failed": False, **outcome}
        diff = result.pop("diff", [])
        diffs += diff if isinstance(diff, list) else [diff]
        results.append({**named, **result})
        again = {"requeue_after": result["requeue_after"]} if "requeue_after" in result else {}
        alone = {"alone": True} if isinstance(outcome, Postponed) else {}
        message = result.get("msg") or result.get("message") or ""
        resources.append({**named, "failed": result["failed"], "msg": message, **again, **alone})
    return {
        "changed": any(result.get("changed") for result in results),
        # Ansible would look for it in the results else.
        "failed": False,
        "results": results,
        "resources": resources,
        **({"diff": diffs} if with_diff else {}),
    }


def _failed(error: Exception) -> Object:
    if isinstance(error, TaskError):
        return {"failed": True, "changed": False, **failure_of(error)}
    return {
        "failed": True,
        "changed": False,
        "msg": describe(error),
        "reason": "Error",
        "permanent": False,
        "exception": "".join(traceback.format_exception(error)),
    }


def failure_of(error: TaskError) -> Object:
    """Return what a module that fails returns of an error."""
    after = {} if error.retry_after is None else {"retry_after": error.retry_after}
    return {"msg": error.message, "reason": error.reason, "permanent": error.permanent, **after}


def _target(given: t.Mapping[str, t.Any]) -> Target:
    problem = given.get("problem")
    error = None
    if problem:
        error = TaskError(problem["reason"], problem["msg"], problem["permanent"], problem["retry_after"])
    return Target(given["namespace"], given["name"], error)
