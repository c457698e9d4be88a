"""Reads YAML into mappings that remember their lines, so that an error can name its place."""

import re
from collections.abc import Hashable
from typing import Any

import yaml


class LocatedDict(dict[str, Any]):
    """A mapping with the line it begins on, and the line of each of its keys. Lines count from 1."""

    def __init__(self, line: int = 0) -> None:
        super().__init__()
        self.line = line
        self._key_lines: dict[str, int] = {}

    def put(self, key: str, value: Any, line: int) -> None:
        """Set a key that is on this line."""
        self[key] = value
        self._key_lines[key] = line

    def line_of(self, key: str) -> int:
        """Return the line of a key, or the line of the mapping if it does not have the key."""
        return self._key_lines.get(key, self.line)


class LocatedYamlError(Exception):
    """The text is not YAML, or repeats a key.

    Attributes:
        line: where, counted from 1.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Reads plain values as the Operator SDK's YAML library does: ``2024-01-01`` and ``12:30`` are strings."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self._refuse_repeated(node)
        self.flatten_mapping(node)  # puts the keys that ``<<`` refers to before the mapping's own keys, which win
        mapping = LocatedDict(node.start_mark.line + 1)
        for key_node, value_node in node.value:
            value = self.construct_object(value_node, deep=True)
            mapping.put(self._key(key_node), value, key_node.start_mark.line + 1)
        return mapping  # type: ignore[return-value]

    def construct_yaml_map(self, node: yaml.MappingNode) -> Any:
        return self.construct_mapping(node, deep=True)

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key_node, _value in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self._key(key_node)
            if key in seen:
                raise LocatedYamlError(key_node.start_mark.line + 1, f"the key {key!r} appears twice")
            seen.add(key)

    def _key(self, node: yaml.Node) -> str:
        key = self.construct_object(node, deep=True)
        if isinstance(key, bool):
            return str(key).lower()
        if not isinstance(key, str | int):
            raise LocatedYamlError(node.start_mark.line + 1, f"the key {key!r} is not a string")
        return str(key)


_MERGE = "tag:yaml.org,2002:merge"
_INT, _FLOAT, _TIMESTAMP = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)
_Loader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if resolver[0] not in (_INT, _FLOAT, _TIMESTAMP)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _INT, re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


def load_located(text: str) -> Any:
    """Parse one YAML document. Return its mappings as LocatedDict.

    Raises:
        LocatedYamlError: the text is not YAML, or repeats a key.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise LocatedYamlError(mark.line + 1 if mark else 1, exc.problem or str(exc)) from exc
    except yaml.YAMLError as exc:
        raise LocatedYamlError(1, str(exc)) from exc


def plain(value: Any) -> Any:
    """Return a parsed value with an ordinary dict in place of each LocatedDict."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
