"""Whole runs in a simulated cluster, whatever happens in whichever order."""

from __future__ import annotations

import datetime

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.tasks.factory import condition, make_step, make_task
from support.tasks.simulation import CRASHES, DIES, FAILS, FINAL, FRAIL, KILLED, OK, RUNS, World

NAMES = ["zeta", "alpha", "mid", "last"]
HOLD = "api.practice.com/hold-order"

OUTCOMES = st.sampled_from([OK, OK, OK, FAILS, KILLED])
STEPS = st.lists(st.tuples(OUTCOMES, st.booleans()), min_size=1, max_size=4)
# What happens next, as long as somebody chooses; then all the rest.
CHOICES = st.integers(0, 80).flatmap(lambda n: st.lists(st.integers(0, 60), min_size=n, max_size=n))


def task_of(steps, handoff, **spec):
    made = [make_step(n, onError="continue" if c else "stopAndFail") for n, (_, c) in zip(NAMES, steps, strict=False)]
    return make_task(*made, handoff=handoff, **spec)


def play(world, choices, kills=False):
    """Let happen what the choices say, then the rest."""
    for choice in choices:
        actions = world.actions()
        others = 3 + (1 if kills else 0)
        kind = choice % (len(actions) + others)
        if kind < len(actions):
            actions[kind]()
        elif kind < len(actions) + 2:
            world.round(tasks=choice % 3 + 1)
        elif kind == len(actions) + 2:
            world.task["metadata"]["annotations"] = [{}, {HOLD: "1"}, {HOLD: "true"}][choice % 3]
        else:
            agents = [a for pod in world.pods.values() for a in pod.agents if a.is_up and not pod.is_lost]
            if agents:
                agents[choice % len(agents)].kill()
    world.task["metadata"]["annotations"] = {}
    world.settle()


def outcome_of(steps):
    """Return what a Task of these steps comes to, and the number of the step that decides it."""
    for number, (outcome, continues) in enumerate(steps, start=1):
        if outcome == KILLED or (outcome == FAILS and not continues):
            return "Failure", number
    return "Successful", len(steps)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]), st.booleans())
def test_the_verdict_is_what_the_steps_call_for(steps, choices, handoff, has_sidecar):
    sidecars = [make_step("web", readinessProbe={"tcpSocket": {"port": 1}})] if has_sidecar else []
    world = World(task_of(steps, handoff, sidecars=sidecars), lambda _spec, _pod: [o for o, _ in steps])
    play(world, choices)
    word, number = outcome_of(steps)
    status = world.status
    assert status["status"] == word
    assert status["progress"] == f"{number}/{len(steps)}"
    assert status["order"] == ("-1" if word == "Failure" else str(len(steps)))
    assert len(world.made) == 1
    if word == "Failure":
        assert condition(status)["message"].startswith(f'step "{NAMES[number - 1]}" ({number} of {len(steps)})')
    assert not world.made[0].is_alive
    states = ["Succeeded" if o == OK else "Failed" for o, _ in steps[:number]]
    found = [s["state"] for s in status["steps"]]
    assert found[:number] == states
    assert set(found[number:]) <= {"Skipped", "Cancelled"}


@settings(max_examples=40, deadline=None)
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]))
def test_every_change_is_told_once_however_often_it_is_seen(steps, choices, handoff):
    world = World(task_of(steps, handoff), lambda _spec, _pod: [o for o, _ in steps])
    play(world, choices)
    word, number = outcome_of(steps)
    told = [reason for _, reason in world.events]
    assert told.count("Created") == 1
    assert told.count("StepSucceeded") == sum(o == OK for o, _ in steps[:number])
    assert told.count("StepFailed") == sum(o != OK for o, _ in steps[:number])
    assert told.count("StepStarted") <= number
    assert told.count("Started") <= 1 + told.count("Held")
    assert told.count("Completed" if word == "Successful" else "Failed") == 1
    assert told[-1] == ("Completed" if word == "Successful" else "Failed")


