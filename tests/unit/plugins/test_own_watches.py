"""The operator's own watches file: it says enough that nothing is missed, whatever happens to a Task."""

from __future__ import annotations

import copy
import datetime
import os
from pathlib import Path

import pytest
import yaml
from ansible_collections.taskflow.operator.plugins.module_utils._contract import TRACKING_FINALIZER
from ansible_collections.taskflow.operator.plugins.module_utils._task.observed import ObservedPod
from ansible_collections.taskflow.operator.plugins.module_utils._task.order import next_order
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tasks.factory import NOW, make_pod, make_step, make_task
from support.tasks.looks import compute_status
from support.tasks.simulation import CRASHES, FAILS, FINAL, KILLED, OK, RUNS, World

from taskflow_controller.config.watches import load_watches
from taskflow_controller.triggers.predicates import dependent_reason, primary_reason

ROOT = Path(__file__).resolve().parents[3]
HOLD = "api.practice.com/hold-order"


def watch_of(kind):
    """Return the entry of a kind in the watches file."""
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections")}
    loaded = load_watches(ROOT / "watches.yaml", environment)
    assert loaded.warnings == ()
    return next(watch for watch in loaded.watches if watch.gvk.kind == kind)


TASK = watch_of("Task")


def test_tasks_are_served_many_at_a_time_and_need_no_proxy():
    assert TASK.batch > 1
    assert not TASK.api_proxy
    assert not TASK.manage_status


def set_order(pod, order):
    """Set a Pod's order by hand; once it is -1 it stays."""
    annotations = pod.api["metadata"]["annotations"]
    if annotations["taskorder"] != "-1":
        annotations["taskorder"] = order


def reason_for(before, after):
    """Return why the controller runs for this change of a Pod, None if it does not."""
    (fields,) = (dependent.fields for dependent in TASK.dependents)
    return dependent_reason(before, after, fields=fields)


def pod_with(path, value):
    """Return a Task's Pod with a value at a dotted path."""
    pod = make_pod(of=make_task("a"))
    *parents, last = path.split(".")
    place = pod
    for key in parents:
        place = place.setdefault(key, {})
    place[last] = value
    return pod


def decided(pod):
    """Return what the modules make of a Pod: the Task's status, and the next order."""
    task = make_task("a")
    return compute_status(task, [pod], None, NOW), next_order(0, ObservedPod(task, pod))


WAITING = [{"name": "a", "image": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.annotations.taskorder", "1"),
        ("metadata.deletionTimestamp", NOW),
        ("status.phase", "Failed"),
        ("status.conditions", [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]),
        ("status.initContainerStatuses", WAITING),
        ("status.containerStatuses", WAITING),
    ],
)
def test_what_changes_a_task_starts_a_run(path, value):
    before, after = make_pod(of=make_task("a")), pod_with(path, value)
    assert decided(before) != decided(after)
    assert path in reason_for(before, after)


@pytest.mark.parametrize("path", ["metadata.labels.taskname", "metadata.ownerReferences"])
def test_what_makes_a_pod_a_tasks_starts_a_run_when_somebody_changes_it(path):
    """Whoever takes off the label that the selector asks for has the Pod look deleted, which starts one, too."""
    (dependent,) = TASK.dependents
    assert dependent.label_selector == "type=taskpod"
    assert path in reason_for(make_pod(of=make_task("a")), pod_with(path, []))


def test_the_finalizer_that_the_playbook_puts_on_pods_is_taken_off_by_the_controller():
    (dependent,) = TASK.dependents
    (play,) = yaml.safe_load((ROOT / "playbooks" / "task.yml").read_text())
    (module,) = (task["taskflow.operator.task_reconcile"] for task in play["tasks"])
    assert (dependent.finalizer, TASK.vars) == (TRACKING_FINALIZER, {"taskflow_track_pods": True})
    role = yaml.safe_load((ROOT / "roles" / "taskflow_operator" / "vars" / "main.yml").read_text())
    assert role["taskflow_operator_finalizer"] == TRACKING_FINALIZER
    assert module["track_pods"] == "{{ taskflow_track_pods | default(false) }}"


