"""The programs of the throw-away cluster, built from Go modules where no node image can be pulled."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import lock
import programs
import pytest
import yaml

FOLDER = Path(programs.__file__).parent
TABLE = FOLDER.parents[1] / "vars" / "main" / "versions.yml"
VERSIONS = yaml.safe_load(TABLE.read_text())["taskflow_cluster_versions"]

UPSTREAM = """\
module k8s.io/kubernetes

go 1.26.0

godebug default=go1.26

require example.com/other v1.2.3

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
)
"""


@pytest.mark.parametrize("minor", VERSIONS)
def test_every_row_of_the_table_has_its_modules(minor):
    chosen = (FOLDER / "modules" / minor / "go.mod").read_text()
    lock.require_versions(VERSIONS[minor], chosen)
    assert VERSIONS[minor]["kubernetes"].startswith(f"{minor}.")
    assert (FOLDER / "modules" / minor / "go.sum").read_text().count("h1:") > 500


@pytest.mark.parametrize("minor", VERSIONS)
def test_the_image_of_a_row_is_named_by_its_digest(minor):
    assert re.fullmatch(rf"kindest/node:v{re.escape(minor)}\.\d+@sha256:[0-9a-f]{{64}}", VERSIONS[minor]["image"])


def test_no_modules_are_left_of_a_row_that_is_gone():
    assert {path.name for path in (FOLDER / "modules").iterdir()} == set(VERSIONS)


def test_a_version_that_another_module_moves_is_refused():
    row = dict(VERSIONS["1.37"], etcd="3.0.0")
    with pytest.raises(SystemExit, match=r"etcd 3\.0\.0 does not fit"):
        lock.require_versions(row, (FOLDER / "modules" / "1.37" / "go.mod").read_text())


def test_the_staging_modules_are_replaced_by_what_was_published():
    text = lock.go_mod({**VERSIONS["1.37"], "kubernetes": "1.99.3"}, UPSTREAM)
    assert "replace k8s.io/api => k8s.io/api v0.99.3\n" in text
    assert "replace k8s.io/client-go => k8s.io/client-go v0.99.3\n" in text
    assert "go 1.26.0\n" in text
    assert "godebug default=go1.26\n" in text
    assert "require k8s.io/kubernetes v1.99.3\n" in text
    assert "./" not in text


def test_a_program_that_a_row_leaves_out_is_no_tool_of_its_go_mod():
    row = {column: version for column, version in VERSIONS["1.37"].items() if column not in ("crictl", "runc")}
    text, whole = lock.go_mod(row, UPSTREAM), lock.go_mod(VERSIONS["1.37"], UPSTREAM)
    for module in ("github.com/opencontainers/runc", "sigs.k8s.io/cri-tools"):
        assert f"require {module}" in whole and f"tool {module}" in whole
        assert module not in text


@pytest.mark.parametrize("minor", VERSIONS)
@pytest.mark.parametrize(("column", "package"), [("crictl", programs.CRICTL), ("runc", programs.RUNC)])
def test_what_a_row_leaves_out_is_that_of_the_newest(tmp_path, minor, column, package):
    newest = FOLDER / "modules" / next(iter(VERSIONS))
    build = programs.Build(FOLDER / "modules" / minor, tmp_path)
    assert build.modules_of(package) == (build.modules if column in VERSIONS[minor] else newest)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("go1.26.8", (1, 26, 8)), ("1.27", (1, 27)), ("1.26.0", (1, 26, 0)), ("go1.27rc1", (1, 27, 1)), ("", ())],
)
def test_versions_are_compared_as_numbers(text, numbers):
    assert programs.version(text) == numbers


@pytest.fixture
def modules(tmp_path):
    """A go.mod and a go.sum, as small as can be."""
    folder = tmp_path / "1.37"
    folder.mkdir()
    (folder / "go.mod").write_text("module m\ngo 1.26.8\nrequire k8s.io/kubernetes v1.37.2 // indirect\n")
    (folder / "go.sum").write_text("")
    return folder


@pytest.fixture
def build(modules, tmp_path):
    return programs.Build(modules, tmp_path / "cache")


def test_the_folder_is_named_after_all_that_is_built(modules, build, tmp_path):
    assert build.folder.name.startswith("1.37-")
    (modules / "go.sum").write_text("example.com/other v1.2.3 h1:abc=\n")
    assert programs.Build(modules, tmp_path / "cache").folder != build.folder


def test_the_folder_is_named_after_what_is_taken_of_the_newest_too(modules, tmp_path, monkeypatch):
    newest = tmp_path / "all" / "modules" / "1.99"
    newest.mkdir(parents=True)
    (newest / "go.sum").write_text("")
    monkeypatch.setattr(programs, "HERE", tmp_path / "all")
    folders = set()
    for text in ("module m\n", "module m\nrequire example.com/other v1.2.3\n"):
        (newest / "go.mod").write_text(text)
        folders.add(programs.Build(modules, tmp_path / "cache").folder)
    assert len(folders) == 2


def test_runc_has_a_module_of_its_own(build, monkeypatch):
    """With no other tool, so that nothing else is gathered."""
    run = []
    monkeypatch.setattr(programs.subprocess, "run", lambda words, **options: run.append((words, options["cwd"])))
    monkeypatch.setattr(build, "modules_of", lambda package: FOLDER / "modules" / "1.37")
    build.folder.mkdir(parents=True)
    programs.gather_runc(build, {})
    assert run == [(["go", "mod", "vendor"], build.folder / "runc")]
    text = (build.folder / "runc" / "go.mod").read_text()
    assert re.findall("^tool.*", text, re.MULTILINE) == [f"tool {programs.RUNC}"]
    assert f"require {programs.RUNC} v" in text


def test_kubernetes_programs_know_their_version(build):
    flags = build.ldflags()
    for words in ("gitVersion=v1.37.2", "gitMajor=1", "gitMinor=37"):
        assert f"-X k8s.io/component-base/version.{words}" in flags


def test_a_go_that_is_missing_or_broken_is_none(tmp_path):
    assert programs.go_version(tmp_path / "go") == ()
    (tmp_path / "go").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "go").chmod(0o755)
    assert programs.go_version(tmp_path / "go") == ()


def test_a_build_that_has_stopped_says_why(build, monkeypatch):
    monkeypatch.setattr(programs.time, "sleep", lambda seconds: None)
    build.folder.mkdir(parents=True)
    build.log.write_text("an early line\nno space left on device\n")
    with pytest.raises(SystemExit, match=r"(?s)build\.log.*no space left on device"):
        programs.wait(build, "kind")


def test_a_part_that_is_built_is_not_waited_for(build):
    build.folder.mkdir(parents=True)
    (build.folder / ".kind").touch()
    programs.wait(build, "kind")


def test_a_full_disk_is_told_before_anything_is_begun(build, monkeypatch):
    monkeypatch.setattr(programs, "NEEDED_GB", 10**9)
    with pytest.raises(SystemExit, match=r"needs 1000000000 GB in .*cache, and .* GB are free"):
        programs.start(build, programs.PARTS)
    assert not build.log.exists()
    # kind alone, where a node image can be pulled, is small.
    begun = []
    monkeypatch.setattr(programs.subprocess, "Popen", lambda words, **options: begun.append(words[-1]))
    programs.start(build, ["kind"])
    assert begun == ["kind"]


def test_only_one_process_builds(build):
    with build.lock() as first, build.lock() as second:
        assert (first, second) == (True, False)


def test_what_is_asked_for_during_a_build_is_built_after_it(build):
    """Such as the rest, when kind alone was begun."""
    folder, modules = build.folder.parents[1], build.modules
    code = (
        f"import programs; programs.work = lambda build, parts: print(*parts); programs.main('work', {str(modules)!r}, "
    )
    words = [sys.executable, "-c", f"{code}{str(folder)!r}, 'api', 'node')"]
    with build.lock():
        other = subprocess.Popen(words, cwd=FOLDER, stdout=subprocess.PIPE, text=True, env=without_owner())
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(4)
    assert other.communicate(timeout=20)[0] == "api node\n"


def without_owner():
    """The environment, where no make is the owner of what is built."""
    return {name: value for name, value in os.environ.items() if name != "TASKFLOW_OWNER"}


def test_only_what_the_node_image_needs_is_removed(build):
    for name in ("kind", "etcd", "kubelet", "containerd"):
        (build.folder / "bin").mkdir(parents=True, exist_ok=True)
        (build.folder / "bin" / name).touch()
    (build.folder / ".node").touch()
    (build.folder / ".kind").touch()
    (build.go_caches / "mod" / "example.com").mkdir(parents=True)
    (build.go_caches / "mod" / "example.com").chmod(0o555)
    programs.prune(build)
    assert {path.name for path in (build.folder / "bin").iterdir()} == {"kind", "etcd"}
    assert (build.built("kind"), build.built("node")) == (True, False)
    assert not build.go_caches.exists()


def test_a_build_ends_with_the_make_that_began_it():
    """Else Ctrl-C would leave a compiler that nobody knows of."""
    begin = "import os, sys, time, programs; os.setpgid(0, 0); programs.end_with(int(sys.argv[1]));"
    code = f"{begin} print('on', flush=True); time.sleep(60)"
    with subprocess.Popen(["sleep", "60"]) as owner:
        words = [sys.executable, "-c", code, str(owner.pid)]
        with subprocess.Popen(words, cwd=FOLDER, stdout=subprocess.PIPE) as work:
            assert work.stdout.readline()
            time.sleep(1.5)
            assert work.poll() is None
            owner.kill()
            owner.wait()
            assert work.wait(20) != 0
