"""The command line of the bench, and what its parts are called."""

from __future__ import annotations

import collections
import json

import bench
import pytest


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["bench.py", *words])
    bench.main()


def test_every_name_is_there_once():
    names = [part.name for part in bench.PARTS] + [figure.name for part in bench.PARTS for figure in part.figures]
    assert [name for name, count in collections.Counter(names).items() if count > 1] == []


def test_a_part_that_is_not_there_is_refused_with_those_that_are(monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "--only", "agent,nothing")
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "there is no part nothing" in told
    assert "burst" in told


def test_one_part_alone_without_a_cluster_says_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(bench, "use_few_cores", lambda: 2)
    run(monkeypatch, "--only", "modes", "--out", str(tmp_path))
    entries = json.loads((tmp_path / "bench.json").read_text())
    (modes,) = (part for part in bench.PARTS if part.name == "modes")
    assert [entry["name"] for entry in entries] == [figure.name for figure in modes.figures]
    assert {entry["ok"] for entry in entries} == {None}
    assert {entry["command"] for entry in entries} == {"make bench ONLY=modes"}
    assert all("make up" in entry["reason"] for entry in entries)
    assert "make up" in capsys.readouterr().out
    assert (tmp_path / "bench.svg").exists()
