"""A Task whose spec, Pods and cluster change all the time, in a simulated cluster."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tasks.factory import condition, make_task
from support.tasks.lives import draw_events
from support.tasks.simulation import FAILS, FINAL, OK, World
from support.tasks.simulation import KILLED as DIES

VARIANTS = {
    "plain": ({}, [OK]),
    "fails": ({}, [OK, FAILS]),
    "killed": ({}, [DIES]),
    "retried": ({"retries": 2}, [OK, FAILS]),
    "lucky": ({"retries": 2}, "by retry"),
    "timed": ({"timeout": "60s"}, [OK]),
}


# What somebody may write into the order annotation that does not end the Task.
BY_HAND = (None, "0", "1", "2", "3", "99", "+1", "01", "\uff11", "-5", "")


class Life:
    """A Task whose spec, Pods and cluster change all the time. Each event takes a number that says how."""

    def __init__(self, handoff, skew=0, tracks=False):
        self.world = World(make_task("zeta", "alpha", handoff=handoff), self._outcomes, skew=skew)
        self.world.tracks = tracks
        self.variant, self.losses = "plain", 0

    def _outcomes(self, _spec, pod):
        outcomes = VARIANTS[self.variant][1]
        if outcomes == "by retry":
            return [OK] if pod["metadata"]["annotations"]["api.practice.com/retry"] == "1" else [OK, FAILS]
        return outcomes

    def pods_go_on(self, number):
        for _ in range(number % 6 + 1):
            actions = self.world.actions()
            if actions:
                actions[number % len(actions)]()

    def operator_looks(self, number):
        self.world.round(tasks=(3, 3, 3, 3, 2, 1)[number % 6])

    def everything_goes_on(self, _number):
        self.world.round()
        for action in self.world.actions():
            action()
        self.world.round()

    def spec_changes(self, number):
        self.variant = sorted(VARIANTS)[number % len(VARIANTS)]
        self.world.change(
            **{"retries": 0, "timeout": "", **VARIANTS[self.variant][0]},
            params=[{"name": "variant", "value": self.variant}],
        )

    def control_field_changes(self, number):
        # Taken back before it is recorded, it leaves a Pod that looks lost.
        self.losses += number % 2 == 0
        self.world.change(**{("cancel", "cancel", "suspend")[number % 3]: number % 2 == 0})

    def pod_is_lost(self, number):
        pods = list(self.world.pods.values())
        if not pods:
            return
        self.losses += 1
        pod = pods[number % len(pods)]
        if number % 4 == 0:
            pod.reap()  # its node is gone
        elif number % 4 == 1 or not pod.is_alive:
            self.world.delete_pod(pod.api)
        else:
            pod.lose("Evicted")

    def order_is_set_by_hand(self, number):
        pods = list(self.world.pods.values())
        if pods:
            pods[number % len(pods)].set_by_hand(BY_HAND[number % len(BY_HAND)])

    def labels_or_owner_go(self, number):
        for pod in self.world.pods.values():
            if pod.uid == self.world.status.get("podUID"):
                pod.api["metadata"].pop(("labels", "ownerReferences")[number % 2], None)

    def time_passes(self, number):
        self.world.clock += datetime.timedelta(seconds=number)

    def check_pods(self):
        assert sum(pod.is_alive for pod in self.world.pods.values()) <= 1

    def check_end(self):
        """Let everything happen that still will, and see whether it has come to what it had to."""
        self.world.settle()
        spec, status = self.world.task["spec"], self.world.status
        word, reason = status["status"], condition(status)["reason"]
        if word not in FINAL:
            assert spec.get("suspend"), f"{word}, {reason}"
            assert (word, reason, self.world.pods) == ("Pending", "Suspended", {})
            return
        assert not any(pod.is_alive or pod.is_tracked for pod in self.world.pods.values())
        assert status.get("order", "0") in ("-1", "0", "1", "2")
        named = self.world.pods.get(status.get("podName"))
        if word == "Successful":
            assert self.variant in ("plain", "lucky", "timed")
            assert named is None or named.has_passed
        elif word == "Cancelled":
            assert reason == "Cancelled"
            assert spec.get("cancel")
        else:
            allowed = {"StepFailed": ("fails", "killed", "retried", "lucky"), "TimedOut": ("timed",)}
            assert self.variant in allowed.get(reason, VARIANTS)
            assert reason in ("StepFailed", "TimedOut", "PodLost")
            assert reason != "PodLost" or self.losses >= 3


WEIGHTS = {
    Life.pods_go_on: 20,
    Life.operator_looks: 14,
    Life.everything_goes_on: 1,
    Life.spec_changes: 2,
    Life.control_field_changes: 5,
    Life.pod_is_lost: 3,
    Life.order_is_set_by_hand: 2,
    Life.labels_or_owner_go: 2,
    Life.time_passes: 1,
}
EVENTS = draw_events(WEIGHTS, 100)


def live(life, events):
    for event, number in events:
        event(life, number)
        life.check_pods()
    life.check_end()


@given(EVENTS, st.sampled_from(["Local", "Annotation"]), st.sampled_from([0, -3, 3, 3600]), st.booleans())
def test_whatever_happens_to_a_task_it_comes_to_its_end(events, handoff, skew, tracks):
    live(Life(handoff, skew, tracks), events)


# What has once gone wrong.
KILLED = [(Life.spec_changes, 1), (Life.operator_looks, 0), (Life.pods_go_on, 4)]
KNOWN = {
    "the order is taken off after the verdict, before the step that waits has read it": (
        [*KILLED, (Life.operator_looks, 0), (Life.order_is_set_by_hand, 0)]
    ),
    "the labels, too": (
        [*KILLED, (Life.operator_looks, 0), (Life.order_is_set_by_hand, 0), (Life.labels_or_owner_go, 0)]
    ),
    "the order is taken off before it is recorded": (
        [*KILLED, (Life.operator_looks, 4), (Life.order_is_set_by_hand, 0)]
    ),
    "cancel is too late, the order is taken off, and what is written of that is lost": [
        *KILLED,
        (Life.operator_looks, 0),
        (Life.control_field_changes, 0),
        (Life.order_is_set_by_hand, 0),
        (Life.operator_looks, 4),
        (Life.control_field_changes, 3),
    ],
    "the labels are taken off a Pod that is to be let go": [
        (Life.operator_looks, 0),
        (Life.control_field_changes, 0),
        (Life.pods_go_on, 0),
        (Life.operator_looks, 0),
        (Life.labels_or_owner_go, 0),
    ],
    "a Pod is evicted before it is recorded, and deleted later": [
        (Life.operator_looks, 4),
        (Life.pods_go_on, 0),
        (Life.pod_is_lost, 2),
        (Life.operator_looks, 0),
        (Life.control_field_changes, 2),
    ],
}


@pytest.mark.parametrize("tracks", [False, True])
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
@pytest.mark.parametrize("name", KNOWN)
def test_so_it_does_in_each_case_that_is_known(name, handoff, tracks):
    live(Life(handoff, tracks=tracks), KNOWN[name])


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from(["Local", "Annotation"]))
def test_one_reading_comes_to_the_same_as_one_for_each_module(events, handoff):
    once, thrice = Life(handoff), Life(handoff)
    for event, number in events:
        for life in (once, thrice):
            event(life, number)
        once.world.round()
        thrice.world.round_by_modules()
        assert once.world.task == thrice.world.task
        assert once.world.pods_of() == thrice.world.pods_of()
        assert once.world.events == thrice.world.events
