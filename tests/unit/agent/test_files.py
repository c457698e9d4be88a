"""Files: written whole or not at all, readable by other users."""

import base64
import gzip
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent import command, fsio, script
from taskflow_agent.flags import parse_install
from taskflow_agent.install import install
from taskflow_agent.outcome import StepError


@pytest.fixture
def strict_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("path", "directory"),
    [("/a/b", "/a"), ("/a", "/"), ("a", "."), ("a/b/c", "a/b"), ("/etc/podinfo/order", "/etc/podinfo")],
)
def test_directory_of(path, directory):
    assert fsio.directory_of(path) == directory


@pytest.mark.usefixtures("strict_umask")
def test_other_users_can_read_whatever_the_umask(tmp_path):
    path = tmp_path / "done"
    fsio.write_renamed(str(path), b"content")
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "directory"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        fsio.write_renamed(str(target), b"content")
    assert os.listdir(tmp_path) == ["directory"]


def test_a_temporary_file_left_by_a_crash_is_no_obstacle(tmp_path):
    (tmp_path / f".done.{os.getpid()}").write_bytes(b"old")
    fsio.write_renamed(str(tmp_path / "done"), b"new")
    assert (tmp_path / "done").read_bytes() == b"new"


def test_overwrite_keeps_the_file(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"a longer text")
    inode = path.stat().st_ino
    fsio.overwrite(str(path), b"short")
    assert path.read_bytes() == b"short"
    assert path.stat().st_ino == inode


def test_write_fresh_replaces_a_read_only_file(tmp_path):
    path = str(tmp_path / "script")
    fsio.write_fresh(path, b"one", 0o500)
    fsio.write_fresh(path, b"two", 0o500)
    assert fsio.read_whole(path) == b"two"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o500


@pytest.mark.usefixtures("strict_umask")
def test_install_copies_the_executable_and_joins_the_scripts(tmp_path):
    executable = tmp_path / "exe"
    executable.write_bytes(os.urandom(300_000))
    pieces = ["x" * 100_000, "y" * 100_000]
    arguments = [str(tmp_path / "agent"), "--scripts-dir", str(tmp_path / "scripts")]
    for piece in pieces:
        arguments += ["--script", f"3={piece}"]
    for _again in range(2):
        install(parse_install(arguments), str(executable))
    copy, text = tmp_path / "agent/taskflow-agent", tmp_path / "scripts/3"
    assert copy.read_bytes() == executable.read_bytes()
    assert text.read_text() == "".join(pieces)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o755
    assert stat.S_IMODE(text.stat().st_mode) == 0o644
    assert os.listdir(tmp_path / "agent") == ["taskflow-agent"]
    assert os.listdir(tmp_path / "scripts") == ["3"]


def test_install_says_what_it_cannot_write(tmp_path):
    directory = tmp_path / "missing/agent"
    with pytest.raises(StepError, match="missing/agent"):
        install(parse_install([str(directory)]), "/bin/true")


@given(st.binary())
def test_a_script_comes_back_byte_for_byte(body):
    assert script.decode(base64.b64encode(gzip.compress(body))) == body


@pytest.mark.parametrize("text", [b"", b"not base64 at all!", base64.b64encode(b"not gzip"), b"abc"])
def test_what_is_no_script_is_refused_by_name(tmp_path, text):
    (tmp_path / "encoded").write_bytes(text)
    with pytest.raises(StepError, match="encoded"):
        script.unpack(str(tmp_path / "encoded"), str(tmp_path), [])


def test_a_damaged_script_is_refused(tmp_path):
    packed = bytearray(gzip.compress(os.urandom(1000)))
    packed[500] ^= 1
    (tmp_path / "encoded").write_bytes(base64.b64encode(packed))
    with pytest.raises(StepError, match="encoded"):
        script.unpack(str(tmp_path / "encoded"), str(tmp_path), [])


@pytest.mark.parametrize(
    ("name", "search_path", "expected"),
    [
        (b"/bin/sh", b"/usr/bin", [b"/bin/sh"]),
        (b"./x", b"/usr/bin", [b"./x"]),
        (b"x", b"/a:/b", [b"/a/x", b"/b/x"]),
        (b"x", b"/a::", [b"/a/x", b"./x", b"./x"]),
        (b"", b"/a", []),
    ],
)
def test_where_programs_are_looked_for(name, search_path, expected):
    assert command.candidates(name, search_path) == expected
