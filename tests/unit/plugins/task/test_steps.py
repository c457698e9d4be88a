"""The steps' states, from the containers' statuses and the agents' reports."""

from __future__ import annotations

import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._contract import ENDED
from ansible_collections.taskflow.operator.plugins.module_utils._task.steps import has_passed
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import (
    RUNNING,
    continued,
    ended,
    make_task,
    pod_of,
    waiting,
)
from support.tasks.looks import states_of, step_statuses


def status_of(state, **pod):
    """Return the status of a Task's only step."""
    (status,) = step_statuses(make_task("zeta"), pod_of(1, state, **pod))
    return status


def test_states_are_looked_up_by_name_and_only_the_next_step_runs():
    task = make_task("zeta", "alpha", "mid")
    assert states_of(task, pod_of(1, ended(), RUNNING, RUNNING)) == ["Succeeded", "Running", "Waiting"]
    assert states_of(task, pod_of(1, continued(), RUNNING, RUNNING)) == ["Failed", "Running", "Waiting"]
    assert states_of(task, pod_of(1, ended(1), RUNNING, RUNNING)) == ["Failed", "Waiting", "Waiting"]
    assert states_of(task, pod_of(0, RUNNING, RUNNING, waiting())) == ["Waiting", "Waiting", "Waiting"]


def test_with_the_annotation_handoff_a_step_runs_once_the_order_says_so():
    task = make_task("zeta", "alpha", handoff="Annotation")
    assert states_of(task, pod_of(1, ended(), RUNNING)) == ["Succeeded", "Waiting"]
    assert states_of(task, pod_of(2, ended(), RUNNING)) == ["Succeeded", "Running"]


def test_the_agents_report_gives_times_and_reason():
    assert status_of(ended(3, reason="Error", message="words")) == {
        "name": "zeta",
        "state": "Failed",
        "exitCode": 3,
        "reason": "Error",
        "message": "words",
        "startedAt": "2024-01-06T22:19:30.125Z",
        "finishedAt": "2024-01-06T22:19:55.250Z",
    }


def test_a_step_that_succeeded_keeps_what_the_agent_reports():
    report = {"reason": "Completed", "message": "own words", "retries": 2, "result.v": "1", "result.u": ""}
    status = status_of(ended(0, **report))
    assert status["state"] == "Succeeded"
    assert (status["reason"], status["message"], status["retries"]) == ("Completed", "own words", 2)
    assert status["results"] == {"v": "1", "u": ""}
    assert "continued" not in status


def test_a_step_that_failed_and_continues_has_its_commands_exit_code():
    status = status_of(continued(3, reason="Error", retries=1, **{"result.v": "half"}))
    assert (status["state"], status["exitCode"], status["continued"]) == ("Failed", 3, True)
    assert (status["retries"], status["results"]) == (1, {"v": "half"})


def test_a_container_that_did_not_end_well_does_not_continue():
    status = status_of(ended(137, "Failed", continued=1))
    assert (status["state"], status["exitCode"]) == ("Failed", 137)
    assert "continued" not in status


def test_exit_code_0_with_the_report_of_a_failure_is_a_failure():
    status = status_of(ended(0, "Failed", exitCode=3))
    assert (status["state"], status["exitCode"]) == ("Failed", 3)
    assert "continued" not in status


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"state": "Great"}', '{"state": 1}', "{}", '"Succeeded"', "[" * 4096]
)
def test_a_foreign_termination_message_is_not_taken_for_a_report(text):
    status = status_of(ended(2, reported=False, message=text))
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 2, "NoReport")
    assert status["message"].startswith("the agent left no report") and status["message"].endswith(text)


@pytest.mark.parametrize("exit_code", [0, 2, 137, 143])
@pytest.mark.parametrize("text", ['{"state":"Skipped"}', '{"state":"Cancelled"}', '{"state":"Succeeded"}'])
def test_what_a_step_says_of_itself_is_no_report(exit_code, text):
    status = status_of(ended(exit_code, reported=False, message=text))
    assert (status["state"], status["exitCode"]) == ("Failed", exit_code)


