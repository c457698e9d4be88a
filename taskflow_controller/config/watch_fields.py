"""Reads single fields of an entry in the watches file. Every error names the file, line, entry and field."""

import builtins
import json
from dataclasses import dataclass, replace
from typing import Any

from taskflow_controller.config.located_yaml import LocatedDict, plain
from taskflow_controller.durations import parse_duration
from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.field_paths import FieldPath, parse_path
from taskflow_controller.kube.selectors import selector_string


@dataclass(frozen=True)
class Entry:
    """A mapping in the watches file.

    Each method that reads a field raises ConfigError if the field has the wrong type or value.

    Attributes:
        path: the file's path.
        name: the entry's name in errors.
        content: the mapping.
    """

    path: str
    name: str
    content: LocatedDict

    def named(self, name: str) -> "Entry":
        """Return the same entry with one more name in its errors."""
        return replace(self, name=f"{self.name}, {name}")

    def error(self, field: str, problem: str) -> ConfigError:
        """Return an error that names the place of a field."""
        return ConfigError(f"{self.path}:{self.content.line_of(field)}: {self.name}: {field}: {problem}")

    def spelled(self, known: set[str], warnings: builtins.list[str]) -> "Entry":
        """Return the entry with its known keys only, in their canonical spelling, because case does not matter.

        Args:
            known: the keys that an entry can have.
            warnings: gets a text for each unknown key.
        """
        spelling = {key.lower(): key for key in known}
        content = LocatedDict(line=self.content.line)
        for key, value in self.content.items():
            field = key if key in known else spelling.get(key.lower(), "")
            line = self.content.line_of(key)
            if field and (field == key or field not in self.content):
                content.put(field, value, line)
            else:
                warnings.append(f"{self.path}:{line}: {self.name}: {key}: unknown field, ignored")
        return replace(self, content=content)

    def string(self, field: str) -> str:
        """Return a string, or "" if the field is not given."""
        return str(self._value(field, str, "", "a string"))

    def boolean(self, field: str, default: bool) -> bool:
        """Return true or false, or the default if the field is not given."""
        return bool(self._value(field, bool, default, "true or false"))

    def integer(self, field: str, default: int, *, least: int) -> int:
        """Return a whole number of at least ``least``, or the default if the field is not given."""
        value = self._value(field, int, default, f"a whole number, {least} or more")
        if isinstance(value, bool) or value < least:
            raise self.error(field, f"must be a whole number, {least} or more, not {value!r}")
        return int(value)

    def mapping(self, field: str) -> dict[str, Any]:
        """Return a mapping, empty if the field is not given."""
        value: dict[str, Any] = self._value(field, dict, {}, "a mapping")
        return value

    def variables(self, field: str) -> dict[str, Any]:
        """Return a mapping that can be written as JSON, empty if the field is not given."""
        variables: dict[str, Any] = plain(self.mapping(field))
        try:
            json.dumps(variables, allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise self.error(field, f"can't be written as JSON: {exc}") from exc
        return variables

    def list(self, field: str) -> list[Any]:
        """Return a list, empty if the field is not given."""
        value: list[Any] = self._value(field, list, [], "a list")
        return value

    def entries(self, field: str) -> "builtins.list[Entry]":
        """Return the mappings in a list, named by their place in it; empty if the field is not given."""
        found = []
        for number, item in enumerate(self.list(field), start=1):
            if not isinstance(item, LocatedDict):
                raise self.error(field, f"item {number} must be a mapping, not {item!r}")
            found.append(Entry(self.path, f"{self.name}: {field} item {number}", item))
        return found

    def paths(self, field: str) -> tuple[FieldPath, ...]:
        """Return a list of paths, each given as text or as a list of keys; empty if the field is not given."""
        return tuple(self._path(field, item) for item in self.list(field))

    def duration(self, field: str) -> float | None:
        """Return a Go duration string in seconds, or None if the field is not given."""
        text = self._value(field, str, "", "a duration such as 10h, in quotes if it is a number")
        if not text:
            return None
        try:
            return parse_duration(text)
        except ValueError as exc:
            raise self.error(field, str(exc)) from exc

    def selector(self, field: str) -> str:
        """Return a LabelSelector in the form of the API server's query, or "" if the field is not given."""
        try:
            return selector_string(self.mapping(field))
        except ValueError as exc:
            raise self.error(field, str(exc)) from exc

    def _path(self, field: str, item: Any) -> FieldPath:
        if isinstance(item, builtins.list) and item and all(isinstance(key, str) and key for key in item):
            return tuple(item)
        if not isinstance(item, str):
            raise self.error(field, f"must be paths such as status.phase, or lists of keys, not {item!r}")
        try:
            return parse_path(item)
        except ValueError as exc:
            raise self.error(field, str(exc)) from exc

    def _value(self, field: str, wanted: type, default: Any, description: str) -> Any:
        value = self.content.get(field)
        if value is None:
            return default
        if not isinstance(value, wanted):
            raise self.error(field, f"must be {description}, not {value!r}")
        return value
