"""The three parts know nothing of each other: imports go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.taskflow.operator"
AGENT = "roles/taskflow_agent/files/agent"


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports when it runs, by their full names."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module or "")
        waiting.extend(ast.iter_child_nodes(node))
    return names


def sources(folder: str) -> list[Path]:
    """Return the Python files below a folder of the checkout."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python file"
    return found


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("plugins/module_utils", (f"{COLLECTION}.plugins.modules", "taskflow_controller", "taskflow_agent")),
        ("plugins/modules", ("taskflow_controller", "taskflow_agent")),
        ("taskflow_controller", ("ansible_collections", "plugins", "taskflow_agent")),
        (AGENT, ("ansible_collections", "plugins", "taskflow_controller", "ansible", "kubernetes", "yaml")),
    ],
)
def test_imports_go_one_way(folder, forbidden):
    for path in sources(folder):
        for name in imported(path):
            assert not any(name == f or name.startswith(f + ".") for f in forbidden), f"{path} imports {name}"


@pytest.mark.parametrize("name", ["argparse", "signal", "subprocess", "gzip", "ctypes"])
def test_the_agent_imports_nothing_that_is_slow_to_start(name):
    for path in sources(f"{AGENT}/taskflow_agent"):
        assert name not in imported(path), f"{path} imports {name}"


def test_the_pure_modules_talk_to_nobody():
    for name in ("_attempts", "_contract", "_errors", "_image", "_order", "_pod", "_status"):
        path = ROOT / "plugins" / "module_utils" / f"{name}.py"
        talkers = {"kubernetes", "requests", "dxf", "urllib3", "socket", "subprocess", "os", "time"}
        assert not imported(path) & talkers, path
