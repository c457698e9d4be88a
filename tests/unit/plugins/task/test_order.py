"""The order that follows from the steps' states."""

from __future__ import annotations

import itertools

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import next_order, orders_to_write
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import orders_to_come as after
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import (
    NAMES,
    RUNNING,
    continued,
    ended,
    make_pod,
    make_step,
    make_task,
    pod_of,
    set_states,
    waiting,
)
from support.tasks.looks import orders_to_come, states_of

HOLD = "api.practice.com/hold-order"
KILLED = ended(137, reported=False)


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
        # More than the steps call for is what nobody but somebody else writes.
        (3, [ended(), RUNNING, RUNNING], [2]),
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
    pod = pod_of(0, RUNNING)
    assert orders_to_write(orders, ObservedPod(make_task("a"), pod)) == written
    assert orders_to_write(orders, ObservedPod(make_task("a", handoff="Annotation"), pod)) == orders


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
        ("+1", 0, []),
        ("01", 0, []),
        (" 1", 0, []),
        ("1_0", 0, []),
        ("\uff11", 0, []),
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
        # The status knows what the order has been, should the statuses of containers lag.
        path = [order, *after(ObservedPod(task, pod, recorded_order=str(order)))]
        assert all(b == a + 1 <= len(NAMES) or b == -1 for a, b in itertools.pairwise(path))
        order = path[-1]
        assert after(ObservedPod(task, pod_of(order, *snapshot), recorded_order=str(order))) == []


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