def comparable(status):
    """Return a status without what is a matter of time, or of the Pod's name."""
    gone = ("podName", "specHash", "startTime", "startAt", "completionTime", "duration")
    rest = {k: v for k, v in status.items() if k not in gone}
    rest["conditions"] = [{k: v for k, v in x.items() if k != "lastTransitionTime"} for x in status["conditions"]]
    rest["steps"] = [
        {k: v for k, v in s.items() if k not in ("startedAt", "finishedAt")}
        if s["state"] not in ("Skipped", "Cancelled")
        # Whether it sees first that the step before it failed, or that the order is -1, is a matter of time.
        else {"name": s["name"], "state": "did not run"}
        for s in status["steps"]
    ]
    return rest


@settings(max_examples=40, deadline=None)
@given(STEPS, CHOICES, CHOICES)
def test_both_handoffs_come_to_the_same(steps, some, others):
    found = []
    for handoff, choices in (("Local", some), ("Annotation", others)):
        world = World(task_of(steps, handoff), lambda _spec, _pod: [o for o, _ in steps])
        play(world, choices)
        found.append(comparable(world.status))
    assert found[0] == found[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=3), st.integers(0, 2), CHOICES, st.sampled_from(["Local", "Annotation"]))
def test_retries_go_on_until_one_succeeds_or_none_is_left(tries, retries, choices, handoff):
    tries = [(steps * 4)[: len(tries[0])] for steps in tries]
    continues = [c for _, c in tries[0]]
    tries = [[(o, c) for (o, _), c in zip(steps, continues, strict=True)] for steps in tries]

    def outcomes(_spec, pod):
        return [o for o, _ in tries[int(pod["metadata"]["annotations"]["api.practice.com/retry"])]]

    world = World(task_of(tries[0], handoff, retries=retries), outcomes)
    play(world, choices)
    words = [outcome_of(steps)[0] for steps in tries[: retries + 1]]
    needed = words.index("Successful") + 1 if "Successful" in words else retries + 1
    assert (world.status["status"], len(world.made)) == (words[needed - 1], needed)
    assert (world.status["attempts"], world.status["retries"]) == (needed, needed - 1)
    assert len(world.pods) == needed
    assert [reason for _, reason in world.events].count("Created") == needed


@settings(max_examples=40, deadline=None)
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]), st.integers(0, 1))
def test_whatever_is_killed_the_task_ends(steps, choices, handoff, retries):
    world = World(task_of(steps, handoff, retries=retries), lambda _spec, _pod: [o for o, _ in steps])
    play(world, choices, kills=True)
    last = world.made[-1]
    assert world.status["status"] == ("Successful" if last.has_passed else "Failure")
    assert len(world.made) <= retries + 1
    assert last.has_passed or len(world.made) == retries + 1
    assert not any(pod.is_alive for pod in world.made)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), CHOICES, st.sampled_from(["Local", "Annotation"]), st.integers(0, 1))
@example(2, 1, [0, 1, 0, 0, 0], "Annotation", 0)
@example(2, 1, [0], "Annotation", 1)
def test_a_step_that_is_ended_before_its_turn_fails_the_task_then(count, early, choices, handoff, retries):
    early = min(early, count - 1)
    world = World(task_of([(OK, True)] * count, handoff, retries=retries), lambda _spec, _pod: [OK])
    world.round()
    (first,) = world.made
    for agent in first.agents:
        agent.start()
    first.post()
    first.agents[early].tell_to_end(world.node_now)
    play(world, choices)
    told = [reason for _, reason in world.events]
    if retries:
        assert (world.status["status"], len(world.made)) == ("Successful", 2)
        return
    ran = [step["state"] for step in world.status["steps"] if step.get("startedAt")]
    assert ran == ["Succeeded"] * len(ran)
    assert world.status["steps"][early]["state"] == "Failed"
    # With the Annotation hand-off none begins once it has ended.
    assert len(ran) == early or (handoff == "Annotation" and len(ran) <= early)
    assert (world.status["status"], condition(world.status)["reason"]) == ("Failure", "StepFailed")
    words = f'step "{NAMES[early]}" ({early + 1} of {count}) was ended from outside before its turn'
    assert condition(world.status)["message"].startswith(words)
    assert world.status["progress"] == f"{len(ran)}/{count}"
    assert told.count("StepSucceeded") == len(ran) and told.count("Failed") == 1


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 80), st.sampled_from(["Local", "Annotation"]), st.sampled_from([-3600, -3, 0, 3, 3600]))
def test_a_pod_that_is_deleted_while_a_step_runs_is_lost_whatever_the_nodes_clock_says(steps, when, handoff, skew):
    steps = [(OK, continues) for _, continues in steps]
    world = World(task_of(steps, handoff), lambda _spec, _pod: [OK], skew=skew)
    world.round()
    (first,) = world.made
    for choice in range(when):
        actions = [*world.actions(), world.round]
        actions[choice % len(actions)]()
    if not any(agent.runs_command for agent in first.agents):
        return
    world.delete_pod(first.api)
    for agent in first.agents:
        if not agent.has_ended:
            first._terminate(agent)
    first.post()
    world.settle()
    assert (world.status["status"], world.status["attempts"], len(world.made)) == ("Successful", 2, 2)
    assert "StepFailed" not in [reason for _, reason in world.events]