def test_the_reason_of_a_lost_pod_starts_a_run():
    before, after = pod_with("status.phase", "Failed"), pod_with("status.phase", "Failed")
    after["status"]["reason"] = "Evicted"
    assert "status.reason" in reason_for(before, after)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels", {"touched": "yes"}),
        ("metadata.annotations.touched", "yes"),
        ("metadata.resourceVersion", "2"),
        ("metadata.managedFields", [{}]),
        ("spec.activeDeadlineSeconds", 5),
        ("status.podIPs", [{"ip": "10.0.0.1"}]),
        ("status.startTime", NOW),
        ("status.qosClass", "BestEffort"),
    ],
)
def test_what_can_change_nothing_starts_no_run(path, value):
    assert reason_for(make_pod(of=make_task("a")), pod_with(path, value)) is None


class Watched:
    """A World whose Task is reconciled only when the controller would see a reason, or was asked to come again."""

    def __init__(self, world):
        self.world, self.seen, self.again = world, None, None
        self.is_due = True
        self.look()

    def look(self):
        """Note whether what has changed since the last look is a reason for a run."""
        before = self.seen or (None, {})
        self.seen = copy.deepcopy((self.world.task, {name: pod.api for name, pod in self.world.pods.items()}))
        task, pods = self.seen
        reasons = [primary_reason(before[0], task, watch_annotations=TASK.watch_annotations_changes)]
        for name in {*before[1], *pods}:
            if before[1].get(name) != pods.get(name):
                reasons.append(reason_for(before[1].get(name), pods.get(name)))
        self.is_due = self.is_due or any(reasons)

    def reconcile(self):
        """Have the run that is due, if one is."""
        if self.is_due:
            self.is_due = False
            self.again = self.world.round().get("requeue_after")
            self.look()

    def do(self, action):
        action()
        self.look()

    def go_on(self, number):
        """Let one thing happen; the number says which."""
        world = self.world
        pods = [pod for pod in world.pods.values() if pod.is_alive and len(world.made) < 3]
        others = [
            self.reconcile,
            self.reconcile,
            lambda: world.change(cancel=number % 2 == 0),
            lambda: world.change(suspend=number % 2 == 0),
            lambda: world.task["metadata"].update(annotations=[{}, {HOLD: "1"}][number % 2]),
            lambda: [world.delete_pod(pod.api) for pod in pods],
            lambda: [pod.lose("Evicted") for pod in pods],
            lambda: [set_order(pod, "-1") for pod in pods],
            lambda: [set_order(pod, "0") for pod in pods],
        ]
        every = [*world.actions(), *others]
        self.do(every[number % len(every)])

    def settle(self):
        """Let everything happen that still will: in the Pods, in the controller, and by the clock."""
        for _ in range(500):
            if self.is_due:
                self.reconcile()
            elif actions := self.world.actions():
                self.do(actions[0])
            elif self.again and self.world.status.get("status") not in FINAL:
                self.world.clock += datetime.timedelta(seconds=self.again)
                self.is_due = True
            else:
                return
        raise AssertionError("it never ends")


OUTCOMES = st.lists(st.sampled_from([OK, OK, FAILS, KILLED]), min_size=1, max_size=3)
CHOICES = st.lists(st.integers(0, 40), max_size=60)
# Whether there is one, whether it is a native one, and what it does.
SIDECARS = st.sampled_from([(False, False, RUNS), (True, False, RUNS), (True, False, CRASHES), (True, True, CRASHES)])


@settings(max_examples=150, deadline=None)
@given(OUTCOMES, CHOICES, st.sampled_from(["Local", "Annotation"]), SIDECARS, st.sampled_from(["", "60s"]))
def test_runs_that_are_started_by_watched_fields_alone_bring_a_task_to_its_end(
    outcomes, choices, handoff, sidecar, timeout
):
    has_sidecar, native, does = sidecar
    sidecars = [make_step("web", readinessProbe={"tcpSocket": {"port": 1}})] if has_sidecar else []
    steps = [make_step(f"s{number}") for number, _ in enumerate(outcomes)]
    task = make_task(*steps, handoff=handoff, sidecars=sidecars, timeout=timeout)
    watched = Watched(World(task, lambda _spec, _pod: outcomes, native, lambda _pod: does))
    world = watched.world
    for choice in choices:
        watched.go_on(choice)
    watched.do(lambda: world.task["metadata"].update(annotations={}))
    watched.do(lambda: world.change(suspend=False))
    watched.settle()
    assert world.status["status"] in FINAL
    assert not any(pod.is_alive for pod in world.pods.values())
    # A run that nobody asked for finds nothing to do.
    before = copy.deepcopy((world.task, world.pods_of()))
    world.round()
    assert before == (world.task, world.pods_of())