@pytest.mark.parametrize(
    ("exit_code", "report"),
    [
        (137, {"state": "Skipped", "exitCode": 1}),
        (137, {"state": "Skipped", "exitCode": 137}),
        (0, {"state": "Skipped", "exitCode": 0}),
        (137, {"state": "Cancelled", "exitCode": 1}),
        (0, {"state": "Cancelled", "exitCode": 143}),
        (0, {"state": "Succeeded", "exitCode": 3}),
        (3, {"state": "Succeeded", "exitCode": 3}),
        (0, {"state": "Failed", "exitCode": 3}),
    ],
)
def test_a_report_that_the_containers_exit_code_contradicts_is_a_failure(exit_code, report):
    status = status_of(ended(exit_code, reported=False, message=json.dumps(report)))
    assert (status["state"], "continued" in status) == ("Failed", False)


def test_a_step_that_waited_when_a_signal_came_was_not_cancelled_though_its_older_agent_says_so():
    words = "ended by signal 15 before it was started"
    report = {"state": "Cancelled", "exitCode": 143, "reason": "Cancelled", "message": words}
    status = status_of(ended(143, reported=False, message=json.dumps(report)))
    assert (status["state"], status["reason"], status["message"]) == ("Failed", "EndedBeforeItsTurn", words)


@pytest.mark.parametrize(
    ("kubelet", "status"),
    [
        ({"reason": "OOMKilled"}, {"reason": "OOMKilled", "message": "limits.memory"}),
        ({"reason": "Error"}, {"reason": "Killed", "message": "ended from outside"}),
        ({"reason": "ContainerStatusUnknown"}, {"message": "ContainerStatusUnknown"}),
    ],
)
def test_a_step_whose_agent_could_not_report_has_the_kubelets_words(kubelet, status):
    times = {"startedAt": "2024-01-06T22:19:30Z", "finishedAt": "2024-01-06T22:19:31Z"}
    found = status_of(ended(137, reported=False, **kubelet, **times))
    assert (found["state"], found["exitCode"]) == ("Failed", 137)
    for key, words in status.items():
        assert words in found[key]
    assert {key: found[key] for key in times} == times


def test_a_command_that_was_out_of_memory_is_told_by_an_agent_that_lived():
    state = ended(137, reason="Signal", message="the command was ended by signal 9")
    state["terminated"]["reason"] = "OOMKilled"
    status = status_of(state)
    assert (status["state"], status["reason"], status["exitCode"]) == ("Failed", "OOMKilled", 137)
    assert "limits.memory" in status["message"]
    assert status["startedAt"] == "2024-01-06T22:19:30.125Z"


def test_a_command_that_was_out_of_memory_may_continue():
    state = continued(137)
    state["terminated"]["reason"] = "OOMKilled"
    status = status_of(state)
    assert (status["reason"], status["exitCode"], status["continued"]) == ("OOMKilled", 137, True)


CUT = '{"state":"%s","exitCode":%d,"reason":"Error","continued":1,"result.v":"a long'


@pytest.mark.parametrize(
    ("exit_code", "message", "status"),
    [
        (3, '{"state":"Failed","exitCode":3,"reas', {"state": "Failed", "exitCode": 3}),
        (0, CUT % ("Failed", 3), {"state": "Failed", "exitCode": 3, "continued": True}),
        (137, CUT % ("Failed", 3), {"state": "Failed", "exitCode": 137}),
        (0, '{"state":"Succeeded","exitCode":0,"result.v":"a lo', {"state": "Succeeded", "exitCode": 0}),
        (1, '{"state":"Skipped","exitCode":1,"reason":"Skip', {"state": "Skipped", "exitCode": 1}),
    ],
)
def test_of_a_report_that_the_kubelet_cut_state_and_exit_code_are_read(exit_code, message, status):
    found = status_of(ended(exit_code, reported=False, message=message))
    assert found["reason"] == "ReportCut"
    assert {key: found.get(key) for key in ("state", "exitCode", "continued")} == {"continued": None, **status}


@pytest.mark.parametrize(
    "message", ['{"state":"Great","exitCode":3,"re', '{"state":"Failed"', ' {"state":"Failed","exitCode":3,']
)
def test_what_only_looks_like_a_cut_report_is_the_containers_own_words(message):
    status = status_of(ended(2, reported=False, message=message))
    assert status["reason"] == "NoReport" and status["message"].endswith(f": {message}")


def test_exit_code_0_without_a_report_is_no_success():
    status = status_of(ended(0, reported=False))
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 0, "NoReport")
    assert "see its log" in status["message"]


@pytest.mark.parametrize("exit_code", [126, 127])
def test_a_command_that_could_not_be_started_is_said_to_be_so(exit_code):
    status = status_of(ended(exit_code, reported=False))
    assert status["message"].startswith("the command could not be started (see its log)")


