"""Simulated clusters whose operator keeps a Task's Pods until their ends are recorded, and what happens in them."""

from __future__ import annotations

from support.tasks.factory import make_step, make_task
from support.tasks.simulation import OK, World

LABELS = {"type": "taskpod", "taskname": "demo"}
RETRY = "api.practice.com/retry"


class Tracking(World):
    """A World whose operator has its Pods stay until their ends are recorded."""

    tracks = True


def world_of(kind=Tracking, outcomes=(OK,), **spec):
    return kind(make_task(make_step(), **spec), lambda _spec, _pod: list(outcomes))


def running(world, rounds=2):
    """Let the operator make the Pod, and its step begin."""
    world.round()
    (pod,) = world.made
    pod.start(pod.agents[0])
    pod.agents[0].runs_command = True
    pod.post()
    for _ in range(rounds):
        world.round()
    return pod


def succeed(world, pod):
    """Let all happen in the Pod that the kubelet will tell of, while nobody looks."""
    pod.start(pod.agents[0])
    pod.agents[0].runs_command = True
    pod.agents[0].end("Succeeded", 0, world.now)
    pod.post()
    pod.post()
    assert pod.api["status"]["phase"] == "Succeeded"


def reasons(world):
    return [reason for _, reason in world.events]
