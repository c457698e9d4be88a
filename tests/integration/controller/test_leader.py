"""Two replicas: one works at a time, whatever happens to it, and no resource is run twice at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from kubernetes import client
from support.controller import processes
from support.controller.controller_harness import GROUP, VERSION, Controller, until
from support.controller.trial import Trial

FLAGS = (
    "--leader-elect",
    "--leader-election-id=try",
    "--leader-elect-lease-duration=10s",
    "--leader-elect-renew-deadline=7s",
)
LONG = 120  # seconds that a run takes which is not to reach its end


PATIENT_PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.shell: |
        echo "begin {{ number }}" >>"{{ log }}/a"
        until [ -e "{{ log }}/go" ]; do sleep 0.1; done
        echo "end {{ number }}" >>"{{ log }}/a"
"""


def pair(trial: Trial, *flags: str) -> tuple[Controller, Controller]:
    """Start a leader and a standby."""
    flags = (*FLAGS, f"--leader-election-namespace={trial.namespace}", *flags)
    first = trial.start(*flags).ready()
    until(lambda: leads(first), what="leadership")
    second = trial.start(*flags).ready()
    return first, second


def leads(controller: Controller) -> bool:
    return controller.metrics().get('leader_election_master_status{name="try"}') == 1


def failure(trial: Trial, name: str) -> dict[str, Any]:
    """Return a resource's condition Failure."""
    objects = client.CustomObjectsApi(trial.plane.api)
    found = objects.get_namespaced_custom_object(GROUP, VERSION, trial.namespace, trial.crd.plural, name)
    return next(one for one in found["status"]["conditions"] if one["type"] == "Failure")


def begun(trial: Trial, name: str) -> None:
    """Wait for a run of a resource to have begun."""
    until(lambda: trial.notes(name), what=f"a run for {name}")


def left(trial: Trial, replica: Controller) -> dict[int, str]:
    """The processes that are of no use to this replica: what another has left."""
    found = trial.processes()
    return {pid: command for pid, command in found.items() if pid not in processes.family(replica.process.pid)}


def test_leader_is_killed(trial: Callable[..., Trial]) -> None:
    """Its runs die with it; the other takes over when the lease has ended, and does anew what was under way."""
    one = trial()
    first, second = pair(one)
    one.create("a")
    one.converges(first)
    assert not leads(second) and not second.logged("run started")
    one.create("b", sleepSeconds=LONG)
    begun(one, "b")
    first.process.kill()
    first.process.wait()
    until(lambda: not left(one, second), what="the end of its runs")
    one.change("b", sleepSeconds=0)
    until(lambda: leads(second), what="take-over")
    one.converges(second)


def test_leader_is_cut_off(trial: Callable[..., Trial]) -> None:
    """It kills its runs before the other may take over, and ends."""
    one = trial()
    first, second = pair(one, "--leader-elect-lease-duration=30s")  # a slow machine needs seconds for the kill
    one.create("a", sleepSeconds=LONG)
    begun(one, "a")
    one.relay(first).cut()
    one.change("a", sleepSeconds=0)
    assert first.process.wait(90) == 1
    assert not leads(second), "the leader has ended before the lease has"
    assert first.logged("lease") and first.logged("run cancelled")
    until(lambda: not left(one, second), what="the end of its runs")
    one.relay(first).restore()
    one.converges(second)
    assert [note for note in one.notes("a") if note[0] == "end"] == [("end", one.wanted["a"])]


def test_leader_is_frozen(trial: Callable[..., Trial]) -> None:
    """When it wakes up, the other leads: it begins nothing more, kills its runs and ends."""
    one = trial()
    first, second = pair(one)
    one.create("a", sleepSeconds=LONG)
    begun(one, "a")
    frozen = processes.family(first.process.pid)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    one.change("a", sleepSeconds=0)
    one.create("b")
    ends = [("end", one.wanted["a"])]
    until(lambda: one.notes("a")[-1:] == ends, timeout=60, what="the work of the new leader")
    assert leads(second)
    for pid in reversed(frozen):
        os.kill(pid, signal.SIGCONT)
    assert first.process.wait(60) == 1
    assert first.logged("lease") and first.logged("run cancelled")
    until(lambda: not left(one, second), what="the end of its runs")
    assert len(first.logged("run started")) == 1, "it began nothing after it woke up"
    assert [note for note in one.notes("a") if note[0] == "end"] == ends


def test_leader_is_stopped(trial: Callable[..., Trial]) -> None:
    """It finishes what it does, and the other takes over at once, long before the lease would have ended."""
    one = trial()
    first, second = pair(one, "--leader-elect-lease-duration=2m")
    one.create("a", sleepSeconds=3)
    begun(one, "a")
    assert first.stop() == 0
    assert one.notes("a") == [("begin", 1), ("end", 1)]
    until(lambda: leads(second), timeout=30, what="take-over")
    one.change("a", sleepSeconds=0)
    one.converges(second)


def test_cut_run_is_done_by_the_next_leader(trial: Callable[..., Trial]) -> None:
    """What takes longer than the leader may take to end is killed, says so, and is done by the next one."""
    one = trial(play=PATIENT_PLAY, watch={"manageStatus": True})
    first, second = pair(one, "--graceful-shutdown-timeout=1s")
    one.create("a")
    begun(one, "a")
    second.process.send_signal(signal.SIGSTOP)  # lest it be quicker than the look at the status
    assert first.stop() == 0
    until(lambda: not left(one, second), what="the end of its runs")
    assert "cut short" in failure(one, "a")["message"]
    (one.noted / "go").touch()
    second.process.send_signal(signal.SIGCONT)
    until(lambda: failure(one, "a")["status"] == "False", timeout=60, what="success")
    assert one.notes("a") == [("begin", 1), ("begin", 1), ("end", 1)]


def test_standby_is_stopped(trial: Callable[..., Trial]) -> None:
    """It leaves the lease alone."""
    one = trial()
    first, second = pair(one)
    assert second.stop() == 0
    assert not second.logged("lease") and leads(first)
    one.create("a")
    one.converges(first)
