"""The table of what was run on which version of Kubernetes."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest

from scripts import matrix

VERSIONS = """\
taskflow_cluster_versions:
  "1.37": {kubernetes: 1.37.2, kind: 0.33.0, containerd: 2.4.2}
  "1.36": {kubernetes: 1.36.3, kind: 0.33.0, containerd: 2.3.7}
  "1.9": {kubernetes: 1.9.1, kind: 0.1.0, containerd: 1.0.0}
"""
PAGE = f"# Page\n\nBefore.\n\n{matrix.BEGIN}\n\n{matrix.table([])}\n{matrix.END}\n\n| other | table |\n|---|---|\n"
ROW = matrix.Row("1.36.3", "2.3.7", "0.33.0", "3", "2026-01-02", "300", "passed")


def nodes(*versions):
    info = [{"kubeletVersion": f"v{version}", "containerRuntimeVersion": "containerd://2.9.9"} for version in versions]
    return {"items": [{"status": {"nodeInfo": entry}} for entry in info]}


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Have a page and versions, and make and kubectl that are recorded: what fails is in ``failing``."""
    (tmp_path / "page.md").write_text(PAGE)
    (tmp_path / "versions.yml").write_text(VERSIONS)
    state = tmp_path / "taskflow-cluster"
    state.mkdir()
    (state / "cluster.json").write_text(json.dumps({"kubectl": "/kubectl", "kubeconfig": "/kubeconfig"}))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(matrix, "VERSIONS", tmp_path / "versions.yml")
    seen = SimpleNamespace(page=tmp_path / "page.md", made=[], failing=[], other=None)

    def answer(command, **kwargs):
        if command[0] == "/kubectl":
            version = seen.other or seen.made[-1][1]
            return subprocess.CompletedProcess(command, 0, json.dumps(nodes(f"{version}.8", "1.0.0")))
        seen.made.append((command[1], kwargs["env"].get("KUBERNETES", "")))
        return subprocess.CompletedProcess(command, seen.made[-1] in seen.failing)

    monkeypatch.delenv("KUBERNETES", raising=False)
    monkeypatch.setattr(matrix.subprocess, "run", answer)
    return seen


def test_the_versions_are_those_of_the_role():
    known = matrix.known_versions(matrix.VERSIONS.read_text(), "versions.yml")
    assert all({"kubernetes", "kind", "containerd"} <= set(parts) for parts in known.values())
    with pytest.raises(matrix.MatrixError, match=r"versions.yml has no mapping taskflow_cluster_versions"):
        matrix.known_versions("---\n", "versions.yml")


def test_all_versions_are_chosen_or_those_that_are_named():
    known = matrix.known_versions(VERSIONS, "versions.yml")
    assert matrix.chosen("", known) == ["1.37", "1.36", "1.9"]
    assert matrix.chosen("1.9, 1.37", known) == ["1.37", "1.9"]
    with pytest.raises(matrix.MatrixError, match=r"ONLY=1.2: there is no 1.2. There are 1.37, 1.36, 1.9"):
        matrix.chosen("1.2", known)


def test_a_row_replaces_the_one_of_its_version_and_leaves_the_others():
    newer = matrix.Row("1.37.2", "2.4.2", "0.33.0", "3", "2026-01-02", "301", "failed")
    older = matrix.Row("1.9.1", "1.0.0", "0.1.0", "3", "2026-01-02", "302", "passed")
    page = PAGE
    for row in (older, ROW, newer):
        page = matrix.with_row(page, row, "page.md")
    assert matrix.read_rows(page, "page.md") == [newer, ROW, older]
    again = matrix.Row("1.36.4", "2.3.8", "0.33.0", "3", "2026-02-02", "290", "failed")
    page = matrix.with_row(page, again, "page.md")
    assert matrix.read_rows(page, "page.md") == [newer, again, older]
    assert page.startswith("# Page\n\nBefore.\n\n")
    assert page.endswith(f"{matrix.END}\n\n| other | table |\n|---|---|\n")


