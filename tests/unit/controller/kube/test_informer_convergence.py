"""Whatever an API server does to lists and watches, the store ends as the server is, and the changes fit together."""

import random
import threading
import time
from typing import Any

import pytest
import urllib3
from support.api.fake_cluster import FakeCluster, gone, line, refusal
from support.api.proxy_harness import until

from taskflow_controller.kube import reflector
from taskflow_controller.kube.informers import Change, for_namespaces
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
NAMESPACES = ("a", "b")
STEPS = 400


class Trouble:
    """Does something bad to requests and open streams, now and then."""

    def __init__(self, cluster: FakeCluster, dice: random.Random) -> None:
        self.cluster, self.dice, self.lock, self.active = cluster, dice, threading.Lock(), True

    def before(self, verb: str, path: str, query: dict[str, Any]) -> None:
        with self.lock:
            number = self.dice.random()
        if not self.active or number > 0.35:
            return
        if number < 0.05:
            time.sleep(0.003)
            return
        problems: list[Exception] = [
            refusal(429, Retry_After="1"),
            refusal(500),
            refusal(504),
            gone(),
            refusal(404),
            urllib3.exceptions.ProtocolError("cut"),
            ValueError("no JSON"),
        ]
        raise problems[int(number * 100) % len(problems)]

    def break_a_stream(self) -> None:
        stream = self.cluster.streams[-1 - self.dice.randrange(min(2, len(self.cluster.streams)))]
        event = line("ADDED", {"metadata": {"resourceVersion": "1"}})
        self.dice.choice(
            [
                stream.end,
                lambda: stream.send(urllib3.exceptions.ReadTimeoutError(None, "", "silence")),  # type: ignore[arg-type]
                lambda: stream.send(OSError("reset")),
                lambda: stream.send(event[:20]),
                lambda: stream.send(event[:20], b"\n"),
                lambda: stream.send(line("ERROR", {"code": 410, "reason": "Expired"})),
                lambda: stream.send(line("ERROR", {"code": 500})),
                self._compact,
            ]
        )()

    def _compact(self) -> None:
        """Forget the past while no watch is looking."""
        with self.cluster.changed:
            for stream in self.cluster.streams:
                stream.interrupted = True
            self.cluster.compacted = self.cluster.version
            self.cluster.changed.notify_all()


class World:
    """What a handler of the changes has learnt; it refuses a change that does not fit to what it has been told."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Object] = {}
        self.problems: list[str] = []
        self.lock = threading.Lock()

    def learn(self, change: Change) -> None:
        key = namespace_and_name(change.new or change.old or {})
        with self.lock:
            known = self.objects.get(key)
            if change.new is None:
                last = self.objects.pop(key, None)
                fits = last is not None and change.old is not None and uid(last) == uid(change.old)
            else:
                self.objects[key] = change.new
                fits = change.old == known and (known is None or self._goes_on(known, change.new))
            if not fits:
                self.problems.append(f"{known} and then {change}")

    @staticmethod
    def _goes_on(old: Object, new: Object) -> bool:
        return uid(old) == uid(new) and version(old) < version(new)


def uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


@pytest.mark.parametrize("seed", range(6))
def test_the_store_converges(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "MIN_WATCH_INTERVAL", 0.0)
    monkeypatch.setattr(reflector, "pause_after", lambda exc, failures, listing: 0.001)
    dice, cluster, world = random.Random(seed), FakeCluster(page_size=3), World()
    trouble = Trouble(cluster, random.Random(-seed))
    cluster.before = trouble.before
    namespaces = NAMESPACES if seed % 2 else ()
    kind = for_namespaces(cluster, WIDGET, namespaces, on_change=world.learn)  # type: ignore[arg-type]
    for informer in kind.informers:
        informer.start()
    for step in range(STEPS):
        change_something(cluster, dice, step)
        if dice.random() < 0.2 and cluster.streams:
            trouble.break_a_stream()
        if dice.random() < 0.3:
            time.sleep(0.002)
    trouble.active = False
    cluster.bookmark("Widget")
    there = {key[1:]: obj for key, obj in cluster.objects.items()}
    until(lambda: all(informer.version == cluster.version for informer in kind.informers))
    assert {name: kind.store.get(*name) for name in kind.store.names()} == there == world.objects
    assert not world.problems and len(cluster.paths("list")) > 2 and len(cluster.streams) > 2
    for informer in kind.informers:
        informer.stop()
    until(lambda: not any(informer.alive for informer in kind.informers))


def change_something(cluster: FakeCluster, dice: random.Random, step: int) -> None:
    """Create, change, delete or replace an object, or have the watches come to another version."""
    key = dice.choice(NAMESPACES), f"w{dice.randrange(8)}"
    known = cluster.objects.get(("widgets", *key))
    metadata = {"namespace": key[0], "name": key[1], "uid": uid(known) if known else f"uid {step}"}
    obj = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "data": f"ä {step}"}
    choice = dice.random()
    if choice < 0.05:
        cluster.bookmark("Widget")
    elif known and choice < 0.35:
        cluster.delete(obj)
        if choice < 0.2:
            cluster.put({**obj, "metadata": {**metadata, "uid": f"uid {step}"}})
    else:
        cluster.put(obj)


def test_a_problem_would_be_seen() -> None:
    """The handler above tells changes that fit from others."""
    one = {"metadata": {"name": "w", "uid": "u", "resourceVersion": "1"}}
    two = {"metadata": {"name": "w", "uid": "u", "resourceVersion": "2"}}
    for wrong in ((None, one), (None, two)), ((one, two),), ((None, two), (two, one)), ((one, None),):
        world = World()
        for old, new in wrong:
            world.learn(Change(WIDGET, old, new))
        assert world.problems