# With a probe and without, native and ordinary; and how many retries there are, and whether the last one goes well.
KINDS_OF_SIDECAR = st.tuples(
    st.sampled_from([make_step("web"), make_step("web", readinessProbe={"tcpSocket": {"port": 1}})]), st.booleans()
)
RECOVERY = st.tuples(st.integers(0, 2), st.booleans())


@settings(max_examples=60, deadline=None)
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]), KINDS_OF_SIDECAR, RECOVERY)
def test_a_sidecar_that_comes_to_nothing_fails_the_attempt_and_no_step_runs(steps, choices, handoff, kind, recovery):
    (sidecar_spec, native), (retries, recovers) = kind, recovery

    def sidecar(pod):
        is_last = pod["metadata"]["annotations"]["api.practice.com/retry"] == str(retries)
        return RUNS if recovers and is_last else CRASHES

    task = task_of(steps, handoff, sidecars=[sidecar_spec], retries=retries)
    world = World(task, lambda _spec, _pod: [o for o, _ in steps], native, sidecar)
    play(world, choices)
    status = world.status
    assert len(world.made) == len(world.pods) == retries + 1
    assert not any(pod.is_alive for pod in world.made)
    broken = [pod for pod in world.made if pod.sidecar == CRASHES]
    assert not any("finishedAt" in str(agent.state) for pod in broken for agent in pod.agents)
    assert all(pod.is_refused or pod.api["spec"]["activeDeadlineSeconds"] == 1 for pod in broken)
    if recovers:
        assert status["status"] == outcome_of(steps)[0]
        assert condition(status)["reason"] != "SidecarFailed"
        return
    end = condition(status)
    assert (status["status"], end["reason"], status["order"]) == ("Failure", "SidecarFailed", "-1")
    assert end["message"].startswith('sidecar "web" ended before the first step began: exit code 3')
    assert f"kubectl logs {status['podName']} -c web" in end["message"]
    assert {step["state"] for step in status["steps"]} <= {"Cancelled", "Skipped"}
    assert [reason for _, reason in world.events].count("Failed") == 1


@settings(max_examples=60, deadline=None)
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]), KINDS_OF_SIDECAR)
def test_a_sidecar_that_dies_beside_the_steps_is_told_of_and_decides_nothing(steps, choices, handoff, kind):
    sidecar_spec, native = kind
    task = task_of(steps, handoff, sidecars=[sidecar_spec])
    world = World(task, lambda _spec, _pod: [o for o, _ in steps], native, lambda _pod: DIES)
    play(world, choices)
    word, number = outcome_of(steps)
    status = world.status
    assert (status["status"], status["progress"], len(world.made)) == (word, f"{number}/{len(steps)}", 1)
    assert not world.made[0].is_alive
    told = [x for x in status["conditions"] if x["type"] == "SidecarFailed"]
    assert [reason for _, reason in world.events].count("SidecarFailed") == len(told) <= 1
    assert all("web" in x["message"] and "exit code 3" in x["message"] for x in told)


@settings(max_examples=100, deadline=None)
@given(STEPS, CHOICES, st.sampled_from(["Local", "Annotation"]), KINDS_OF_SIDECAR)
@example([("ok", False)], [0, 0, 1, 1, 0, 0, 2], "Local", (make_step("web"), False))
def test_a_sidecar_that_dies_at_any_time_decides_the_task_only_if_no_step_has_begun(steps, choices, handoff, kind):
    sidecar_spec, native = kind
    task = task_of(steps, handoff, sidecars=[sidecar_spec])
    world = World(task, lambda _spec, _pod: [o for o, _ in steps], native, lambda _pod: FRAIL)
    play(world, choices)
    (pod,), status = world.made, world.status
    assert not pod.is_alive
    word, number = outcome_of(steps)
    if condition(status)["reason"] == "SidecarFailed":
        word, number = "Failure", 0
        assert not pod.has_begun
        assert [x["type"] for x in status["conditions"]] == ["Succeeded"]
    else:
        assert pod.has_begun
    assert (status["status"], status["progress"]) == (word, f"{number}/{len(steps)}")


