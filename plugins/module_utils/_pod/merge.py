# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Lay a step over the stepTemplate, as Kubernetes merges two containers of one name. Pure."""

from __future__ import annotations

import copy
import typing as t

from .._contract import Object

# The fields of a core/v1 Container whose lists are merged item by item, and what tells the items apart (the
# patchMergeKey of the Kubernetes API). Other lists are replaced as a whole.
MERGE_KEYS = {
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
}


def merge_step(template: Object, step: t.Mapping[str, t.Any]) -> Object:
    """Return the step with what it leaves open taken from the template. Neither is changed.

    A script is the step's command, so a step that has one takes neither command nor args from the template.
    """
    base = {key: value for key, value in template.items() if not (step.get("script") and key in ("command", "args"))}
    return t.cast(Object, _merge(base, step, ""))


def _merge(base: t.Any, over: t.Any, field: str) -> t.Any:
    if isinstance(base, dict) and isinstance(over, dict):
        merged = {key: copy.deepcopy(value) for key, value in base.items() if key not in over}
        merged.update({key: _merge(base.get(key), value, key) for key, value in over.items()})
        return merged
    if isinstance(base, list) and isinstance(over, list) and field in MERGE_KEYS:
        return _merge_items(base, over, MERGE_KEYS[field])
    return copy.deepcopy(over)


def _merge_items(base: list[Object], over: list[Object], key: str) -> list[Object]:
    """Return the template's items, each replaced by or merged with the step's of the same key, then the step's others.

    A variable with another source (value, valueFrom) is replaced, for it can't have both.
    """
    own = {item.get(key): item for item in over}
    merged = []
    for item in base:
        mine = own.pop(item.get(key), None)
        if mine is None:
            merged.append(copy.deepcopy(item))
        elif {"value", "valueFrom"} & mine.keys():
            merged.append(copy.deepcopy(mine))
        else:
            merged.append(_merge(item, mine, ""))
    return merged + [copy.deepcopy(item) for item in over if item.get(key) in own]
