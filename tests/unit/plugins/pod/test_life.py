"""What a Pod says of itself: whether it has ended, and the operator's numbers on it."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import Attempt
from ansible_collections.taskflow.operator.plugins.module_utils._pod.life import (
    attempt_of,
    has_ended,
    parse_number,
    parse_order,
    standing_order,
)
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import NOW, RUNNING, ended, make_pod, set_states, waiting

DEAD = ended(137, reported=False)
BY_GC = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC"}
BY_KUBELET = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
# What somebody may write by hand, or a program that counts in another way.
FOREIGN = [
    "99",
    "+2",
    "1_0",
    "-5",
    "",
    " 1",
    "1 ",
    "1\n",
    "01",
    "-0",
    "--1",
    "\uff11",
    "²",
    "1.0",
    "0x1",
    "x",
    "9" * 5000,
]


def on_a_node(phase, node="worker", **states):
    return {**set_states(make_pod(1, phase), **states), "spec": {"nodeName": node}}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
@pytest.mark.parametrize(
    ("states", "over"),
    [
        ({}, True),
        ({"a": DEAD, "b": DEAD}, True),
        ({"a": DEAD, "b": RUNNING}, False),
        ({"a": DEAD, "b": waiting()}, True),
    ],
)
def test_a_terminal_phase_is_told_too_early_while_a_container_runs(phase, states, over):
    assert has_ended(on_a_node(phase, **states)) == over


def test_an_init_container_may_run_as_well():
    pod = on_a_node("Failed", a=waiting())
    pod["status"]["initContainerStatuses"] = [{"name": "s", "state": RUNNING}]
    assert not has_ended(pod)


@pytest.mark.parametrize(
    ("node", "condition", "grace", "over"),
    [
        ("", None, None, True),
        ("worker", BY_GC, None, True),
        ("worker", {**BY_GC, "status": "False"}, None, False),
        ("worker", BY_KUBELET, None, False),
        # Its kubelet goes on ending the containers, and tells of it, as long as a finalizer keeps the Pod.
        ("worker", None, 0, False),
        ("worker", None, 30, False),
    ],
)
def test_nobody_is_waited_for_who_will_say_no_more(node, condition, grace, over):
    pod = on_a_node("Failed", node, a=RUNNING)
    pod["status"]["conditions"] = [condition] if condition else []
    if grace is not None:
        pod["metadata"].update(deletionTimestamp=NOW, deletionGracePeriodSeconds=grace)
    assert has_ended(pod) == over


def test_whoever_deletes_a_pod_by_force_ends_nothing():
    pod = on_a_node("Running", a=RUNNING)
    pod["metadata"].update(deletionTimestamp=NOW, deletionGracePeriodSeconds=0)
    assert not has_ended(pod)


# The operator's numbers.


@pytest.mark.parametrize("text", [None, *FOREIGN])
def test_what_the_operator_has_not_written_is_no_order(text):
    assert parse_order(text, 3) is None


@given(st.integers(min_value=0, max_value=200), st.integers(min_value=1, max_value=100))
def test_an_order_is_written_in_one_way(number, last):
    assert parse_order(str(number), last) == (number if number <= last else None)
    assert parse_order("-1", last) == -1


@given(st.one_of(st.text(), st.from_regex(r"[\s+-]?\d{1,4}_?\d*\s?", fullmatch=True)), st.integers(1, 100))
def test_whatever_is_an_order_is_written_as_the_operator_writes_it(text, last):
    order = parse_order(text, last)
    assert order is None or (str(order) == text and -1 <= order <= last)
    number = parse_number(text)
    assert number is None or (str(number) == text and number >= 0)


@pytest.mark.parametrize("text", ["+2", "\uff12", "1_0", "-1", ""])
def test_a_foreign_number_on_a_pod_counts_as_none(text):
    pod = make_pod()
    pod["metadata"]["annotations"]["api.practice.com/attempt"] = text
    assert attempt_of(pod) == Attempt(1, 0)


@pytest.mark.parametrize(
    ("text", "passed", "recorded", "order"),
    [
        ("1", 0, 0, 1),
        ("1", 0, None, 1),
        # The Local hand-off's order follows the steps.
        ("0", 2, 0, 0),
        # Higher than the steps call for.
        ("2", 0, 1, 1),
        ("3", 1, None, 1),
        ("3", 1, 2, 2),
        # But not, if it was that before, though the statuses lag.
        ("3", 1, 3, 3),
        # Lower than it was.
        ("0", 1, 2, 2),
        ("1", 1, 2, 2),
        # No order.
        ("99", 3, 3, 3),
        ("99", 2, 0, 2),
        (None, 0, 1, 1),
        ("", 0, None, 0),
        # Whoever writes -1 ends the Task, and nobody takes that back.
        ("-1", 1, 2, -1),
        ("1", 0, -1, -1),
        ("99", 3, -1, -1),
    ],
)
def test_the_order_that_stands(text, passed, recorded, order):
    assert standing_order(text, 3, passed, recorded) == order


@given(
    st.one_of(st.sampled_from(FOREIGN), st.integers(-3, 9).map(str)),
    st.integers(1, 6),
    st.data(),
)
def test_the_order_that_stands_is_one_and_never_falls(text, last, data):
    passed = data.draw(st.integers(0, last))
    recorded = data.draw(st.one_of(st.none(), st.integers(-1, last)))
    order = standing_order(text, last, passed, recorded)
    assert -1 <= order <= last
    if order != -1:
        assert (recorded or 0) <= order <= max(passed + 1, recorded or 0)
    assert standing_order(str(order), last, passed, recorded) == order
    assert standing_order(text, last, passed, order) == order or text == "-1"
