"""Runs that hang, leave processes behind, eat memory or are killed: the others do not notice, and nothing is left."""

import os
import signal
from collections.abc import Callable, Sequence

import pytest
from support.controller import processes
from support.controller.controller_harness import Controller, until
from support.controller.memory_limit import little_memory
from support.controller.trial import PLAY, Trial

Begin = Callable[..., Trial]

WAYS = pytest.mark.parametrize("way", [(), ("--cold",)], ids=["warm", "cold"])
MEMORY = 512 << 20
FOREVER = 1000

# Deaf to the signals by which sessions end.
DAEMON = """
    - name: Leave a process behind
      ansible.builtin.shell: |
        setsid sh -c 'trap "" HUP TERM INT; echo $$ >"{{ log }}/daemon"; sleep 1000; :' </dev/null >/dev/null 2>&1 &
        until test -s "{{ log }}/daemon"; do sleep 0.1; done
"""
EATERS = """
    - name: Eat memory in a process of its own
      ansible.builtin.command: "{{ ansible_playbook_python }} -c 'print(len(bytes(range(256)) * (8 << 20)))'"
      when: eats == 'command'
    - name: Eat memory in Ansible itself
      ansible.builtin.debug: {msg: "{{ ('x' * (2 ** 31)) | length }}"}
      when: eats == 'template'
"""


def failed(controller: Controller, name: str) -> bool:
    """Whether a run for this resource has failed."""
    return any(line["resource"].endswith(f"/{name}") for line in controller.logged("run failed"))


def test_run_that_hangs(trial: Begin) -> None:
    """It is killed whole when its time is up, and tried again; its neighbours are reconciled meanwhile."""
    one = trial(watch={"runTimeout": "8s"})
    one.create("hangs", sleepSeconds=FOREVER)
    one.create("fine")
    controller = one.start().ready()
    until(lambda: len(controller.logged("run failed")) >= 2, what="two timeouts")
    assert {line["status"] for line in controller.logged("run failed")} == {"timeout"}
    assert one.notes("fine")[-1] == ("end", one.wanted["fine"])
    one.change("hangs", sleepSeconds=0)
    one.converges(controller)
    one.stops_cleanly(controller)


@WAYS
def test_run_that_leaves_a_daemon(trial: Begin, way: Sequence[str]) -> None:
    """It ends with the run, and does not keep it from ending."""
    one = trial(play=PLAY + DAEMON)
    one.create("w0")
    controller = one.start(*way).ready()
    one.converges(controller)
    until(lambda: controller.logged("run succeeded"), what="the run's end")
    daemon = int((one.noted / "daemon").read_text())
    until(lambda: not processes.alive(daemon), what="the daemon's end")
    one.stops_cleanly(controller)


@WAYS
def test_killed_processes_of_a_run(trial: Begin, way: Sequence[str]) -> None:
    """Whichever is killed, from the fork server to what a module started: nothing of the run stays that should not.

    The run goes on without its fork server, and Ansible gets over some deaths: that of the shell around a module
    changes nothing if the module lives. All others are made up for.
    """
    one = trial()
    controller = one.start(*way).ready()
    depth, depths = 0, 1
    while depth < depths:
        name = f"depth{depth}"
        one.create(name, sleepSeconds=FOREVER)
        line = one.under_way(name, controller)
        depths = len(line)
        os.kill(line[depth], signal.SIGKILL)
        one.wake(name)  # Ansible may wait for what is left below the victim
        one.converges(controller.ready())
        depth += 1
    until(lambda: failed(controller, name), what="the failure of a module whose shell was killed")
    one.converges(controller)
    assert sum(failed(controller, f"depth{depth}") for depth in range(depths)) >= 2, "that of Ansible itself, too"
    one.stops_cleanly(controller)


@pytest.mark.parametrize("eater", ["command", "template"])
def test_run_that_eats_memory(trial: Begin, eater: str) -> None:
    """Where memory is short, the run fails, not the controller, and its neighbours are reconciled."""
    one = trial(play=PLAY + EATERS)
    one.create("eats", eats=eater)
    one.create("fine", eats="nothing")
    with little_memory(MEMORY) as confine:
        controller = one.start()
        confine(controller.process.pid)
        controller.ready()
        until(lambda: len(controller.logged("run failed")) >= 2, timeout=90, what="two failures")
        one.change("fine")
        until(lambda: one.notes("fine")[-1:] == [("end", one.wanted["fine"])], what="the neighbour")
        one.change("eats", eats="nothing")
        one.converges(controller)
        assert not failed(controller, "fine")
        one.stops_cleanly(controller)


@WAYS
def test_killed_controller(trial: Begin, way: Sequence[str]) -> None:
    """Its successor ends what is left of the runs before it begins its own, and forgets what is gone."""
    one = trial()
    for name in ("w0", "w1", "w2", "w3"):
        one.create(name)
    first = one.start(*way, "--max-concurrent-reconciles", "2").ready()
    one.converges(first)
    for name in ("w0", "w1"):
        one.change(name, sleepSeconds=FOREVER)
        one.under_way(name, first)
    first.stop(signal.SIGKILL)
    one.change("w1", sleepSeconds=0)
    one.delete("w2")
    one.wake("w0")
    second = one.start(*way, "--max-concurrent-reconciles", "2", name=first.runner_dir.name).ready()
    one.converges(second)
    one.stops_cleanly(second)


def test_controller_killed_while_a_finalizer_runs(trial: Begin) -> None:
    """The resource stays until a finalizer has succeeded; then it goes, with its directory."""
    finalizer = {"name": "example.com/last", "vars": {"word": "final", "sleep_seconds": FOREVER}}
    one = trial(watch={"finalizer": finalizer})
    one.create("w0")
    first = one.start().ready()
    one.converges(first)
    number = one.wanted["w0"]
    one.delete("w0")
    until(lambda: one.notes("w0")[-1] == ("begin", number) and len(one.notes("w0")) == 3, what="a finalizer's run")
    first.stop(signal.SIGKILL)
    one.wake("w0")
    second = one.start(name=first.runner_dir.name).ready()
    one.converges(second)
    assert one.notes("w0")[-1] == ("final", number)
    one.stops_cleanly(second)
