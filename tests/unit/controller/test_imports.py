"""The controller is general: it imports nothing of the collection, and only what requirements.txt brings."""

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[3] / "taskflow_controller"
LIBRARIES = {
    "ansible",
    "ansible_runner",
    "cryptography",
    "h11",
    "kubernetes",
    "prometheus_client",
    "pythonjsonlogger",
    "urllib3",
    "yaml",
}


def test_imports() -> None:
    found = set()
    for file in PACKAGE.glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module
                found.add(node.module.partition(".")[0])
    assert found - set(sys.stdlib_module_names) <= LIBRARIES | {"taskflow_controller"}
