"""A container that is made again in the same Pod: its command never runs twice, and its end is told again."""

import json
import os

import pytest


@pytest.fixture
def step(agent, tmp_path):
    """Run a step as a container of one Pod would: its directory stays, its termination log is new."""

    def run(*arguments):
        agent.termination_log.write_text("")
        flags = ("--done", str(tmp_path / "done"), "--started", str(tmp_path / "started"))
        return agent.run_step(*flags, *arguments)

    return run


def witnessed(tmp_path):
    return (tmp_path / "witness").read_text().splitlines() if (tmp_path / "witness").exists() else []


def saying(tmp_path, code, *more):
    return (*more, "--command", "sh", "-c", f"echo ran >>{tmp_path}/witness; exit {code}")


@pytest.mark.parametrize("code", [0, 3])
def test_one_that_has_ended_tells_its_end_again(agent, step, tmp_path, code):
    command = saying(tmp_path, code)
    first, before, done = step(*command), agent.message, (tmp_path / "done").read_bytes()
    again = step(*command)
    assert first[0] == again[0] == code
    assert agent.message == before
    assert (tmp_path / "done").read_bytes() == done
    assert witnessed(tmp_path) == ["ran"]


def test_its_own_message_results_and_tries_are_told_again(agent, step, tmp_path):
    (tmp_path / "results").mkdir()
    line = f"echo out >{tmp_path}/results/answer; echo own words >{agent.termination_log}; exit 4"
    results = ("--results-dir", str(tmp_path / "results"), "--result", "answer", "--retries", "2")
    command = (*results, "--command", "sh", "-c", line)
    step(*command)
    before = agent.message
    assert (before["retries"], before["result.answer"], before["message"]) == (2, "out", "own words\n")
    assert step(*command)[0] == 4
    assert agent.message == before


def test_a_failure_that_lets_the_others_go_on_does_so_again(agent, step, tmp_path):
    command = saying(tmp_path, 3, "--on-error", "continue")
    assert step(*command)[0] == step(*command)[0] == 0
    assert agent.message["continued"] == 1 and witnessed(tmp_path) == ["ran"]


def test_one_whose_command_had_begun_fails(agent, step, tmp_path):
    (tmp_path / "started").touch()
    code, _, errors = step(*saying(tmp_path, 0))
    assert code == 1 and b"must not run twice" in errors
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "Restarted")
    assert json.loads((tmp_path / "done").read_bytes())["reason"] == "Restarted"
    assert not witnessed(tmp_path)


def test_it_ran_from_its_first_start_until_now(agent, step, tmp_path):
    """A Task's end is that of its last step, and whether a step ran is told by its times."""
    (tmp_path / "started").touch()
    os.utime(tmp_path / "started", (1704493160, 1704493160))
    step(*saying(tmp_path, 0))
    assert agent.message["startedAt"] == "2024-01-05T22:19:20.000Z"
    assert agent.message["finishedAt"] > "2026"


@pytest.mark.parametrize("what", ["a sidecar has failed", "the order says that it ends"])
def test_what_keeps_a_step_from_its_turn_does_not_hide_that_it_had_begun(agent, step, tmp_path, what):
    (tmp_path / "started").touch()
    (tmp_path / "order").write_text("-1" if "order" in what else "1")
    (tmp_path / "web").write_text('{"state":"Failed","exitCode":137,"reason":"Killed"}')
    sidecar = ("--sidecar", f"web={tmp_path}/web") if "sidecar" in what else ()
    assert step("--wait", str(tmp_path / "order"), *sidecar, *saying(tmp_path, 0))[0] == 1
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "Restarted")


def test_one_whose_command_had_begun_fails_and_may_let_the_others_go_on(agent, step, tmp_path):
    (tmp_path / "started").touch()
    assert step(*saying(tmp_path, 0, "--on-error", "continue"))[0] == 0
    assert (agent.message["reason"], agent.message["continued"]) == ("Restarted", 1)


def test_one_that_still_waited_runs(step, tmp_path):
    after = tmp_path / "after"
    after.write_text('{"state": "Succeeded", "exitCode": 0}')
    assert step("--after", str(after), *saying(tmp_path, 0))[0] == 0
    assert witnessed(tmp_path) == ["ran"] and (tmp_path / "started").exists()


@pytest.mark.parametrize(
    "content", ["", "nonsense", '{"state": "Succeeded"}', '{"state":"Succeeded","exitCode":"x","reason":"y"}']
)
def test_an_end_that_makes_no_sense_is_no_success(agent, step, tmp_path, content):
    (tmp_path / "done").write_text(content)
    assert step(*saying(tmp_path, 0))[0] == 1
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "BadDoneFile")
    assert f"{tmp_path}/done is damaged" in agent.message["message"]
    assert not witnessed(tmp_path)


def test_a_mark_that_can_not_be_made_fails_the_step_before_it_runs(agent, tmp_path):
    command = ("--started", str(tmp_path / "nowhere" / "started"), *saying(tmp_path, 0))
    code, _, errors = agent.run_step(*command)
    assert code == 1 and b"--started: cannot create" in errors
    assert not witnessed(tmp_path)


def test_a_script_is_unpacked_for_each_try(agent, tmp_path):
    """One that changes or removes itself is whole again."""

    import base64
    import gzip

    body = f'#!/bin/sh\necho ran >>{tmp_path}/witness\nrm "$0"\nexit 5\n'
    (tmp_path / "encoded").write_bytes(base64.b64encode(gzip.compress(body.encode())))
    flags = ("--retries", "2", "--encodefile", str(tmp_path / "encoded"), "--script-dir", str(tmp_path))
    assert agent.run_step(*flags)[0] == 5
    assert witnessed(tmp_path) == ["ran"] * 3


def test_a_bad_result_does_not_drop_the_good_ones(agent, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    line = f"echo fine >{results}/good; mkdir {results}/bad; echo fine too >{results}/other"
    names = [word for name in ("good", "bad", "other") for word in ("--result", name)]
    assert agent.run_step("--results-dir", str(results), *names, "--command", "sh", "-c", line)[0] == 1
    assert agent.message["reason"] == "BadResult"
    assert (agent.message["result.good"], agent.message["result.other"]) == ("fine", "fine too")
