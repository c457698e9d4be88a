"""The steps' states, and the order that follows from them."""

from __future__ import annotations

import itertools
import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._contract import ENDED
from ansible_collections.taskflow.operator.plugins.module_utils._pod.life import pod_order
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import next_order, orders_to_write
from ansible_collections.taskflow.operator.plugins.module_utils._task.reports import SidecarEnd
from ansible_collections.taskflow.operator.plugins.module_utils._task.steps import has_passed
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import RUNNING, continued, ended, make_pod, make_step, make_task, set_states, waiting
from support.tasks.looks import orders_to_come, step_statuses

NAMES = ["zeta", "alpha", "mid", "last"]
HOLD = "api.practice.com/hold-order"
KILLED = ended(137, reported=False)


def states_of(task, pod):
    return [s["state"] for s in step_statuses(task, pod)]


def pod_of(order, *states, phase="Running"):
    return set_states(make_pod(order, phase), **dict(zip(NAMES, states, strict=False)))


def status_of(state, **pod):
    """Return the status of a Task's only step."""
    (status,) = step_statuses(make_task("zeta"), pod_of(1, state, **pod))
    return status


# The order.


@pytest.mark.parametrize(
    ("order", "states", "orders"),
    [
        (0, [waiting(), waiting(), waiting()], []),
        (0, [RUNNING, RUNNING, waiting()], []),
        (0, [RUNNING, RUNNING, RUNNING], [1]),
        (1, [RUNNING, RUNNING, RUNNING], []),
        (1, [ended(), RUNNING, RUNNING], [2]),
        (0, [ended(), ended(), RUNNING], [1, 2, 3]),
        (1, [ended(), ended(), ended()], [2, 3]),
        (3, [ended(), ended(), ended()], []),
        (2, [ended(), ended(1), RUNNING], [-1]),
        (0, [ended(), ended(1), ended(1, state="Skipped")], [1, 2, -1]),
        (3, [ended(), ended(), ended(1)], [-1]),
        (2, [ended(), ended(137, reported=False, reason="OOMKilled"), RUNNING], [-1]),
        # A step that failed and continues lets the next one run, the last one ends the Task.
        (1, [continued(), RUNNING, RUNNING], [2]),
        (0, [continued(), ended(), continued()], [1, 2, 3]),
        # A step that fails before its turn ends the Task; the order does not go past the steps before it.
        (1, [RUNNING, RUNNING, ended(1)], [-1]),
        (0, [RUNNING, KILLED, waiting()], [-1]),
        # One that ends well before its turn takes nobody else's.
        (1, [RUNNING, ended(), RUNNING], []),
        (2, [ended(), RUNNING, ended()], []),
        (-1, [ended(), ended(), ended()], []),
        # Statuses that lag behind never take the order back.
        (3, [ended(), RUNNING, RUNNING], []),
    ],
)
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_orders_to_come(order, states, orders, handoff):
    task = make_task(*NAMES[:3], handoff=handoff)
    assert orders_to_come(task, pod_of(order, *states)) == orders


@pytest.mark.parametrize(
    ("orders", "written"), [([], []), ([1], [1]), ([1, 2, 3], [3]), ([1, 2, -1], [2, -1]), ([-1], [-1])]
)
def test_only_the_annotation_handoff_needs_every_value_written(orders, written):
    assert orders_to_write(orders, make_task("a")) == written
    assert orders_to_write(orders, make_task("a", handoff="Annotation")) == orders


def test_a_pod_that_failed_without_a_failed_step_ends_the_order():
    assert next_order(0, ObservedPod(make_task("zeta"), make_pod(0, "Failed"))) == -1


@pytest.mark.parametrize(
    ("order", "states", "orders"),
    [
        (0, [waiting(), waiting()], [-1]),
        (0, [RUNNING, RUNNING], [-1]),
        (1, [RUNNING, RUNNING], [-1]),
        (1, [ended(), RUNNING], [-1]),
        (-1, [ended(), RUNNING], []),
        # All that it was to do has been done.
        (1, [ended(), ended()], [2]),
        (2, [ended(), continued()], []),
    ],
)
def test_a_task_that_shall_stop_is_told_so_once(order, states, orders):
    task = make_task(*NAMES[:2])
    assert orders_to_come(task, pod_of(order, *states), stop=True) == orders