@pytest.mark.parametrize("reason", ["StartError", "ContainerCannotRun"])
def test_a_container_that_was_never_started_has_the_kubelets_words(reason):
    words = "exec /taskflow/bin/taskflow-agent: argument list too long"
    times = {"startedAt": "1970-01-01T00:00:00Z", "finishedAt": "2024-01-06T22:19:31Z"}
    status = status_of(ended(128, reported=False, reason=reason, message=words, **times))
    assert (status["state"], status["reason"], status["exitCode"]) == ("Failed", reason, 128)
    assert status["message"] == f"the container could not be started: {words}"
    assert "startedAt" not in status


def test_a_report_can_not_turn_a_failure_into_a_success():
    status = status_of(ended(1, state="Succeeded", exitCode=0))
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 1, "Killed")


@pytest.mark.parametrize(
    ("exit_code", "state"), [(0, "Cancelled"), (1, "Cancelled"), (143, "Cancelled"), (137, "Cancelled"), (1, "Skipped")]
)
def test_a_command_that_did_not_run_to_its_end_has_not_succeeded(exit_code, state):
    status = status_of(ended(exit_code, state=state))
    assert (status["state"], status["exitCode"]) == (state, exit_code)


def test_skipped_and_cancelled_steps_are_not_failures():
    pod = pod_of(-1, ended(1), ended(1, state="Skipped"), ended(1, state="Cancelled"))
    assert states_of(make_task("zeta", "alpha", "mid"), pod) == ["Failed", "Skipped", "Cancelled"]


def test_why_a_step_can_not_start_is_told():
    pod = pod_of(0, waiting("ErrImagePull", "not found"), waiting())
    first, second = step_statuses(make_task("zeta", "alpha"), pod)
    assert (first["reason"], first["message"]) == ("ErrImagePull", "not found")
    assert "reason" not in second


def test_the_image_that_runs_is_told():
    pod = pod_of(0, RUNNING)
    pod["status"]["containerStatuses"][0]["imageID"] = "docker.io/library/busybox@sha256:1"
    assert step_statuses(make_task("zeta"), pod)[0]["imageID"] == "docker.io/library/busybox@sha256:1"


@pytest.mark.parametrize("times", [("yesterday", "now"), (1, 2), ("2024-02-30T22:19:30.000Z", None)])
def test_times_that_are_none_are_left_out_of_a_foreign_report(times):
    status = status_of(ended(1, startedAt=times[0], finishedAt=times[1]))
    assert status["state"] == "Failed"
    assert not {"startedAt", "finishedAt"} & set(status)


@pytest.mark.parametrize("field", ["reason", "message", "exitCode", "retries", "result.v"])
@pytest.mark.parametrize("value", [None, [], {}, 1.5, True])
def test_what_is_of_no_use_in_a_foreign_report_never_reaches_the_status(field, value):
    status = status_of(ended(1, **{field: value}))
    assert status["state"] == "Failed"
    assert isinstance(status.get("reason", ""), str)
    assert isinstance(status.get("message", ""), str)
    assert type(status["exitCode"]) is int
    assert type(status.get("retries", 0)) is int
    # The CRD has a map of strings there: the API server would refuse the whole status.
    assert all(isinstance(value, str) for value in (status.get("results") or {}).values())


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=3)
FIELDS = ["state", "exitCode", "reason", "message", "continued", "retries", "startedAt", "finishedAt"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), JSON)
    | st.builds(lambda d: {"state": "Succeeded", **d}, st.dictionaries(st.sampled_from(FIELDS[1:]), JSON)),
    st.integers(0, 255),
)
def test_no_report_whatever_makes_a_success_of_an_exit_code(report, exit_code):
    status = status_of({"terminated": {"exitCode": exit_code, "message": json.dumps(report)}})
    assert status["state"] in ENDED
    if exit_code or report.get("exitCode") is None:
        assert status["state"] != "Succeeded"
        assert not has_passed(status)


def test_a_report_that_the_kubelet_cut_is_no_success():
    cut = '{"state":"Failed","exitCode":3,"reason":"Error","continued":1,"result.x":"aaaa'
    status = step_statuses(make_task("zeta"), pod_of(1, {"terminated": {"exitCode": 0, "message": cut}}))[0]
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 3, "ReportCut")
    assert status["continued"] is True
