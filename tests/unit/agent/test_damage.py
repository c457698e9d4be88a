"""What a step's command can do to its own run directory: it is found out, named, and never taken for an end."""

import json
import os
import time

import pytest
from taskflow_agent.gate import ended_early
from taskflow_agent.outcome import StepError

SUCCESS = '{"state":"Succeeded","exitCode":0,"reason":"Completed"}'


def eventually(condition):
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.01)


def directory(path):
    path.mkdir()


def pipe(path):
    os.mkfifo(path)


def loop(path):
    path.symlink_to(path)


def endless(path):
    path.symlink_to("/dev/zero")


def text(content):
    return lambda path: path.write_text(content)


DAMAGES = [
    directory,
    pipe,
    loop,
    endless,
    text(""),
    text("nonsense"),
    text("{}"),
    text('{"state":"Great","exitCode":0}'),
    text('{"state":"Succeeded","exitCode":"0"}'),
    text('{"state":"Succeeded","exitCode":0,"message":"' + "x" * (1 << 17) + '"}'),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_next_step_fails_and_names_the_file(agent, tmp_path, damage):
    before = tmp_path / "before"
    damage(before)
    marks = ("--done", str(tmp_path / "done"), "--after", str(before))
    assert agent.run_step(*marks, "--command", "touch", str(tmp_path / "ran"))[0] == 1
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "BadDoneFile")
    assert f"the done file {before} is damaged" in agent.message["message"]
    assert json.loads((tmp_path / "done").read_bytes()) == agent.message
    assert not (tmp_path / "ran").exists()


def test_the_step_after_that_one_is_skipped(agent, tmp_path):
    (tmp_path / "before").write_text('{"state":"Failed","exitCode":1,"reason":"BadDoneFile","message":"why"}')
    assert agent.run_step("--after", str(tmp_path / "before"), "--command", "true")[0] == 1
    assert agent.message["state"] == "Skipped"


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_later_step_that_needs_its_results_fails_and_names_the_file(agent, tmp_path, damage):
    before = tmp_path / "before"
    damage(before)
    flags = ("--fill", "m", "--results-of", f"a={before}", "--command", "echo", "{m:a/x}")
    assert agent.run_step(*flags)[0] == 1
    assert agent.message["reason"] == "BadDoneFile"
    assert str(before) in agent.message["message"]


@pytest.mark.parametrize("content", [SUCCESS, "nonsense", ""])
@pytest.mark.parametrize("flags", [(), ("--on-error", "continue")])
def test_a_step_that_writes_its_own_end_has_failed(agent, tmp_path, content, flags):
    done = tmp_path / "done"
    code = 3 if flags else 0
    line = f"printf '%s' '{content}' >{done}; exit {code}"
    found = agent.run_step("--done", str(done), *flags, "--command", "sh", "-c", line)[0]
    assert found == (code or 1)
    assert (agent.message["state"], agent.message["reason"]) == ("Failed", "BadDoneFile")
    assert str(done) in agent.message["message"] and "continued" not in agent.message
    assert json.loads(done.read_bytes()) == agent.message


def test_a_step_that_failed_by_itself_keeps_its_own_words(agent, tmp_path):
    line = f"echo nonsense >{tmp_path}/done; exit 3"
    assert agent.run_step("--done", str(tmp_path / "done"), "--command", "sh", "-c", line)[0] == 3
    assert (agent.message["exitCode"], agent.message["reason"]) == (3, "Error")


REMOVED = "rm -rf {0}/* {0}/.[a-z]*"
REPLACED = "cd {0}; for f in started ready begun; do rm -f $f; mkdir $f; done"


@pytest.mark.parametrize("line", [REMOVED, REPLACED])
def test_its_other_marks_decide_nothing(agent, tmp_path, line):
    run = tmp_path / "run"
    run.mkdir()
    marks = [word for name in ("ready", "done", "begun", "started") for word in (f"--{name}", str(run / name))]
    assert agent.run_step(*marks, "--command", "sh", "-c", line.format(run))[0] == 0
    assert json.loads((run / "done").read_bytes())["state"] == agent.message["state"] == "Succeeded"
    # In another container of the Pod it does not run again.
    assert agent.run_step(*marks, "--command", "touch", str(tmp_path / "ran"))[0] == 0
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["rm -r {0}", "rm -r {0}; touch {0}", "rm -r {0}; ln -s /etc {0}"])
def test_results_that_are_no_directory_any_more(agent, tmp_path, damage):
    results = tmp_path / "results"
    line = f"echo x >{results}/a; " + damage.format(results)
    code, _, _ = agent.run_step("--results-dir", str(results), "--result", "a", "--command", "sh", "-c", line)
    assert "result.a" not in agent.message
    assert (code, agent.message["reason"]) in ((0, "Completed"), (1, "BadResult"))


def test_the_step_before_that_is_ended_early_does_not_end_the_sidecar_of_those_that_run(agent, tmp_path):
    until = ("--until", str(tmp_path / "1"), "--until", str(tmp_path / "2"))
    marks = ("--ready", str(tmp_path / "ready"), "--termination-log", str(agent.termination_log))
    process = agent.start("sidecar", *marks, *until, "--command", "sleep", "1000")
    eventually((tmp_path / "ready").exists)
    (tmp_path / "2").write_text('{"state":"Failed","exitCode":143,"reason":"EndedBeforeItsTurn","told":15}')
    time.sleep(0.4)
    assert process.poll() is None
    (tmp_path / "1").write_text(SUCCESS)
    assert process.wait(60) == 0
    assert agent.message["reason"] == "Stopped"


def test_a_signal_that_comes_with_the_damage_is_told_of():
    """The Pod may be on its way out: then the step was lost with it."""

    class Gate:
        def look(self):
            raise StepError("BadDoneFile", "it is damaged")

    outcome = ended_early(15, Gate())
    assert (outcome.state, outcome.reason, outcome.told) == ("Failed", "BadDoneFile", 15)