@pytest.mark.parametrize(
    ("hold", "order", "orders"),
    [
        ("0", 0, []),
        ("1", 0, [1]),
        ("2", 0, [1, 2]),
        ("9", 0, [1, 2, 3]),
        ("1", 2, []),
        ("true", 0, []),
        ("true", 2, []),
        ("", 1, []),
        ("-1", 1, []),
        ("1.5", 0, []),
        ("²", 0, []),
    ],
)
def test_the_order_is_held_where_the_annotation_says(hold, order, orders):
    task = make_task(*NAMES[:3], handoff="Annotation", annotations={HOLD: hold})
    pod = pod_of(order, ended(), ended(), RUNNING)
    assert orders_to_come(task, pod) == orders


def test_the_local_handoff_is_not_held():
    pod = pod_of(0, RUNNING, RUNNING)
    assert orders_to_come(make_task("zeta", "alpha", annotations={HOLD: "0"}), pod) == [1]


@pytest.mark.parametrize("hold", ["1", "true"])
def test_a_held_order_does_not_outlive_a_failure_or_a_stop(hold):
    task = make_task("zeta", "alpha", "mid", handoff="Annotation", annotations={HOLD: hold})
    assert orders_to_come(task, pod_of(1, ended(1), RUNNING, RUNNING)) == [-1]
    assert orders_to_come(task, pod_of(1, ended(), RUNNING, RUNNING), stop=True) == [-1]


def test_a_held_order_does_not_outlive_the_death_of_a_step_that_waits():
    task = make_task("zeta", "alpha", "mid", handoff="Annotation", annotations={HOLD: "1"})
    assert orders_to_come(task, pod_of(1, ended(), KILLED, RUNNING)) == [-1]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    ("sidecar", "orders"),
    [
        ({"ready": True, "state": RUNNING}, [1]),
        ({"ready": False, "state": RUNNING}, []),
        ({"state": waiting()}, []),
        ({"ready": False, "state": ended()}, [1]),
        ({"ready": False, "state": ended(1)}, []),
    ],
)
def test_the_first_step_awaits_a_sidecar_until_it_is_ready(native, sidecar, orders):
    task = make_task("zeta", sidecars=[make_step("s", readinessProbe={"tcpSocket": {"port": 1}})])
    pod = pod_of(0, RUNNING)
    where = "initContainerStatuses" if native else "containerStatuses"
    pod["status"].setdefault(where, []).append({"name": "s", **sidecar})
    assert orders_to_come(task, pod) == orders
    assert states_of(task, pod) == ["Waiting"]
    pod["metadata"]["annotations"]["taskorder"] = "1"
    assert states_of(task, pod) == (["Waiting"] if "waiting" in sidecar["state"] else ["Running"])


@pytest.mark.parametrize(
    ("state", "orders"), [(waiting("ErrImagePull"), []), (RUNNING, [1]), (ended(), [1]), (ended(1), [])]
)
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_a_sidecar_without_a_probe_is_awaited_until_it_has_started(handoff, state, orders):
    task = make_task("zeta", sidecars=[make_step("s")], handoff=handoff)
    pod = pod_of(0, RUNNING)
    pod["status"]["containerStatuses"].append({"name": "s", "state": state})
    # With Local it is the agents that know whether the step has begun.
    is_local = handoff == "Local" and "waiting" not in state
    assert orders_to_come(task, pod) == ([1] if is_local else orders)
    assert states_of(task, pod) == (["Running"] if is_local else ["Waiting"])
    pod["metadata"]["annotations"]["taskorder"] = "1"
    assert states_of(task, pod) == (["Waiting"] if "waiting" in state else ["Running"])


# Sidecars that fail.

BACK_OFF = waiting("CrashLoopBackOff", "back-off 10s restarting failed container")
CRASH, DONE = ended(3, reported=False), ended(reported=False)
START_ERROR = ended(128, reported=False, reason="StartError", message="exec: no-such-program: not found")


