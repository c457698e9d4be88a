"""The rooms of the code, and the arrows between them: each import goes down the table, and none goes up."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.taskflow.operator"
UTILS = f"{COLLECTION}.plugins.module_utils"
AGENT = "roles/taskflow_agent/files/agent"


class Part(NamedTuple):
    """A package whose folders are rooms.

    Attributes:
        folder: where it is, in the checkout.
        name: how it is imported.
        arrows: for each room, from the top down, the rooms that it may import. The package's own files are the room
            "", which all may import where ``shared`` names the file.
        shared: the package's own files that every room may import.
        pure: the files that decide, and talk to nobody.
    """

    folder: str
    name: str
    arrows: Mapping[str, str]
    shared: str
    pure: str


PARTS = (
    Part(
        "taskflow_controller",
        "taskflow_controller",
        {
            "": "reconcile runs runs/warm proxy triggers config serve kube",
            "reconcile": "runs proxy triggers config serve kube",
            "runs": "proxy triggers config kube",
            "runs/warm": "runs config",
            "runs/warm/server": "runs/warm runs",
            "runs/ansible_plugins/callback": "",
            "proxy": "triggers config kube",
            "triggers": "config kube",
            "config": "kube",
            "serve": "kube",
            "kube": "",
        },
        shared="__init__ errors durations",
        pure="config/overrides config/watch_fields kube/field_paths kube/selectors proxy/protobuf proxy/requests "
        "reconcile/conditions reconcile/own_changes reconcile/verdicts runs/extra_vars "
        "runs/resource_results triggers/causes triggers/ownership triggers/predicates triggers/routing",
    ),
    Part(
        "plugins/module_utils",
        UTILS,
        {
            "": "",
            "_module": "_build _task _pod _image _kube",
            "_build": "_task _pod _image _kube",
            "_task": "_pod _image _kube",
            "_pod": "_image _kube",
            "_image": "_kube",
            "_kube": "",
        },
        shared="_contract _errors _durations",
        pure="_contract _durations _errors _build/build _build/observed _build/plan _build/status _build/verdict "
        "_image/credentials _image/name _kube/event _kube/kind _kube/owner _kube/shapes _kube/size "
        "_module/wanted _pod/adoption _pod/agent _pod/identity _pod/life _pod/merge _pod/pod _pod/resources "
        "_pod/spec _pod/tracking _pod/variables _task/attempts _task/conditions _task/containers _task/events "
        "_task/fit _task/losses _task/observed _task/order _task/release _task/reports _task/run "
        "_task/sidecars _task/status _task/steps _task/unstartable _task/verdict _task/waiting",
    ),
)
# What talks to somebody, or looks at a clock.
TALKERS = {"dxf", "kubernetes", "os", "requests", "socket", "ssl", "subprocess", "threading", "time", "urllib3"}
PURE_LIBRARIES = {"kubernetes.utils.quantity", "kubernetes.utils.quantity.parse_quantity"}


def imported(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports when it runs."""
    place = package_of(path)
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = place[: len(place) - node.level + 1] if node.level else ()
            source = ".".join([*above, *filter(None, [node.module])])
            yield source
            # A name may be a module of that package.
            yield from (f"{source}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def package_of(path: Path) -> tuple[str, ...]:
    """Return the names of the packages around a file of one of the parts."""
    for part in PARTS:
        if path.is_relative_to(ROOT / part.folder):
            return (*part.name.split("."), *path.parent.relative_to(ROOT / part.folder).parts)
    return ()


def sources(folder: str) -> list[Path]:
    """Return the Python files below a folder of the checkout."""
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python file"
    return found


def files_of(part: Part) -> list[str]:
    """Return the files of a part: the names that ``shared`` and ``pure`` use."""
    return [path.relative_to(ROOT / part.folder).with_suffix("").as_posix() for path in sources(part.folder)]


def room_of(file: str) -> str:
    return file.rpartition("/")[0]


def file_of(module: str, part: Part) -> str | None:
    """Return which file of a part a module's name stands for; None where it is another's, or a name in a module."""
    if module != part.name and not module.startswith(part.name + "."):
        return None
    path = module[len(part.name) + 1 :].replace(".", "/")
    files = files_of(part)
    return path if path in files else next((f for f in (f"{path}/__init__".lstrip("/"),) if f in files), None)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.folder)
def test_every_file_is_in_a_room_of_the_table(part):
    assert {room_of(file) for file in files_of(part)} == set(part.arrows)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.folder)
def test_the_architecture_page_has_the_rooms_and_arrows(part):
    lines = (ROOT / "docs" / "architecture.md").read_text().splitlines()
    rows = lines[next(n for n, line in enumerate(lines) if line.startswith(f"| room in `{part.folder}/`")) + 2 :]
    told = {}
    for row in itertools.takewhile(lambda line: line.startswith("|"), rows):
        room, _, arrows = (cell.strip() for cell in row.strip("|").split("|"))
        told[room.strip("`").rstrip("/")] = set(re.findall(r"`([^`]+)/`", arrows))
    assert told == {room: set(arrows.split()) for room, arrows in part.arrows.items() if room}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.folder)
def test_imports_follow_the_arrows(part):
    wrong = []
    for path, file in zip(sources(part.folder), files_of(part), strict=True):
        allowed = {room_of(file), *part.arrows[room_of(file)].split()}
        for target in {file_of(name, part) for name in imported(path)} - {None}:
            is_shared = room_of(target) == "" and target in part.shared.split()
            # Importing from a room runs the files that make it a package.
            is_package = target.endswith("__init__") and any(room.startswith(room_of(target)) for room in allowed)
            if not is_shared and not is_package and room_of(target) not in allowed:
                wrong.append(f"{file} imports {target}")
    assert not wrong


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.folder)
def test_the_arrows_go_one_way(part):
    """No room can be reached from itself."""

    def below(room: str, seen: tuple[str, ...] = ()) -> set[str]:
        assert room not in seen, f"a circle: {' -> '.join((*seen, room))}"
        return {room}.union(*(below(lower, (*seen, room)) for lower in part.arrows[room].split()))

    for room in part.arrows:
        below(room)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.folder)
def test_what_is_pure_talks_to_nobody(part):
    paths = dict(zip(files_of(part), sources(part.folder), strict=True))
    for file in part.pure.split():
        names = set(imported(paths[file])) - PURE_LIBRARIES
        assert not {name for name in names if name.partition(".")[0] in TALKERS}, file


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("plugins/module_utils", (f"{COLLECTION}.plugins.modules", "taskflow_controller", "taskflow_agent")),
        ("plugins/modules", ("taskflow_controller", "taskflow_agent")),
        ("taskflow_controller", ("ansible_collections", "plugins", "taskflow_agent")),
        (AGENT, ("ansible_collections", "plugins", "taskflow_controller", "ansible", "kubernetes", "yaml")),
    ],
)
def test_the_three_parts_know_nothing_of_each_other(folder, forbidden):
    for path in sources(folder):
        for name in imported(path):
            assert not any(name == f or name.startswith(f + ".") for f in forbidden), f"{path} imports {name}"


def test_only_the_fork_server_imports_ansible():
    for path in sources("taskflow_controller"):
        if "server" in path.parts or "ansible_plugins" in path.parts:
            continue
        assert not {name for name in imported(path) if name.partition(".")[0] == "ansible"}, path


@pytest.mark.parametrize("name", ["argparse", "signal", "subprocess", "gzip", "ctypes"])
def test_the_agent_imports_nothing_that_is_slow_to_start(name):
    for path in sources(f"{AGENT}/taskflow_agent"):
        assert name not in imported(path), f"{path} imports {name}"
