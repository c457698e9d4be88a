"""What the roles do with variables from the command line, where everything is text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


def options_of(kind):
    """Return the options of this type as pairs of role and name."""
    return [
        (path.parents[1].name, name)
        for path in sorted(ROLES.glob("*/meta/argument_specs.yml"))
        for entry in yaml.safe_load(path.read_text())["argument_specs"].values()
        for name, option in (entry.get("options") or {}).items()
        if option["type"] == kind
    ]


def lines_with(role, name):
    """Return the lines of the role's tasks and templates that have the option, but for comments and messages."""
    sources = [path for folder in ("tasks", "templates") for path in (ROLES / role / folder).rglob("*.*")]
    lines = [line.strip() for path in sources for line in path.read_text().splitlines()]
    # In a message to the user it is followed by the value to set.
    return [line for line in lines if re.search(rf"\b{name}\b(?!=)", line) and not line.startswith("#")]


@pytest.mark.parametrize(("role", "name"), options_of("bool"))
def test_a_switch_may_be_set_on_the_command_line(role, name):
    """With ``-e NAME=false`` it is the text "false", which a condition refuses and a template takes for true."""
    lines = lines_with(role, name)
    assert lines
    assert [line for line in lines if f"{name} | bool" not in line] == []


@pytest.mark.parametrize(("role", "name"), options_of("list"))
def test_a_list_may_be_set_on_the_command_line(role, name):
    """With ``-e NAME=a,b`` it is the text "a,b", of which a loop sees the letters."""
    lines = [line for line in lines_with(role, name) if line != f"{{% if {name} %}}"]
    assert lines
    assert [line for line in lines if f"[{name}] | flatten | join(',')" not in line] == []