def with_sidecar(pod, native, **status):
    """Give the Pod a sidecar of this status, and return it."""
    where = "initContainerStatuses" if native else "containerStatuses"
    pod["status"].setdefault(where, []).append({"name": "s", **status})
    return pod


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"state": BACK_OFF, "lastState": CRASH, "restartCount": 1}, 3),
        ({"state": CRASH, "restartCount": 0}, 3),
        ({"state": RUNNING, "lastState": CRASH, "restartCount": 1}, 3),
        ({"state": START_ERROR, "restartCount": 0}, 128),
        ({"state": waiting("RunContainerError", "not found"), "lastState": START_ERROR, "restartCount": 1}, 128),
        ({"state": BACK_OFF, "lastState": ended(137, reported=False), "restartCount": 1}, 137),
        # It may have been stopped with its Pod; if not, it is started again.
        ({"state": ended(137, reported=False), "restartCount": 0}, None),
        ({"state": ended(143, reported=False), "restartCount": 0}, None),
        # Something may yet come of these, as of a step.
        ({"state": waiting("ImagePullBackOff", "no such image"), "restartCount": 0}, None),
        ({"state": waiting("CreateContainerConfigError", "no Secret"), "restartCount": 0}, None),
        ({"state": waiting("CreateContainerError", "name is reserved"), "restartCount": 0}, None),
        ({"state": waiting(), "restartCount": 0}, None),
        ({"state": RUNNING, "restartCount": 0}, None),
        # One that ends well is fine, unless no step would ever start.
        ({"state": DONE, "restartCount": 0}, None),
        ({"state": RUNNING, "lastState": DONE, "restartCount": 1}, None),
        ({"state": BACK_OFF, "lastState": DONE, "restartCount": 1}, None),
        ({"state": BACK_OFF, "lastState": DONE, "restartCount": 2}, 0),
    ],
)
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_a_native_sidecar_that_keeps_the_first_step_from_its_turn(handoff, status, code):
    task = make_task("zeta", sidecars=[make_step("s")], handoff=handoff)
    pod = with_sidecar(pod_of(0, waiting("PodInitializing")), True, **status)
    found = ObservedPod(task, pod).failed_sidecar
    assert (found and found.end["exitCode"]) == code
    assert orders_to_come(task, pod) == []
    assert ObservedPod(task, pod).dead_sidecars == []


@pytest.mark.parametrize(("state", "fails"), [(CRASH, True), (START_ERROR, True), (DONE, False), (RUNNING, False)])
@pytest.mark.parametrize("starts", [RUNNING, waiting()])
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_an_ordinary_sidecar_that_keeps_the_first_step_from_its_turn(handoff, starts, state, fails):
    task = make_task("zeta", "alpha", sidecars=[make_step("s")], handoff=handoff)
    pod = with_sidecar(pod_of(0, RUNNING, starts), False, state=state)
    if handoff == "Local" and starts == RUNNING:
        # The step may have begun, unless the sidecar's agent has never been.
        fails = state == START_ERROR
    assert bool(ObservedPod(task, pod).failed_sidecar) == fails
    assert orders_to_come(task, pod) == ([] if fails or starts != RUNNING else [1])


# A first step that did not begin, since a sidecar had failed by then.

REFUSAL = 'sidecar "s" ended before the first step began: exit code 3: no such port'


def refused(**fields):
    """Return the state of a first step that a sidecar has kept from its turn."""
    return ended(1, "Skipped", **{"reason": "SidecarFailed", "sidecar": "s", "message": REFUSAL, **fields})


