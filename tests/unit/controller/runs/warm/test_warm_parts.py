"""The small parts of warm runs: files that change, versions, modules in a fork."""

import ast
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from taskflow_controller.runs.warm import versions
from taskflow_controller.runs.warm.server import modules
from taskflow_controller.runs.warm.server.stamps import Stamps

ROOT = Path(__file__).parents[5]


def test_changed_files_and_folders(tmp_path: Path) -> None:
    file, folder, missing = tmp_path / "file", tmp_path / "folder", tmp_path / "missing"
    file.write_text("1")
    folder.mkdir()
    for path in (file, folder):
        os.utime(path, (1, 1))
    stamps = Stamps()
    stamps.note(map(str, (file, folder, missing)))
    assert stamps.changed() == set()
    file.write_text("22")
    (folder / "new").touch()
    missing.touch()
    assert stamps.changed() == {str(file), str(folder), str(missing)}


@pytest.mark.parametrize("age", [0, 10_000_000])
def test_a_file_changed_while_it_was_read_counts_as_changed(tmp_path: Path, age: int) -> None:
    """The kernel may stamp it with a moment before that."""
    file, stamps = tmp_path / "file", Stamps()
    file.write_text("1")
    written = file.stat().st_mtime_ns - age
    os.utime(file, ns=(written, written))
    stamps.note([str(file)])
    assert stamps.changed() == {str(file)}


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions.unknown_version() is None
    monkeypatch.setattr(versions, "KNOWN", {"ansible-core": ("1.0", "1.1"), "no-such-package": ("1.0",)})
    problem = versions.unknown_version() or ""
    assert re.search(r"ansible-core 2\.\d+\.\d+ is not one of 1\.0\.\*, 1\.1\.\*", problem)
    assert "no-such-package is not installed" in problem


def test_what_is_installed_is_known() -> None:
    """The image and the tests get no version that would make all runs cold."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for package, known in versions.KNOWN.items():
        (line,) = [line for line in lines if line.startswith(package)]
        assert re.fullmatch(rf"{package}~=({'|'.join(map(re.escape, known))})\.\d+", line), line


MODULE = """#!/usr/bin/python -u
from ansible.module_utils.basic import AnsibleModule
"""


@pytest.mark.parametrize(
    "source",
    [
        "#!/bin/sh\n# WANT_JSON\necho",
        MODULE + "from ansible.module_utils.common import respawn\n",
        MODULE + "def broken(:\n",
        "print('old style')",
        "\0binary",
    ],
)
def test_modules_that_need_a_process_of_their_own(tmp_path: Path, source: str) -> None:
    (tmp_path / "m.py").write_text(source)
    assert modules.load(str(tmp_path / "m.py"), "m") is None


def test_a_module_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(MODULE)
    first = modules.load(str(path), "m")
    assert first is not None and modules.load(str(path), "m") is first
    assert (first.name, first.interpreter, first.interpreter_arguments) == (
        "ansible.legacy.m",
        "/usr/bin/python",
        ("-u",),
    )
    path.write_text(MODULE + "# longer\n")
    assert modules.load(str(path), "m") is not first


def test_imports_of_a_module() -> None:
    tree = ast.parse("import a.b, c\nfrom d import e\nfrom ..f import g\nfrom . import h\ndef lazy():\n    import i")
    assert set(modules._imported(tree, "x.y.z")) == {
        "a.b",
        "c",
        "d",
        "d.e",
        "x.y.f",
        "x.y.f.g",
        "x.y.z",
        "x.y.z.h",
        "i",
    }


def run(tmp_path: Path, body: str) -> tuple[int, bytes, bytes] | None:
    path = tmp_path / "m.py"
    path.write_text(f"import os, sys, time, signal, threading, atexit\n{MODULE}{body}")
    module = modules.load(str(path), "m")
    assert module
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"word": "x"}}).encode()
    return modules.execute(modules.Call(module, arguments, {"WORD": "given"}, str(tmp_path), ()))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("print('out'); print('err', file=sys.stderr); sys.exit(4)", (4, b"out\n", b"err\n")),
        ("sys.exit()", (0, b"", b"")),
        ("sys.exit('text')", (1, b"", b"text\n")),
        ("os._exit(5)", (5, b"", b"")),
        ("sys.stdout.write('cut'); sys.stdout.flush(); os.kill(os.getpid(), 9)", (137, b"cut", b"Killed\n")),
        ("print(os.environ['WORD'], os.getcwd() == os.path.dirname(__file__)); sys.exit(0)", (0, b"given True\n", b"")),
        ("print(sys.stdin.read(), end=''); sys.exit(0)", (0, b"", b"")),
        ("atexit.register(print, 'at exit'); sys.exit(0)", (0, b"at exit\n", b"")),
        (
            "t = lambda: (time.sleep(0.2), print('thread'))\nthreading.Thread(target=t).start()\nsys.exit(0)",
            (0, b"thread\n", b""),
        ),
    ],
)
def test_end_of_a_module(tmp_path: Path, body: str, expected: tuple[int, bytes, bytes]) -> None:
    assert run(tmp_path, body) == expected


def test_more_output_than_a_pipe_holds(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('x' * 300_000); print('y' * 300_000, file=sys.stderr); sys.exit(0)")
    assert ended and (len(ended[1]), len(ended[2])) == (300_001, 300_001)


def test_an_exception_of_a_module_is_its_result(tmp_path: Path) -> None:
    ended = run(tmp_path, "raise ValueError('wrong')")
    assert ended and ended[0] == 1 and json.loads(ended[1])["failed"] and b"wrong" in ended[1]


def test_a_module_that_wants_another_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.common import respawn

    monkeypatch.setattr(respawn, "respawn_module", respawn.respawn_module)
    modules.notice_respawn()
    helper = tmp_path / "taskflow_test_helper.py"
    helper.write_text("from ansible.module_utils.common.respawn import respawn_module\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run(tmp_path, "import taskflow_test_helper as helper\ngetattr(helper, 're' + 'spawn_module')('x')") is None


def test_what_interrupts_the_wait_kills_the_module(tmp_path: Path) -> None:
    class TimeoutOfTaskError(Exception):
        pass

    def alarm(number: int, frame: object) -> None:
        raise TimeoutOfTaskError

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(TimeoutOfTaskError):
            run(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(300)")
    finally:
        signal.signal(signal.SIGALRM, before)
    deadline = time.monotonic() + 10
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < deadline
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text()}").exists()
