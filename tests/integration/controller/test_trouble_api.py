"""Trouble between the controller and the API server: afterwards everything is as if there had been none."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from kubernetes.client.exceptions import ApiException
from support.controller import processes
from support.controller.controller_harness import Controller, until
from support.controller.trial import Trial

Begin = Callable[..., Trial]
ROUNDS = 6
CUT_SECONDS = 60
LOST_LEASE = 1


def started(trial: Trial, *flags: str) -> Controller:
    """Return a controller that is ready and has reconciled some resources."""
    for number in range(4):
        trial.create(f"w{number}")
    controller = trial.start(*flags).ready()
    trial.converges(controller)
    return controller


def test_connections_reset_again_and_again(trial: Begin) -> None:
    """Changes before, during and after each reset arrive, and nothing grows from round to round."""
    one = trial()
    controller = started(one)
    relay = one.relay(controller)
    measured = []
    for _ in range(ROUNDS):
        assert relay.reset_all() > 0, "nothing was connected"
        one.upheaval()
        relay.reset_all()
        relay.cut()  # shorter than anything that would notice: TCP itself gets over it
        one.upheaval()
        time.sleep(1)
        relay.restore()
        one.converges(controller)
        measured.append(processes.usage(controller.process.pid))
    early, late = measured[1], measured[-1]
    assert late.memory <= early.memory * 1.25, measured
    assert late.descriptors <= early.descriptors + 5, measured
    assert late.threads <= early.threads + 3, measured
    assert late.processes <= early.processes, measured


def test_changes_that_the_api_server_has_forgotten(trial: Begin) -> None:
    """After a gap the controller asks to watch from a version that is compacted: it gets 410, and lists anew."""
    one = trial(watch={"watchDependents": [{"version": "v1", "kind": "ConfigMap", "fields": ["data.word"]}]})
    owners = ("x-changes", "x-creates", "x-deletes", "x-keeps")
    for name in owners:
        one.create(name)
    controller = started(one)
    for name in ("x-changes", "x-deletes", "x-keeps"):
        one.own(name, word="old")
    until(lambda: all(len(one.notes(name)) == 4 for name in owners if name != "x-creates"), what="runs for ConfigMaps")
    one.converges(controller)
    known = {name: len(one.notes(name)) for name in owners}
    one.relay(controller).cut()
    one.upheaval()
    one.own("x-changes", word="new")
    one.own("x-creates", word="new")
    one.disown("x-deletes")
    one.own("x-keeps", word="old", other="new")
    one.plane.compact()
    one.plane.restart_api()  # its memory of the latest events goes, too
    one.upheaval()
    one.plane.compact()
    one.relay(controller).restore()
    one.converges(controller)
    until(lambda: all(len(one.notes(name)) == known[name] + 2 for name in owners[:3]), what="one run each")
    one.converges(controller)
    assert len(one.notes("x-keeps")) == known["x-keeps"], "what matters of its ConfigMap has not changed"
    assert [line for line in controller.logged("watch of ") if "too old" in line["msg"]], controller.tail()


def test_api_server_killed(trial: Begin) -> None:
    """Runs go on without it; what is changed as soon as it is back is seen."""
    one = trial()
    controller = started(one)
    one.change("w0", sleepSeconds=6)
    until(lambda: one.notes("w0")[-1] == ("begin", one.wanted["w0"]), what="a run under way")
    one.plane.restart_api(down=4)
    one.upheaval()
    one.converges(controller)
    for _ in range(2):  # and not once it has been back for long
        one.plane.restart_api()
        one.upheaval()
    one.converges(controller)
    assert controller.probe("/readyz") == 200
    assert controller.logged("cannot watch") and controller.logged("can watch")


def write_until(trial: Trial, name: str, done: threading.Event) -> int:
    """Write to a resource's metadata and status until told to stop, or it is gone; return the last number written."""
    number = 0
    try:
        while not done.wait(0.02):
            number += 1
            trial.crd.patch_metadata(trial.namespace, name, annotations={"seen": str(number)})
            trial.crd.patch_status(trial.namespace, name, seen=number)
    except ApiException as exc:
        assert exc.status == 404
    return number


def test_others_write_at_the_same_time(trial: Begin) -> None:
    """Conflicts on the status and on the object: neither the controller's writes get lost, nor those of others."""
    one = trial(watch={"finalizer": {"name": "example.com/last", "vars": {"word": "final"}}})
    controller = started(one)
    before = one.plane.conflicts(one.crd.plural)
    done = threading.Event()
    with ThreadPoolExecutor() as pool:
        try:
            writers = {name: pool.submit(write_until, one, name, done) for name in one.wanted}
            for _ in range(3):
                for name in one.wanted:
                    one.change(name)
                one.converges(controller)
            one.delete("w3")
            until(lambda: one.crd.get(one.namespace, "w3") is None, timeout=90, what="the end of w3")
        finally:
            done.set()
    assert [word for word, _ in one.notes("w3")].count("final") == 1
    one.converges(controller)
    for name in one.wanted:
        obj, written = one.crd.get(one.namespace, name), writers[name].result()
        assert obj and (obj["status"]["seen"], obj["metadata"]["annotations"]["seen"]) == (written, str(written))
    assert one.plane.conflicts(one.crd.plural) > before, "there was no conflict"


def test_etcd_stands_still_then_is_slow(trial: Begin) -> None:
    """Requests hang until they are given up; the controller lives, and a new one waits for its first list."""
    one, other = trial(), trial()
    controller = started(one)
    one.change("w0", sleepSeconds=3)
    until(lambda: one.notes("w0")[-1] == ("begin", one.wanted["w0"]), what="a run under way")
    other.create("w0")
    with one.plane.etcd_paused():
        one.relay(controller).reset_all()
        newcomer = other.start()
        until(lambda: newcomer.logged("cannot watch"), timeout=90, what="a list that is given up")
        assert newcomer.probe("/readyz") == 503
        assert controller.probe("/healthz") == newcomer.probe("/healthz") == 200
    one.plane.ready()
    one.upheaval()
    one.converges(controller)
    other.converges(newcomer.ready())
    with one.plane.etcd_slow():
        one.upheaval()
        one.converges(controller)


def test_network_cut_for_a_minute(trial: Begin) -> None:
    """Packets get lost, both ways; a leader gives up its lease meanwhile, and says so by its exit."""
    one, led, forgotten = trial(), trial(), trial()
    controller = started(one)
    leader = started(led, "--leader-elect", "--leader-election-namespace", led.namespace)
    other = started(forgotten)
    one.change("w0", sleepSeconds=20)
    until(lambda: one.notes("w0")[-1] == ("begin", one.wanted["w0"]), what="a run under way")
    one.relay(controller).cut()
    led.relay(leader).cut()
    assert forgotten.relay(other).abandon() > 0
    restored = time.monotonic() + CUT_SECONDS
    for each in (one, led, forgotten):
        each.upheaval()
    assert leader.process.wait(CUT_SECONDS) == LOST_LEASE
    time.sleep(max(restored - time.monotonic(), 0))
    one.upheaval()
    one.relay(controller).restore()
    led.relay(leader).restore()
    successor = led.start("--leader-elect", "--leader-election-namespace", led.namespace)
    one.converges(controller)
    led.converges(successor)
    forgotten.converges(other)
