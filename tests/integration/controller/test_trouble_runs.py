"""Runs that hang, leave processes behind, eat memory or are killed: the others do not notice, and nothing is left."""

import os
import signal
from collections.abc import Callable

import processes
import pytest
from controller_harness import Controller, until
from memory_limit import little_memory
from trial import PLAY, Trial

Begin = Callable[..., Trial]

MEMORY = 512 << 20
FOREVER = 1000

# One is deaf to the signals by which sessions end, the other has nothing of its run's environment.
DAEMONS = """
    - name: Leave processes behind
      ansible.builtin.shell: |
        exec </dev/null >/dev/null 2>&1
        setsid sh -c 'trap "" HUP TERM INT; echo $$ >>"{{ log }}/daemons"; sleep 1000; :' &
        cd / && env -i setsid sh -c 'echo $$ >>"{{ log }}/daemons"; sleep 1000; :' &
        until test "$(wc -l <"{{ log }}/daemons")" -ge 2; do sleep 0.1; done
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
    one = trial(watch={"runTimeout": "4s"})
    one.create("hangs", sleepSeconds=FOREVER)
    one.create("fine")
    controller = one.start().ready()
    until(lambda: len(controller.logged("run failed")) >= 2, what="two timeouts")
    assert {line["status"] for line in controller.logged("run failed")} == {"timeout"}
    assert one.notes("fine")[-1] == ("end", one.wanted["fine"])
    one.change("hangs", sleepSeconds=0)
    one.converges(controller)
    one.stops_cleanly(controller)


def test_run_that_leaves_daemons(trial: Begin) -> None:
    """They end with the run, and do not keep it from ending."""
    one = trial(play=PLAY + DAEMONS)
    one.create("w0")
    controller = one.start().ready()
    until(lambda: controller.logged("run succeeded"), what="the run's end")
    daemons = [int(line) for line in (one.noted / "daemons").read_text().split()]
    assert len(daemons) >= 2
    until(lambda: not any(processes.alive(pid) for pid in daemons), what="the daemons' end")
    one.stops_cleanly(controller)


def test_killed_processes_of_a_run(trial: Begin) -> None:
    """Whichever is killed, from the topmost to what a module started: nothing of the run stays, and it is made up for.

    Ansible gets over some deaths: that of the shell around a module changes nothing if the module lives.
    """
    one = trial()
    controller = one.start().ready()
    depths = 1
    depth = 0
    while depth < depths:
        name = f"depth{depth}"
        one.create(name, sleepSeconds=FOREVER)
        line = one.under_way(name, controller)
        depths = len(line)
        os.kill(line[depth], signal.SIGKILL)
        one.wake(name)  # Ansible may wait for what is left below the victim
        one.converges(controller)
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


def test_killed_controller(trial: Begin) -> None:
    """Its successor ends what is left of the runs before it begins its own, and forgets what is gone."""
    one = trial()
    for name in ("w0", "w1", "w2", "w3"):
        one.create(name)
    first = one.start("--max-concurrent-reconciles", "2").ready()
    one.converges(first)
    for name in ("w0", "w1"):
        one.change(name, sleepSeconds=FOREVER)
        one.under_way(name, first)
    first.stop(signal.SIGKILL)
    one.change("w1", sleepSeconds=0)
    one.delete("w2")
    one.wake("w0")
    second = one.start("--max-concurrent-reconciles", "2", name=first.runner_dir.name).ready()
    one.converges(second)
    one.stops_cleanly(second)
