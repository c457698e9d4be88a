"""What sidecars did, and what comes of it for the first step and the order."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.reports import SidecarEnd
from support.tasks.factory import (
    RUNNING,
    continued,
    ended,
    make_step,
    make_task,
    pod_of,
    waiting,
)
from support.tasks.looks import orders_to_come, states_of, step_statuses

KILLED = ended(137, reported=False)

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
