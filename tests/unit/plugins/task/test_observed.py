"""One look at a Task: what is derived from it is derived once."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._task import observed as _observed
from ansible_collections.taskflow.operator.plugins.module_utils._task.attempts import plan_pods
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import orders_to_come
from ansible_collections.taskflow.operator.plugins.module_utils._task.status import compute_status, next_look
from support.tasks.factory import NOW, RUNNING, ended, ending, make_pod, make_step, make_task, set_states


@pytest.mark.parametrize("deleted", [False, True])
def test_the_steps_are_read_once_whatever_is_decided_from_them(monkeypatch, deleted):
    calls = []
    read = _observed.step_statuses
    monkeypatch.setattr(_observed, "step_statuses", lambda containers: calls.append(containers) or read(containers))
    task = make_task("a", "b", timeout="1h", retries=1, sidecars=[make_step("web")])
    pod = set_states(make_pod(1, of=task), a=ended(), b=RUNNING, web=RUNNING)
    seen = _observed.observe(task, [ending(pod) if deleted else pod], NOW, {pod["metadata"]["uid"]})
    plan_pods(seen)
    if seen.current:
        orders_to_come(seen.current, seen.shall_stop)
    next_look(seen, compute_status(seen, None), None)
    assert len(calls) == 1


def test_a_look_stays_as_it_was():
    seen = _observed.observe(make_task("a"), [], NOW)
    with pytest.raises(AttributeError):
        seen.now = "another time"
