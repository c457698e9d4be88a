"""What runs learn of an API server is kept for the next ones."""

import os
import time
from pathlib import Path

import pytest

from taskflow_controller.runs.discovery_cache import lend, take_back

NAME = "k8srcp-0a1b.json"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    return tmp_path / "shared"


def learn(own: Path, text: str, name: str = NAME) -> None:
    (own / name).write_text(text)


def test_a_run_gets_what_another_has_learnt(own: Path, shared: Path) -> None:
    lend(shared, own)
    assert list(own.iterdir()) == []
    learn(own, "one")
    take_back(shared, own)
    assert list(own.iterdir()) == []
    lend(shared, own)
    assert (own / NAME).read_text() == "one"
    take_back(shared, own)
    assert (own / NAME).exists()  # nothing new
    began = (shared / NAME).stat().st_mtime_ns
    learn(own, "two")
    take_back(shared, own)
    assert ((shared / NAME).read_text(), (shared / NAME).stat().st_mtime_ns) == ("two", began)
    assert shared.stat().st_mode & 0o777 == 0o700


def test_what_is_old_is_forgotten(own: Path, shared: Path) -> None:
    learn(own, "one")
    take_back(shared, own)
    long_ago = time.time() - 601
    os.utime(shared / NAME, (long_ago, long_ago))
    lend(shared, own)
    assert (list(own.iterdir()), list(shared.iterdir())) == ([], [])


def test_only_files_of_such_names_are_kept(own: Path, shared: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("word")
    learn(own, "text", "ansible-tmp.json")
    (own / NAME).symlink_to(tmp_path / "secret")
    (own / "osrcp-1.json").mkdir()
    take_back(shared, own)
    assert not shared.exists()