@pytest.mark.parametrize(
    ("native", "status"),
    [
        (True, {"state": BACK_OFF, "lastState": CRASH, "restartCount": 1}),
        (True, {"state": RUNNING, "lastState": CRASH, "restartCount": 1}),
        (True, {"state": ended(137, reported=False), "lastState": CRASH, "restartCount": 1}),
        (False, {"state": CRASH}),
    ],
)
@pytest.mark.parametrize("names", [{}, {"sidecar": "x"}, {"sidecar": 1}])
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
@pytest.mark.parametrize("order", [0, 1])
def test_a_first_step_that_a_sidecar_has_kept_from_its_turn(order, handoff, names, native, status):
    task = make_task("zeta", "alpha", sidecars=[make_step("fine"), make_step("s")], handoff=handoff)
    pod = with_sidecar(pod_of(order, refused(**names), ended(1, "Skipped")), native, **status)
    pod["status"]["containerStatuses"].append({"name": "fine", "state": RUNNING})
    found = ObservedPod(task, pod).refusing_sidecar
    assert (found.name, found.end["exitCode"]) == ("s", 3)
    # Its order does not go up first, it ends by itself, and no death is told besides.
    assert orders_to_come(task, pod) == [-1]
    assert (ObservedPod(task, pod).failed_sidecar, ObservedPod(task, pod).dead_sidecars) == (None, [])
    assert states_of(task, pod) == ["Skipped", "Skipped"]
    # The name is no field of the step's status.
    assert "sidecar" not in step_statuses(task, pod)[0]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("finished", "refuses"), [("22:19:25.999", True), ("22:19:26.001", False)])
def test_a_first_step_that_was_started_after_a_sidecars_failure_will_not_begin(native, finished, refuses):
    task = make_task("zeta", sidecars=[make_step("s")])
    end = ended(3, finishedAt=f"2024-01-06T{finished}Z")
    status = {"state": RUNNING, "lastState": end} if native else {"state": end}
    pod = with_sidecar(pod_of(0, RUNNING), native, **status)
    assert states_of(task, pod) == ["Waiting" if refuses else "Running"]
    assert orders_to_come(task, pod) == ([] if refuses else [1])
    assert (bool(ObservedPod(task, pod).failed_sidecar), bool(ObservedPod(task, pod).dead_sidecars)) == (
        refuses,
        not refuses,
    )


def test_what_the_first_step_says_counts_while_the_sidecars_end_is_not_known():
    task = make_task("zeta", sidecars=[make_step("s")])
    pod = with_sidecar(pod_of(0, refused()), True, state=RUNNING)
    assert ObservedPod(task, pod).refusing_sidecar == SidecarEnd("s", None, words=REFUSAL)
    cut = ended(1, reported=False, message='{"state":"Skipped","exitCode":1,"reason":"Sidec')
    found = ObservedPod(task, with_sidecar(pod_of(0, cut), True, state=RUNNING)).refusing_sidecar
    assert found.name == ""


@pytest.mark.parametrize("first", [RUNNING, ended(), ended(1), ended(1, "Cancelled"), continued(), KILLED])
def test_nobody_has_kept_a_first_step_from_its_turn_that_was_not_skipped(first):
    task = make_task("zeta", "alpha", sidecars=[make_step("s")])
    pod = with_sidecar(pod_of(0, first, ended(1, "Skipped")), True, state=BACK_OFF, lastState=CRASH)
    assert ObservedPod(task, pod).refusing_sidecar is None
    assert ObservedPod(make_task("zeta"), pod_of(0, refused())).refusing_sidecar is None


def test_a_pod_that_would_not_end_by_itself_is_ended_for_the_sidecar():
    task = make_task("zeta", "alpha", sidecars=[make_step("s")])
    pod = pod_of(0, refused(), waiting("ImagePullBackOff", "no such image"))
    found = ObservedPod(task, with_sidecar(pod, True, state=RUNNING, lastState=CRASH)).failed_sidecar
    assert (found.name, found.end["exitCode"]) == ("s", 3)


def test_a_native_sidecar_that_fails_holds_up_no_pod_that_was_told_to_end():
    task = make_task("zeta", sidecars=[make_step("s")])
    status = {"state": BACK_OFF, "lastState": CRASH, "restartCount": 1}
    assert ObservedPod(task, with_sidecar(pod_of(-1, waiting()), True, **status)).failed_sidecar.end["exitCode"] == 3
    # Here the steps' agents are told, and the others' sidecars, too.
    assert ObservedPod(task, with_sidecar(pod_of(-1, RUNNING), True, **status)).failed_sidecar is None
    assert ObservedPod(task, with_sidecar(pod_of(-1, waiting()), False, state=CRASH)).failed_sidecar is None


