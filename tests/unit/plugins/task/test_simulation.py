"""Whole runs in a simulated cluster, whatever happens in whichever order."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.tasks.factory import condition, make_step, make_task
from support.tasks.simulation import CRASHES, DIES, FAILS, FRAIL, KILLED, OK, RUNS, World

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
