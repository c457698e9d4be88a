"""Runner directories."""

import subprocess
import sys
import threading
from pathlib import Path
from subprocess import PIPE

import pytest

from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey
from taskflow_controller.runs.workspace import Workspaces

GVK = GroupVersionKind("example.com", "v1", "Widget")


def test_layout(tmp_path: Path) -> None:
    key = ResourceKey(GVK, "ns", "w.1")
    path = Workspaces(tmp_path / "base").prepare(key)
    assert path == tmp_path / "base/example.com/v1/Widget/ns/w.1"
    assert {child.name for child in path.iterdir()} == {"env", "project", "inventory", "artifacts"}
    hosts = (path / "inventory/hosts").read_text().split()
    assert hosts == [
        "localhost",
        "ansible_connection=local",
        f"ansible_python_interpreter={sys.executable}",
        f"ansible_remote_tmp={path / 'tmp'}",
    ]
    assert (tmp_path / "base").stat().st_mode & 0o777 == 0o700


def test_core_group_and_cluster_scope_do_not_collide(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path)
    core = GroupVersionKind("", "v1", "Namespace")
    assert spaces.path(ResourceKey(core, "", "a")) == tmp_path / "_/v1/Namespace/_/a"


def test_remove_leaves_neighbours_and_takes_empty_parents(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path)
    one, two = (ResourceKey(GVK, "ns", name) for name in ("one", "two"))
    spaces.prepare(one)
    spaces.prepare(two)
    spaces.remove(one)
    assert not spaces.path(one).exists() and spaces.path(two).exists()
    spaces.remove(two)
    spaces.remove(two)
    assert list(tmp_path.iterdir()) == []


def test_claim_tells_whether_another_process_lives(tmp_path: Path) -> None:
    claim_it = f"print(Workspaces({str(tmp_path)!r}).claim(), flush=True)"
    program = f"from taskflow_controller.runs.workspace import Workspaces; {claim_it}"

    def claim() -> str:
        return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout

    with subprocess.Popen([sys.executable, "-c", f"{program}; input()"], stdin=PIPE, stdout=PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "True\n"
        assert claim() == "False\n"
        first.kill()
    assert claim() == "True\n"


def test_keys_are_those_with_a_directory(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path)
    keys = [ResourceKey(GVK, "ns", "a.b"), ResourceKey(GVK, "other", "a"), ResourceKey(GVK, "", "c")]
    for key in keys:
        spaces.prepare(key)
    spaces.prepare(ResourceKey(GroupVersionKind("example.com", "v2", "Widget"), "ns", "x"))
    (tmp_path / "example.com/v1/Widget/ns/file").touch()
    (tmp_path / "example.com/v1/Widget/_batch/0").mkdir(parents=True)
    assert sorted(spaces.keys(GVK)) == sorted(keys)
    assert spaces.keys(GroupVersionKind("", "v1", "Secret")) == []


@pytest.mark.parametrize("part", ["..", ".", "", "a/b", "a\0b"])
def test_unsafe_names_are_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(ValueError, match="can't be part of a path"):
        Workspaces(tmp_path).path(ResourceKey(GVK, "ns", part))


def test_base_that_others_can_write_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "open"
    base.mkdir()
    base.chmod(0o777)
    with pytest.raises(ConfigError, match="--runner-dir"):
        Workspaces(base)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--runner-dir .*file"):
        Workspaces(tmp_path / "file")


def test_prepare_and_remove_of_neighbours_at_once(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path)
    problems: list[BaseException] = []

    def churn(name: str) -> None:
        try:
            for _ in range(100):
                spaces.prepare(ResourceKey(GVK, "ns", name))
                spaces.remove(ResourceKey(GVK, "ns", name))
        except BaseException as exc:
            problems.append(exc)

    threads = [threading.Thread(target=churn, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