VARIANTS = {
    "plain": ({}, [OK]),
    "fails": ({}, [OK, FAILS]),
    "killed": ({}, [KILLED]),
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
EVENT = st.tuples(
    st.sampled_from([event for event, weight in WEIGHTS.items() for _ in range(weight)]), st.integers(0, 100)
)
# After the verdict, and before the step that waits has read that it shall end.
KILLED_AND_ORDER_TAKEN_OFF = [
    (Life.spec_changes, 1),
    (Life.operator_looks, 0),
    (Life.pods_go_on, 4),
    (Life.operator_looks, 0),
    (Life.order_is_set_by_hand, 0),
]
# Nor has it let its Pod go.
KILLED_AND_ALL_TAKEN_OFF = [*KILLED_AND_ORDER_TAKEN_OFF, (Life.labels_or_owner_go, 0)]
CANCELLED_AND_LABELS_TAKEN_OFF = [
    (Life.operator_looks, 0),
    (Life.control_field_changes, 0),
    (Life.pods_go_on, 0),
    (Life.operator_looks, 0),
    (Life.labels_or_owner_go, 0),
]
# Made, and evicted before that was recorded; then deleted.
EVICTED_AND_DELETED = [
    (Life.operator_looks, 4),
    (Life.pods_go_on, 0),
    (Life.pod_is_lost, 2),
    (Life.operator_looks, 0),
    (Life.control_field_changes, 2),
]
EVENTS = st.integers(0, 50).flatmap(lambda n: st.lists(EVENT, min_size=n, max_size=n))


@settings(max_examples=100, deadline=None)
@given(EVENTS, st.sampled_from(["Local", "Annotation"]), st.sampled_from([0, -3, 3, 3600]), st.booleans())
@example(KILLED_AND_ORDER_TAKEN_OFF, "Local", 0, False)
@example(KILLED_AND_ORDER_TAKEN_OFF, "Annotation", 0, True)
@example(KILLED_AND_ALL_TAKEN_OFF, "Local", 0, True)
@example(CANCELLED_AND_LABELS_TAKEN_OFF, "Local", 0, True)
@example(EVICTED_AND_DELETED, "Local", 0, True)
def test_whatever_happens_to_a_task_it_comes_to_its_end(events, handoff, skew, tracks):
    life = Life(handoff, skew, tracks)
    for event, number in events:
        event(life, number)
        life.check_pods()
    life.check_end()


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


def all_do(world, name):
    for pod in world.pods.values():
        for agent in pod.agents:
            getattr(agent, name)()
        pod.post()


def test_a_pod_that_was_made_before_the_task_was_cancelled_once_more_is_told_to_end():
    world = World(make_task("zeta", "alpha", handoff="Annotation", cancel=True), lambda _spec, _pod: [OK])
    world.round()
    world.change(cancel=False)
    # The operator is killed, or somebody else writes to the Task, before it can record that there is a Pod.
    world.round(tasks=1)
    all_do(world, "start")
    world.change(cancel=True)
    world.settle()
    assert world.status["status"] == "Cancelled"
    assert not any(pod.is_alive for pod in world.pods.values())


def test_a_task_that_cancel_was_too_late_for_keeps_its_pod_and_its_verdict():
    world = World(make_task("zeta"), lambda _spec, _pod: [OK])
    world.round()
    all_do(world, "start")
    world.change(cancel=True)
    world.round()
    (pod,) = world.pods.values()
    assert pod.api["metadata"]["annotations"]["taskorder"] == "-1"
    pod.agents[0].runs_command = True
    pod.agents[0].end("Succeeded", 0, world.now)
    world.settle()
    assert world.status["status"] == "Successful"
    world.change(cancel=False)
    world.settle()
    assert (world.status["status"], list(world.pods.values()), len(world.made)) == ("Successful", [pod], 1)
