"""The order that somebody has set by hand is put back, and an Event tells of it."""

from __future__ import annotations

import pytest
from support.tasks.factory import NOW, RUNNING, condition, ended, ending, make_pod, make_task, set_states
from support.tasks.looks import compute_status, found, make_reconciler

FOREIGN = ["99", "+2", "1_0", "-5", "", " 1", "\uff11", "9" * 5000, None]


class Recorder:
    """Takes down what is written, and answers as the API server does."""

    def __init__(self):
        self.orders, self.events, self.cancelled = [], [], False

    def set_order(self, pod, order, cancelled=False):
        self.orders.append(order)
        self.cancelled = self.cancelled or cancelled
        annotations = {**pod["metadata"]["annotations"], "taskorder": str(order)}
        return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}}

    def emit(self, _task, event):
        self.events.append(event)


def pod_with(text, **states):
    pod = set_states(make_pod(), **states)
    annotations = pod["metadata"]["annotations"]
    annotations.pop("taskorder") if text is None else annotations.update(taskorder=text)
    return pod


def advanced(task, pod):
    """Return what was written, the words of the Events, and the Pod as it is then."""
    api, seen = Recorder(), found(task, pod)
    result = make_reconciler(api).advance_order(seen)
    assert result["changed"] == bool(api.orders)
    assert all((event.type, event.reason) == ("Warning", "OrderPutBack") for event in api.events)
    return api.orders, [event.message for event in api.events], seen.pods[0]


@pytest.mark.parametrize("text", FOREIGN)
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
@pytest.mark.parametrize(
    ("recorded", "states", "order"),
    [
        ("0", {"a": RUNNING, "b": RUNNING}, 1),
        ("1", {"a": RUNNING, "b": RUNNING}, 1),
        ("1", {"a": ended(), "b": RUNNING}, 2),
        ("2", {"a": ended(), "b": RUNNING}, 2),
        ("2", {"a": ended(), "b": ended()}, 2),
        ("1", {"a": ended(1), "b": RUNNING}, -1),
        ("-1", {"a": RUNNING, "b": RUNNING}, -1),
    ],
)
def test_what_is_no_order_is_put_back_to_what_the_steps_call_for(text, handoff, recorded, states, order):
    task, pod = make_task("a", "b", handoff=handoff), pod_with(text, **states)
    task["status"] = {"observedGeneration": 1, "podName": "task-pod-demo-1", "order": recorded}
    orders, (words,), after = advanced(task, pod)
    assert orders[-1] == order and after["metadata"]["annotations"]["taskorder"] == str(order)
    assert ("was gone" if text is None else "was set to ") in words and len(words) < 300
    assert words.endswith(f"; it is {orders[0]} now")
    # No status shows anything else, even before.
    assert compute_status(task, [pod], None, NOW)["order"] in ("0", "1", "2", "-1")
    assert advanced(task, after) == ([], [], after)


@pytest.mark.parametrize(
    ("text", "recorded", "states", "orders", "words"),
    [
        ("2", "1", {"a": RUNNING, "b": RUNNING}, [1], "the steps before number 2 have not all passed"),
        ("1", "2", {"a": ended(), "b": RUNNING}, [2], "it had been 2 before"),
        ("0", "1", {"a": RUNNING, "b": RUNNING}, [1], "it had been 1 before"),
        ("1", "-1", {"a": RUNNING, "b": RUNNING}, [-1], "it had been -1 before"),
    ],
)
def test_an_order_that_is_not_due_is_put_back(text, recorded, states, orders, words):
    task = make_task("a", "b", handoff="Annotation", annotations={"api.practice.com/hold-order": "true"})
    task["status"] = {"observedGeneration": 1, "podName": "task-pod-demo-1", "order": recorded}
    written, (message,), _ = advanced(task, pod_with(text, **states))
    assert written == orders and words in message


def test_somebody_may_let_the_next_step_begin_that_is_held():
    task = make_task("a", "b", handoff="Annotation", annotations={"api.practice.com/hold-order": "1"})
    task["status"] = {"observedGeneration": 1, "podName": "task-pod-demo-1", "order": "1"}
    assert advanced(task, pod_with("2", a=ended(), b=RUNNING))[:2] == ([], [])


def test_the_status_of_another_pod_says_nothing_of_this_ones_order():
    task = make_task("a", "b")
    task["status"] = {"observedGeneration": 1, "podName": "another", "order": "2"}
    assert advanced(task, pod_with("1", a=RUNNING, b=RUNNING))[:2] == ([], [])


def test_there_is_no_verdict_before_the_order_is_put_back():
    task, pod = make_task("a"), pod_with("99", a=ended())
    assert compute_status(task, [pod], None, NOW)["status"] == "Running"
    status = compute_status(task, [advanced(task, pod)[2]], None, NOW)
    assert (status["status"], status["order"], condition(status)["status"]) == ("Successful", "1", "True")


def test_check_mode_puts_nothing_back():
    api = Recorder()
    result = make_reconciler(api, True).advance_order(found(make_task("a"), pod_with("99", a=RUNNING)))
    assert (result["changed"], result["diff"]["before"]) == (True, {"taskorder": "99"})
    assert (api.orders, api.events) == ([], [])


FAILED = {"observedGeneration": 1, "podName": "task-pod-demo-1", "order": "-1", "status": "Failure"}


def test_it_is_put_back_after_the_verdict_too_until_the_pod_has_ended():
    task = {**make_task("a", "b"), "status": dict(FAILED)}
    pod = pod_with(None, a=ended(1), b=RUNNING)
    assert advanced(task, pod)[0] == [-1]
    pod = pod_with(None, a=ended(1), b=ended(1, "Cancelled"))
    assert advanced(task, pod)[0] == []


def test_a_task_that_had_failed_is_not_marked_as_cancelled_then():
    """Its run would count as a cancelled one, and another would follow when spec.cancel is false again."""
    api = Recorder()
    seen = found({**make_task("a", "b", cancel=True), "status": dict(FAILED)}, pod_with(None, a=ended(1), b=RUNNING))
    make_reconciler(api).advance_order(seen)
    assert (api.orders, api.cancelled) == ([-1], False)
    seen.task["status"].update(status="Running", order="1")
    seen.pods[:] = [pod_with(None, a=ended(1), b=RUNNING)]
    make_reconciler(api).advance_order(seen)
    assert (api.orders, api.cancelled) == ([-1, -1], True)


def test_a_task_that_is_being_deleted_has_no_step_begin():
    task = ending(make_task("a", "b", handoff="Annotation"))
    task["status"] = {"observedGeneration": 1, "podName": "task-pod-demo-1", "order": "1"}
    assert advanced(task, pod_with("1", a=ended(), b=RUNNING))[:2] == ([], [])