def test_a_step_that_was_ended_with_its_pod_for_a_sidecar_has_not_failed():
    task = make_task("zeta", "alpha", sidecars=[make_step("s")])
    pod = pod_of(-1, ended(137, reported=False, reason="ContainerStatusUnknown"), waiting("PodInitializing"))
    pod["metadata"]["annotations"]["api.practice.com/sidecar-failed"] = "it failed"
    assert states_of(task, pod) == ["Cancelled", "Waiting"]


def test_nobodys_sidecar_fails_in_a_pod_that_is_over_or_goes():
    task = make_task("zeta", sidecars=[make_step("s")])
    over = with_sidecar(pod_of(0, ended(137, reported=False)), False, state=ended(137, reported=False))
    assert ObservedPod(task, over).failed_sidecar is None
    pod = with_sidecar(pod_of(0, waiting()), True, state=CRASH)
    pod["metadata"]["deletionTimestamp"] = "2024-01-06T22:20:00Z"
    assert ObservedPod(task, pod).failed_sidecar is None


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_a_sidecar_that_dies_beside_the_steps_holds_nothing_up_and_is_told(native, handoff):
    task = make_task("zeta", "alpha", sidecars=[make_step("s")], handoff=handoff)
    status = {"state": BACK_OFF, "lastState": CRASH, "restartCount": 1} if native else {"state": CRASH}
    pod = with_sidecar(pod_of(1, RUNNING, RUNNING), native, **status)
    assert states_of(task, pod) == ["Running", "Waiting"]
    assert ObservedPod(task, pod).failed_sidecar is None
    assert [(s.name, s.end["exitCode"]) for s in ObservedPod(task, pod).dead_sidecars] == [("s", 3)]
    pod = with_sidecar(pod_of(1, ended(), RUNNING), native, **status)
    assert orders_to_come(task, pod) == [2]


def test_a_native_sidecar_that_dies_when_all_steps_have_started_does_not_fail_the_task():
    task = make_task("zeta", sidecars=[make_step("s")])
    pod = with_sidecar(pod_of(0, RUNNING), True, state=BACK_OFF, lastState=CRASH, restartCount=1)
    assert ObservedPod(task, pod).failed_sidecar is None
    assert orders_to_come(task, pod) == [1]
    assert [s.name for s in ObservedPod(task, pod).dead_sidecars] == ["s"]


@pytest.mark.parametrize(
    ("order", "status"),
    [
        # Stopped with the Pod, each in its way.
        (1, {"state": CRASH}),
        (-1, {"state": CRASH}),
        (1, {"state": ended(143, reported=False)}),
        (1, {"state": DONE, "lastState": DONE, "restartCount": 3}),
    ],
)
@pytest.mark.parametrize("native", [False, True])
def test_a_sidecar_that_is_stopped_after_the_steps_has_not_died(native, order, status):
    task = make_task("zeta", sidecars=[make_step("s")])
    assert ObservedPod(task, with_sidecar(pod_of(order, ended()), native, **status)).dead_sidecars == []


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(("finished", "dead"), [("22:19:55.249", True), ("22:19:55.251", False)])
def test_a_sidecar_that_dies_just_before_the_last_step_ends_is_told(native, finished, dead):
    task = make_task("zeta", sidecars=[make_step("s")])
    state = ended(3, finishedAt=f"2024-01-06T{finished}Z")
    assert bool(ObservedPod(task, with_sidecar(pod_of(1, ended()), native, state=state)).dead_sidecars) is dead


@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_a_sidecar_that_is_no_longer_ready_takes_nothing_back_and_holds_nothing_up(handoff):
    sidecars = [make_step("s", readinessProbe={"tcpSocket": {"port": 1}})]
    task = make_task("zeta", "alpha", sidecars=sidecars, handoff=handoff)
    pod = pod_of(1, RUNNING, RUNNING)
    pod["status"]["containerStatuses"].append({"name": "s", "ready": False, "state": RUNNING})
    assert states_of(task, pod) == ["Running", "Waiting"]
    pod = pod_of(1, ended(), RUNNING)
    pod["status"]["containerStatuses"].append({"name": "s", "ready": False, "state": RUNNING})
    assert orders_to_come(task, pod) == [2]


