"""The work queue: never two workers with one key, nothing lost, limits and back-off kept."""

import threading
import time
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow_controller.work_queue import MAX_DELAY, WorkQueue


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def take(queue: WorkQueue[str]) -> tuple[str, str]:
    item = queue.get()
    assert item is not None
    return item.key, item.reasons


def test_coalesces_and_joins_reasons() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for reason in ("one", "two", "one"):
        queue.add("a", reason)
    assert len(queue) == 1
    assert take(queue) == ("a", "one; two")


def test_reasons_are_bounded() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for number in range(1000):
        queue.add("a", f"r{number}")
    assert take(queue)[1] == "r0; r1; r2; r3; r4; and 995 more"


def test_added_while_worked_on_comes_once_more_after_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", "one")
    take(queue)
    queue.add("a", "two")
    queue.add("a", "three")
    assert len(queue) == 0 and queue.working() == 1
    queue.done("a")
    assert take(queue) == ("a", "two; three")
    queue.done("a")
    assert len(queue) == 0


def test_back_off_doubles_up_to_the_limit_and_forget_resets() -> None:
    queue: WorkQueue[str] = WorkQueue(clock=Clock())
    assert [queue.add_rate_limited("a", "r") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    assert queue.add_rate_limited("b", "r") == 0.005
    for _ in range(100):
        delay = queue.add_rate_limited("a", "r")
    assert delay == MAX_DELAY
    queue.forget("a")
    assert queue.failures("a") == 0 and queue.add_rate_limited("a", "r") == 0.005


def test_earliest_delay_counts_and_cancel_drops_it() -> None:
    clock = Clock()
    queue: WorkQueue[str] = WorkQueue(clock=clock)
    queue.add_after("a", 10, "late")
    queue.add_after("a", 5, "early")
    queue.add_after("a", 7, "between")
    queue.add_after("b", 6, "cancelled")
    queue.cancel_delayed("b")
    clock.now = 5.5
    assert take(queue) == ("a", "early")
    queue.done("a")
    clock.now = 100
    queue.add("c", "now")
    assert take(queue)[0] == "c"
    assert len(queue) == 0


def test_delayed_key_wakes_a_waiting_worker() -> None:
    queue: WorkQueue[str] = WorkQueue()
    began = time.monotonic()
    queue.add_after("b", 60, "much later")
    threading.Timer(0.02, lambda: queue.add_after("a", 0.05, "soon")).start()
    assert take(queue) == ("a", "soon")
    assert 0.05 <= time.monotonic() - began < 5


def test_group_limit_lets_other_groups_pass() -> None:
    queue: WorkQueue[str] = WorkQueue(group_of=lambda key: key[0], limits={"a": 1})
    for key in ("a1", "a2", "b1", "b2"):
        queue.add(key, "r")
    assert [take(queue)[0] for _ in range(3)] == ["a1", "b1", "b2"]
    queue.done("a1")
    assert take(queue)[0] == "a2"


def test_shut_down_frees_workers_and_drain_waits_for_work() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", "r")
    queue.add("b", "r")
    take(queue)
    waiting = threading.Thread(target=lambda: WorkQueue.get(empty))
    empty: WorkQueue[str] = WorkQueue()
    waiting.start()
    empty.shut_down()
    waiting.join(5)
    assert not waiting.is_alive()
    queue.shut_down()
    assert queue.get() is None
    assert not queue.drain(0.02)
    threading.Timer(0.02, lambda: queue.done("a")).start()
    assert queue.drain(5)
    queue.add("c", "r")
    assert len(queue) == 1  # only b, never handed out


actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4)),
        st.tuples(st.just("after"), st.integers(0, 4), st.floats(0.1, 20)),
        st.tuples(st.just("get")),
        st.tuples(st.just("done"), st.integers(0, 4)),
        st.tuples(st.just("tick"), st.floats(0.1, 20)),
    ),
    max_size=60,
)


class Model:
    """What the queue owes: keys to hand out now, keys due later, keys that are out."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue: WorkQueue[int] = WorkQueue(group_of=lambda key: key % 2, limits={0: 2}, clock=self.clock)
        self.owed: set[int] = set()
        self.due: dict[int, float] = {}
        self.out: set[int] = set()

    def add(self, key: int) -> None:
        self.queue.add(key, "r")
        self.owed.add(key)

    def after(self, key: int, delay: float) -> None:
        self.queue.add_after(key, delay, "r")
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + delay)

    def get(self) -> bool:
        """Take a key if there must be one; return whether there was."""
        ripe = {key for key, when in self.due.items() if when <= self.clock.now}
        self.owed |= ripe
        self.due = {key: when for key, when in self.due.items() if key not in ripe}
        room = len([key for key in self.out if key % 2 == 0]) < 2
        available = {key for key in self.owed - self.out if key % 2 or room}
        if not available:
            return False
        item = self.queue.get()
        assert item is not None and item.key in available and item.reasons
        self.owed.discard(item.key)
        self.out.add(item.key)
        return True

    def done(self, key: int) -> None:
        if key in self.out:
            self.queue.done(key)
            self.out.discard(key)

    def tick(self, seconds: float) -> None:
        self.clock.now += seconds


@settings(max_examples=150, deadline=None)
@given(actions)
def test_against_a_model(steps: list[tuple]) -> None:
    """A key is never out twice, and each add is followed by a hand-out of its key."""
    model = Model()
    for action, *values in steps:
        getattr(model, action)(*values)
    model.tick(100)
    while model.get() or model.out:
        for key in list(model.out):
            model.done(key)
    assert not model.owed and not model.due and len(model.queue) == 0


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=50, max_size=300), st.integers(2, 6))
def test_threads_never_share_a_key_and_lose_nothing(keys: list[int], workers: int) -> None:
    queue: WorkQueue[int] = WorkQueue(group_of=lambda key: key % 2, limits={0: 1})
    lock = threading.Lock()
    busy: Counter[int] = Counter()
    wanted: Counter[int] = Counter()
    seen: dict[int, int] = {}
    problems: list[str] = []

    def work() -> None:
        while (item := queue.get()) is not None:
            with lock:
                busy[item.key] += 1
                if busy[item.key] > 1 or sum(busy[key] for key in (0, 2, 4)) > 1:
                    problems.append(f"{item.key} overlaps: {busy}")
                seen[item.key] = wanted[item.key]  # what a run sees: the state when it starts
            time.sleep(0.0002)
            with lock:
                busy[item.key] -= 1
            queue.done(item.key)

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for key in keys:
        with lock:
            wanted[key] += 1
        queue.add(key, "r")
    deadline = time.monotonic() + 10
    while (len(queue) or queue.working()) and time.monotonic() < deadline:
        time.sleep(0.001)
    queue.shut_down()
    for thread in threads:
        thread.join(5)
    assert not problems
    assert seen == dict(wanted)
