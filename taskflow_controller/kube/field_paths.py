"""Paths to an object's fields, as a watch writes them: ``status.phase``, ``metadata.annotations[example.com/x]``."""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

from taskflow_controller.kube.kinds import Object

FieldPath: TypeAlias = tuple[str, ...]
"""The keys from an object down to a field. It can't lead through a list."""

MISSING = object()
"""The value at a path that does not exist."""

_STEP = re.compile(r"\[([^\[\]]+)\]|(?:^|(?<=.)\.)([^.\[\]]+)")


def parse_path(text: str) -> FieldPath:
    """Split a path at its dots. A key that contains dots is in brackets.

    Raises:
        ValueError: the text is not a path.
    """
    keys, position = [], 0
    for step in _STEP.finditer(text):
        if step.start() != position:
            break
        keys.append(step[1] or step[2])
        position = step.end()
    if not keys or position != len(text):
        raise ValueError(f"{text!r} is not a path such as status.phase or metadata.annotations[example.com/x]")
    return tuple(keys)


def path_text(path: FieldPath) -> str:
    """Return a path as text that ``parse_path`` understands."""
    return "".join(f"[{key}]" if "." in key else f".{key}" for key in path).removeprefix(".")


def value_at(obj: Object, path: FieldPath) -> Any:
    """Return the value at a path, or MISSING if there is none."""
    value: Any = obj
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def only(obj: Object, paths: Sequence[FieldPath]) -> Object:
    """Return a new object with only the fields at ``paths``; it shares the values with ``obj``."""
    kept: Object = {}
    for path in sorted(paths):  # a path comes before those below it
        value = value_at(obj, path)
        if value is not MISSING:
            _put(kept, path, value)
    return kept


def _put(obj: Object, path: FieldPath, value: Any) -> None:
    *parents, last = path
    for key in parents:
        obj = obj.setdefault(key, {})
    obj[last] = value
