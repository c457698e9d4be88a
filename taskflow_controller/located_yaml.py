"""YAML whose mappings remember the lines they stand on, so that an error can name its place."""

from collections.abc import Hashable
from typing import Any

import yaml


class LocatedDict(dict[str, Any]):
    """A mapping with the 1-based line it begins on, and the line of each of its keys."""

    line: int = 0
    key_lines: dict[str, int]

    def line_of(self, key: str) -> int:
        """Return the line of ``key``; the line of the mapping if it is not there."""
        return self.key_lines.get(key, self.line)


class LocatedYamlError(Exception):
    """The text is not YAML, or repeats a key."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        mapping = LocatedDict()
        mapping.line = node.start_mark.line + 1
        mapping.key_lines = {}
        for key_node, value_node in node.value:
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise LocatedYamlError(line, f"the key {key!r} is not a string")
            if key in mapping:
                raise LocatedYamlError(line, f"the key {key!r} is there twice")
            mapping[key] = self.construct_object(value_node, deep=True)
            mapping.key_lines[key] = line
        return mapping  # type: ignore[return-value]

    def construct_yaml_map(self, node: yaml.MappingNode) -> Any:
        return self.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_yaml_map)


def load_located(text: str) -> Any:
    """Parse one YAML document; mappings come as LocatedDict. Raises LocatedYamlError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise LocatedYamlError(mark.line + 1 if mark else 1, exc.problem or str(exc)) from exc
    except yaml.YAMLError as exc:
        raise LocatedYamlError(1, str(exc)) from exc


def plain(value: Any) -> Any:
    """Return ``value`` with ordinary dicts in place of every LocatedDict."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value
