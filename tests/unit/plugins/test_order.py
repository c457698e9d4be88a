"""The steps' states, and the order that follows from them."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _order
from factory import RUNNING, ended, make_pod, make_task, set_states, waiting
from hypothesis import given
from hypothesis import strategies as st

NAMES = ["zeta", "alpha", "mid", "last"]


def states_of(task, pod):
    return [s["state"] for s in _order.step_statuses(task, pod)]


def pod_of(order, *states, phase="Running"):
    return set_states(make_pod(order, phase), **dict(zip(NAMES, states, strict=False)))


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
        # A step that fails before its turn ends the Task; the order does not go past the steps before it.
        (1, [RUNNING, RUNNING, ended(1)], [-1]),
        (0, [RUNNING, ended(137, reported=False), waiting()], [-1]),
        (-1, [ended(), ended(), ended()], []),
        # Statuses that lag behind never take the order back.
        (3, [ended(), RUNNING, RUNNING], []),
    ],
)
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_orders_to_come(order, states, orders, handoff):
    task = make_task(*NAMES[:3], handoff=handoff)
    assert _order.orders_to_come(order, task, pod_of(order, *states)) == orders


def test_a_pod_that_failed_without_a_failed_step_ends_the_order():
    assert _order.next_order(0, make_task("zeta"), make_pod(0, "Failed")) == -1


def test_states_are_looked_up_by_name_and_only_the_next_step_runs():
    task = make_task("zeta", "alpha", "mid")
    assert states_of(task, pod_of(1, ended(), RUNNING, RUNNING)) == ["Succeeded", "Running", "Waiting"]
    assert states_of(task, pod_of(0, RUNNING, RUNNING, waiting())) == ["Waiting", "Waiting", "Waiting"]


def test_with_the_annotation_handoff_a_step_runs_once_the_order_says_so():
    task = make_task("zeta", "alpha", handoff="Annotation")
    assert states_of(task, pod_of(1, ended(), RUNNING)) == ["Succeeded", "Waiting"]
    assert states_of(task, pod_of(2, ended(), RUNNING)) == ["Succeeded", "Running"]


def test_the_agents_report_gives_times_and_reason():
    pod = pod_of(1, ended(3, reason="Error", message="words"))
    assert _order.step_statuses(make_task("zeta"), pod) == [
        {
            "name": "zeta",
            "state": "Failed",
            "exitCode": 3,
            "reason": "Error",
            "message": "words",
            "startedAt": "2024-01-06T22:19:30.125Z",
            "finishedAt": "2024-01-06T22:19:55.250Z",
        }
    ]


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"state": "Great"}', '{"state": 1}', "{}", '"Succeeded"'])
def test_a_foreign_termination_message_is_not_taken_for_a_report(text):
    pod = pod_of(1, ended(2, reported=False, message=text))
    status = _order.step_statuses(make_task("zeta"), pod)[0]
    assert (status["state"], status["exitCode"], status["reason"]) == ("Failed", 2, "Error")


def test_a_report_can_not_turn_a_failure_into_a_success():
    pod = pod_of(1, ended(1, state="Succeeded"))
    assert states_of(make_task("zeta"), pod) == ["Failed"]


def test_a_cancelled_command_that_ends_well_has_not_succeeded():
    assert states_of(make_task("zeta"), pod_of(-1, ended(0, state="Cancelled"))) == ["Cancelled"]


def test_skipped_and_cancelled_steps_are_not_failures():
    pod = pod_of(-1, ended(1), ended(1, state="Skipped"), ended(1, state="Cancelled"))
    assert states_of(make_task("zeta", "alpha", "mid"), pod) == ["Failed", "Skipped", "Cancelled"]


def test_why_a_step_can_not_start_is_told():
    pod = pod_of(0, waiting("ErrImagePull", "not found"), waiting())
    first, second = _order.step_statuses(make_task("zeta", "alpha"), pod)
    assert (first["reason"], first["message"]) == ("ErrImagePull", "not found")
    assert "reason" not in second


@pytest.mark.parametrize("times", [("yesterday", "now"), (1, 2), ("2024-02-30T22:19:30.000Z", None)])
def test_times_that_are_none_are_left_out_of_a_foreign_report(times):
    pod = pod_of(1, ended(1, startedAt=times[0], finishedAt=times[1]))
    status = _order.step_statuses(make_task("zeta"), pod)[0]
    assert status["state"] == "Failed"
    assert not {"startedAt", "finishedAt"} & set(status)


@pytest.mark.parametrize("annotations", [None, {}, {"taskorder": "x"}])
def test_a_missing_or_foreign_order_counts_as_the_first(annotations):
    pod = make_pod()
    pod["metadata"]["annotations"] = annotations
    assert _order.pod_order(pod) == 0


CONTAINER = st.sampled_from([waiting(), RUNNING, ended(), ended(1), ended(1, state="Skipped")])


@given(
    st.lists(st.lists(CONTAINER, min_size=4, max_size=4), min_size=1, max_size=12),
    st.sampled_from(["Local", "Annotation"]),
)
def test_whatever_arrives_the_order_rises_until_it_is_minus_one(snapshots, handoff):
    task, order = make_task(*NAMES, handoff=handoff), 0
    for snapshot in snapshots:
        pod = pod_of(order, *snapshot)
        path = [order, *_order.orders_to_come(order, task, pod)]
        assert all(b == a + 1 <= len(NAMES) or b == -1 for a, b in itertools.pairwise(path))
        order = path[-1]
        assert _order.orders_to_come(order, task, pod) == []


@given(st.integers(min_value=1, max_value=6), st.one_of(st.none(), st.integers(0, 5)), st.booleans())
def test_step_by_step_the_annotation_handoff_goes_through_every_order(count, fails, twice):
    names = [f"s{n}" for n in range(count)]
    task, order, seen = make_task(*names, handoff="Annotation"), 0, []
    states = dict.fromkeys(names, RUNNING)
    for _ in range(3 * count + 3):
        pod = set_states(make_pod(order), **states)
        for _ in range(2 if twice else 1):
            order = _order.next_order(order, task, set_states(make_pod(order), **states))
        seen.append(order)
        if order > 0:
            states[names[order - 1]] = ended(1 if fails == order - 1 else 0)
        assert pod
    expected = [-1] if fails is not None and fails < count else [count]
    assert seen[-1:] == expected
    assert [o for i, o in enumerate(seen) if i == 0 or seen[i - 1] != o] == [
        *range(1, (fails + 1 if fails is not None and fails < count else count) + 1),
        *([-1] if expected == [-1] else []),
    ]
