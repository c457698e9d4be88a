"""What the steps say, and how it is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from support.faults.witness import BEGIN, END, Line, gate, merged, parse, step

TEXT = "10.50 t uid-1 1 a begin\n11.00 t uid-1 1 a end 3\n"


def test_lines_are_read() -> None:
    assert parse(TEXT, "n1") == [
        Line(10.5, "t", "uid-1", 1, "a", BEGIN, None, "n1"),
        Line(11.0, "t", "uid-1", 1, "a", END, 3, "n1"),
    ]


def test_what_was_cut_off_is_left_out() -> None:
    assert len(parse(TEXT + "12.00 t uid-1 1 b be")) == 2


@pytest.mark.parametrize("line", ["10 t u 1 a end", "10 t u 1 a begin 0", "10 t u 1 a sings", "10 t u"])
def test_another_line_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):
        parse(line + "\n")


def test_nodes_are_merged_by_time_and_a_file_keeps_its_order() -> None:
    one = "1.0 t p 1 a begin\n3.0 t p 1 a end 0\n2.9 t p 1 b begin\n"
    other = "2.0 u q 1 a begin\n"
    found = merged({"n1": one, "n2": other})
    assert [(line.task, line.step, line.event) for line in found] == [
        ("t", "a", BEGIN),
        ("u", "a", BEGIN),
        ("t", "a", END),
        ("t", "b", BEGIN),
    ]


def run(made: dict, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's command here, with its folder elsewhere."""
    command = [word.replace("/witness", str(folder)) for word in made["command"]]
    environment = {**os.environ, "TASK": "t", "POD": "uid", "ATTEMPT": "1", "STEP": made["name"], **variables}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=30, check=False)


@pytest.mark.parametrize(("body", "code"), [("true", 0), ("exit 3", 3), ("false", 1)])
def test_a_step_says_how_it_ends_and_ends_so(tmp_path: Path, body: str, code: int) -> None:
    assert run(step("a", body), tmp_path).returncode == code
    said = parse((tmp_path / "lines").read_text())
    assert [(line.step, line.event, line.code) for line in said] == [("a", BEGIN, None), ("a", END, code)]


def test_a_gate_lets_later_attempts_pass(tmp_path: Path) -> None:
    assert run(step("a", gate("a", first_attempt_only=True)), tmp_path, ATTEMPT="2").returncode == 0
    (tmp_path / "t-a").touch()
    assert run(step("a", gate("a")), tmp_path).returncode == 0