# The steps' states.


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


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"state": "Great"}', '{"state": 1}', "{}", '"Succeeded"'])
def test_a_foreign_termination_message_is_not_taken_for_a_report(text):
    status = status_of(ended(2, reported=False, message=text))
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 2, "Killed")
    assert status["message"] == (text or "the container was ended from outside, with its agent")


@pytest.mark.parametrize(
    ("kubelet", "status"),
    [
        ({"reason": "OOMKilled"}, {"reason": "OOMKilled", "message": "limits.memory"}),
        ({"reason": "Error"}, {"reason": "Killed", "message": "ended from outside"}),
        ({"reason": "ContainerCannotRun", "message": "no such file"}, {"reason": "ContainerCannotRun"}),
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
    assert status_of(ended(2, reported=False, message=message))["message"] == message


def test_exit_code_0_without_a_report_is_a_success():
    assert status_of(ended(0, reported=False)) == {"name": "zeta", "state": "Succeeded", "exitCode": 0}


def test_a_report_can_not_turn_a_failure_into_a_success():
    status = status_of(ended(1, state="Succeeded"))
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 1, "Killed")


@pytest.mark.parametrize("exit_code", [0, 1, 143])
@pytest.mark.parametrize("state", ["Cancelled", "Skipped"])
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


@pytest.mark.parametrize("annotations", [None, {}, {"taskorder": "x"}, {"taskorder": ""}])
def test_a_missing_or_foreign_order_counts_as_the_first(annotations):
    pod = make_pod()
    pod["metadata"]["annotations"] = annotations
    assert pod_order(pod) == 0


CONTAINER = st.sampled_from(
    [waiting(), RUNNING, ended(), ended(1), continued(), KILLED, ended(1, state="Skipped"), ended(0, state="Cancelled")]
)


@given(
    st.lists(st.lists(CONTAINER, min_size=4, max_size=4), min_size=1, max_size=12),
    st.sampled_from(["Local", "Annotation"]),
    st.sampled_from([None, "0", "2", "true"]),
)
def test_whatever_arrives_the_order_rises_until_it_is_minus_one(snapshots, handoff, hold):
    annotations = {HOLD: hold} if hold else None
    task, order = make_task(*NAMES, handoff=handoff, annotations=annotations), 0
    for snapshot in snapshots:
        pod = pod_of(order, *snapshot)
        path = [order, *orders_to_come(task, pod)]
        assert all(b == a + 1 <= len(NAMES) or b == -1 for a, b in itertools.pairwise(path))
        order = path[-1]
        assert orders_to_come(task, pod_of(order, *snapshot)) == []


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
    if exit_code:
        assert status["state"] != "Succeeded"
        assert not has_passed(status)


@given(st.integers(min_value=1, max_value=6), st.one_of(st.none(), st.integers(0, 5)), st.booleans())
def test_step_by_step_the_annotation_handoff_goes_through_every_order(count, fails, twice):
    names = [f"s{n}" for n in range(count)]
    task, order, seen = make_task(*names, handoff="Annotation"), 0, []
    states = dict.fromkeys(names, RUNNING)
    for _ in range(3 * count + 3):
        for _ in range(2 if twice else 1):
            order = next_order(order, ObservedPod(task, set_states(make_pod(order), **states)))
        seen.append(order)
        if order > 0:
            states[names[order - 1]] = ended(1 if fails == order - 1 else 0)
    last = fails + 1 if fails is not None and fails < count else count
    path = [o for i, o in enumerate(seen) if i == 0 or seen[i - 1] != o]
    assert path == [*range(1, last + 1), *([-1] if fails is not None and fails < count else [])]


def test_a_report_that_the_kubelet_cut_is_no_success():
    cut = '{"state":"Failed","exitCode":3,"reason":"Error","continued":1,"result.x":"aaaa'
    status = step_statuses(make_task("zeta"), pod_of(1, {"terminated": {"exitCode": 0, "message": cut}}))[0]
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 3, "ReportCut")
    assert status["continued"] is True
