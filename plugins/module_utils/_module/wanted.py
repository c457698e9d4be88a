# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""What a playbook wants a Task or a Build to be, beside what it is. Pure."""

from __future__ import annotations

import typing as t

from .._contract import FAILED, FINAL, PENDING, SUCCESSFUL, Object
from .._errors import TaskError
from .._kube.kind import BUILD, TASK, Kind, S
from .._task.conditions import condition_of

# The field of the status that has the state in one word.
STATE_FIELDS = {TASK.name: "status", BUILD.name: "phase"}


def state_of(kind: Kind[S], resource: S) -> str:
    """Return the state; Pending while the operator has not seen the resource, or its present spec."""
    status: Object = resource.get("status") or {}
    if status.get("observedGeneration") != resource["metadata"].get("generation"):
        return PENDING
    return str(status.get(STATE_FIELDS[kind.name], PENDING))


def wanted_resource(kind: Kind[Object], params: t.Mapping[str, t.Any]) -> Object:
    """Return the resource that a module's arguments ask for.

    Args:
        kind: of what kind it is.
        params: ``name``, ``namespace``, ``spec`` and ``definition``. The definition's own namespace counts more.

    Raises:
        TaskError: InvalidDefinition, permanent: it is of another kind, or does not say which resource it is.
    """
    definition = params["definition"] or {}
    _check_fields(kind, definition)
    metadata = definition.get("metadata") or {}
    names = {name for name in (params["name"], metadata.get("name")) if name}
    if len(names) != 1:
        words = f"differs from name: {params['name']!r}" if names else "is missing, and so is name: give one of them"
        raise _invalid("definition.metadata.name", words)
    kept = {key: metadata[key] for key in ("labels", "annotations") if metadata.get(key)}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {"name": names.pop(), "namespace": metadata.get("namespace") or params["namespace"], **kept},
        "spec": definition.get("spec") if params["spec"] is None else params["spec"],
    }


def _check_fields(kind: Kind[Object], definition: Object) -> None:
    for field, value in (("apiVersion", kind.api_version), ("kind", kind.name)):
        if definition.get(field, value) != value:
            raise _invalid(f"definition.{field}", f"{definition[field]!r} is not {value}")
    for field, inner in (("metadata", definition.get("metadata")), ("spec", definition.get("spec"))):
        if not isinstance(inner, dict | None):
            raise _invalid(f"definition.{field}", f"{inner!r} is no mapping")


def _invalid(field: str, problem: str) -> TaskError:
    return TaskError("InvalidDefinition", f"{field}: {problem}", permanent=True)


def merged(live: Object, wanted: Object) -> Object:
    """Return the live resource with the wanted spec, and with the wanted labels and annotations beside its own."""
    metadata = dict(live["metadata"])
    for key in ("labels", "annotations"):
        if key in wanted["metadata"]:
            metadata[key] = {**(metadata.get(key) or {}), **wanted["metadata"][key]}
    return {**live, "metadata": metadata, "spec": wanted["spec"]}


def outline(resource: Object | None) -> Object:
    """Return what a playbook may want of a resource, for a comparison or a diff; nothing of one that is not there."""
    if resource is None:
        return {}
    metadata = {key: resource["metadata"].get(key) or {} for key in ("labels", "annotations")}
    return {"metadata": metadata, "spec": resource["spec"]}


def dropped_fields(wanted: t.Any, live: t.Any, path: str) -> t.Iterator[str]:
    """Yield the paths of the wanted fields that the API server has not kept, for its schema has no such fields."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            if key in live:
                yield from dropped_fields(value, live[key], f"{path}.{key}")
            elif value is not None:
                yield f"{path}.{key}"
    elif isinstance(wanted, list) and isinstance(live, list):
        for number, (mine, its) in enumerate(zip(wanted, live, strict=False)):
            yield from dropped_fields(mine, its, f"{path}[{number}]")


def has_ended(kind: Kind[Object], resource: Object) -> bool:
    """Tell whether the resource has its verdict on its present spec."""
    return state_of(kind, resource) in FINAL


def has_succeeded(kind: Kind[Object], resource: Object) -> bool:
    """Tell whether the verdict on its present spec is a success."""
    return state_of(kind, resource) == SUCCESSFUL


def message_of(resource: Object) -> str:
    """Return what the status says of the resource for people to read."""
    return str(
        condition_of(resource.get("status") or {}).get("message", "the operator has not said anything of it yet")
    )


def failed_step(resource: Object) -> str | None:
    """Return the name of the step that failed; None where none did, or only such as do not end it."""
    steps = (resource.get("status") or {}).get("steps") or []
    return next((step["name"] for step in steps if step.get("state") == FAILED and not step.get("continued")), None)
