"""Which Pod is a Task's, and when a new one is due."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._attempts import plan_pods
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from factory import make_pod, make_task
from hypothesis import given
from hypothesis import strategies as st


def ending(pod):
    pod["metadata"]["deletionTimestamp"] = "2024-01-06T22:20:00Z"
    return pod


def test_a_new_task_gets_its_first_pod():
    assert plan_pods(make_task("a"), []).attempt == 1


def test_the_pod_of_the_present_spec_is_kept():
    pod = make_pod()
    plan = plan_pods(make_task("a"), [pod])
    assert (plan.current, plan.delete, plan.attempt) == (pod, (), 0)


def test_the_pod_of_an_earlier_spec_goes_first():
    old = make_pod(generation=1)
    plan = plan_pods(make_task("a", generation=2), [old])
    assert (plan.delete, plan.attempt, plan.waiting) == ((old,), 0, True)
    plan = plan_pods(make_task("a", generation=2), [ending(old)])
    assert (plan.delete, plan.attempt, plan.waiting) == ((), 0, True)
    assert plan_pods(make_task("a", generation=2), []).attempt == 1


def test_a_second_pod_of_the_same_spec_goes():
    first, second = make_pod(name="p1"), make_pod(name="p2")
    plan = plan_pods(make_task("a"), [second, first])
    assert (plan.current, plan.delete) == (first, (second,))


@pytest.mark.parametrize("verdict", ["Successful", "Failure"])
def test_a_finished_task_gets_no_new_pod_until_its_spec_changes(verdict):
    task = make_task("a")
    task["status"] = {"status": verdict, "observedGeneration": 1, "attempts": 1}
    assert plan_pods(task, []).attempt == 0
    task["metadata"]["generation"] = 2
    assert plan_pods(task, []).attempt == 1


def test_a_lost_pod_is_replaced_three_times_at_most():
    task = make_task("a")
    task["status"] = {"status": "Running", "observedGeneration": 1, "attempts": 1}
    assert plan_pods(task, []).attempt == 2
    task["status"]["attempts"] = 3
    with pytest.raises(TaskError, match="3 Pods of this Task") as caught:
        plan_pods(task, [])
    assert (caught.value.reason, caught.value.permanent) == ("PodLost", True)


def test_a_task_that_is_being_deleted_is_left_alone():
    assert plan_pods(ending(make_task("a")), [make_pod()]).delete == ()


@given(
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=4),
    st.integers(1, 3),
    st.sampled_from([None, "Running", "Successful"]),
)
def test_no_pod_is_created_while_any_other_is_there(pods, generation, word):
    task = make_task("a", generation=generation)
    if word:
        task["status"] = {"status": word, "observedGeneration": generation, "attempts": 1}
    made = [make_pod(name=f"p{i}", generation=g) for i, (g, _) in enumerate(pods)]
    for pod, (_, gone) in zip(made, pods, strict=True):
        if gone:
            ending(pod)
    plan = plan_pods(task, made)
    assert not (plan.attempt and made)
    alive = [p for p in made if "deletionTimestamp" not in p["metadata"]]
    assert len([p for p in alive if p not in plan.delete]) <= 1
