"""A Pod that has failed, while the image of another of its containers does not come."""

from __future__ import annotations

from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import Attempt
from ansible_collections.taskflow.operator.plugins.module_utils._task.attempts import Plan
from support.tasks import looks as _looks
from support.tasks.factory import NOW, RUNNING, ended, ending, make_pod, make_task, set_states, waiting


def plan_pods(task, pods):
    return _looks.plan_pods(task, pods, NOW)


def test_a_pod_that_failed_while_an_image_does_not_come_is_ended_and_another_follows():
    task, back_off = make_task("a", "b", "c", retries=1), waiting("ImagePullBackOff", "back-off")
    early = ended(143, reason="EndedBeforeItsTurn", told=15, startedAt=None, finishedAt=None)
    pod = set_states(make_pod(0, "Pending"), a=RUNNING, b=early, c=back_off)
    # The first step is told to end in the ordinary way.
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    never_ran = ended(1, "Cancelled", startedAt=None, finishedAt=None)
    pod = set_states(make_pod(-1, "Pending"), a=never_ran, b=early, c=back_off)
    assert plan_pods(task, [pod]) == Plan("waiting", pod, end=pod)
    # It is told so once, and what comes of that is awaited.
    pod["spec"] = {"activeDeadlineSeconds": 1}
    assert plan_pods(task, [pod]) == Plan("kept", pod)
    pod["status"].update(phase="Failed", reason="DeadlineExceeded")
    plan = plan_pods(task, [pod])
    assert (plan.action, plan.attempt) == ("created", Attempt(2, 1))


def test_a_pod_that_is_ended_or_deleted_is_not_told_to_end():
    task, never_ran = make_task("a", "b", retries=1), ended(1, "Cancelled", startedAt=None, finishedAt=None)
    early = ended(143, reason="EndedBeforeItsTurn", told=15, startedAt=None, finishedAt=None)
    pod = set_states(make_pod(-1, "Pending"), a=early, b=waiting("ImagePullBackOff", "back-off"))
    assert plan_pods(task, [pod]).end is pod
    assert plan_pods(task, [ending(pod)]).end is None
    over = set_states(make_pod(-1, "Failed"), a=early, b=never_ran)
    assert plan_pods(task, [over]).end is None