def test_the_page_of_this_checkout_can_be_read_and_written():
    page = matrix.PAGE.read_text()
    assert ROW in matrix.read_rows(matrix.with_row(page, ROW, "page"), "page")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("no table", "page.md has no lines <!-- matrix: begin --> and"),
        (PAGE.replace(matrix.END, ""), "page.md has no lines"),
        (
            PAGE.replace(f"\n{matrix.END}", f"| 1.36 | 2 |\n{matrix.END}"),
            "page.md: this is no row of the table: | 1.36 | 2 |",
        ),
        (
            PAGE.replace(f"\n{matrix.END}", f"| a | b | c | d | e | f | g |\n{matrix.END}"),
            "this is no row of the table",
        ),
    ],
)
def test_a_page_that_is_not_as_it_should_be_is_an_error(page, message):
    with pytest.raises(matrix.MatrixError) as caught:
        matrix.with_row(page, ROW, "page.md")
    assert message in str(caught.value)


def test_what_the_nodes_say_counts():
    assert matrix.seen(ROW, nodes("1.36.1", "1.36.1")) == matrix.Row(
        "1.36.1", "2.9.9", "0.33.0", "2", "2026-01-02", "300", "passed"
    )
    assert matrix.seen(ROW, {"items": []}) == ROW


def test_a_failure_does_not_keep_the_others_from_being_run(checkout, capsys):
    checkout.failing = [("molecule", "1.37")]
    assert matrix.main([]) == 1
    down = ("down", "")
    assert checkout.made == [down, ("molecule", "1.37"), down, ("molecule", "1.36"), down, ("molecule", "1.9"), down]
    rows = matrix.read_rows(checkout.page.read_text(), "page.md")
    assert [(row.kubernetes, row.nodes, row.result) for row in rows] == [
        ("1.37.8", "2", "failed"),
        ("1.36.8", "2", "passed"),
        ("1.9.8", "2", "passed"),
    ]
    assert "molecule failed on Kubernetes 1.37;" in capsys.readouterr().err


def test_one_version_alone(checkout):
    checkout.page.write_text(matrix.with_row(PAGE, ROW, "page.md"))
    assert matrix.main(["--only", "1.37"]) == 0
    assert [row.minor for row in matrix.read_rows(checkout.page.read_text(), "page.md")] == ["1.37", "1.36"]


def test_where_the_cluster_before_is_not_gone_nothing_is_run_on_it(checkout):
    checkout.failing = [("down", "")]
    assert matrix.main(["--only", "1.36"]) == 1
    assert checkout.made == [("down", ""), ("down", "")]
    (row,) = matrix.read_rows(checkout.page.read_text(), "page.md")
    assert (row.kubernetes, row.nodes, row.result) == ("1.36.3", "none", "failed")


def test_a_cluster_of_another_version_is_a_failure(checkout, capsys):
    checkout.other = "1.35"
    assert matrix.main(["--only", "1.36"]) == 1
    (row,) = matrix.read_rows(checkout.page.read_text(), "page.md")
    assert (row.kubernetes, row.result) == ("1.36.3", "failed")
    assert "the cluster is of 1.35.8, where 1.36 was asked for" in capsys.readouterr().err


def test_without_a_cluster_the_row_tells_what_was_meant(checkout, tmp_path, capsys):
    (tmp_path / "taskflow-cluster" / "cluster.json").unlink()
    checkout.failing = [("molecule", "1.36")]
    assert matrix.main(["--only", "1.36"]) == 1
    (row,) = matrix.read_rows(checkout.page.read_text(), "page.md")
    assert (row.kubernetes, row.containerd, row.kind, row.nodes) == ("1.36.3", "2.3.7", "0.33.0", "none")
    assert "does not say what it is made of" in capsys.readouterr().err


def test_what_can_not_be_run_is_said_before_anything_is(checkout, capsys):
    assert matrix.main(["--only", "2"]) == 1
    checkout.page.write_text("no table")
    assert matrix.main([]) == 1
    assert checkout.made == []
    assert capsys.readouterr().err.count("error: ") == 2
