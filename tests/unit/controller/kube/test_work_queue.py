"""The work queue: never two workers with one key, nothing lost, limits and back-off kept."""

import threading
import time
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from taskflow_controller.kube.work_queue import MAX_DELAY, WorkQueue


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def take(queue: WorkQueue[str, str]) -> tuple[str, str]:
    items = queue.get()
    assert items is not None
    (item,) = items
    return item.key, "; ".join(item.reasons) + (f"; and {item.more} more" if item.more else "")


def take_keys(queue: WorkQueue[str, str]) -> list[str]:
    items = queue.get()
    assert items is not None
    return [item.key for item in items]


def test_coalesces_and_joins_reasons() -> None:
    queue: WorkQueue[str, str] = WorkQueue()
    for reason in ("one", "two", "one"):
        queue.add("a", reason)
    assert len(queue) == 1
    assert take(queue) == ("a", "one; two")


def test_reasons_are_bounded() -> None:
    queue: WorkQueue[str, str] = WorkQueue()
    for number in range(1000):
        queue.add("a", f"r{number}")
    assert take(queue)[1] == "r0; r1; r2; r3; r4; and 995 more"


def test_added_while_worked_on_comes_once_more_after_done() -> None:
    queue: WorkQueue[str, str] = WorkQueue()
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
    queue: WorkQueue[str, str] = WorkQueue(clock=Clock())
    assert [queue.add_rate_limited("a", "r") for _ in range(4)] == [0.005, 0.01, 0.02, 0.04]
    assert queue.add_rate_limited("b", "r") == 0.005
    for _ in range(100):
        delay = queue.add_rate_limited("a", "r")
    assert delay == MAX_DELAY
    queue.forget("a")
    assert queue.failures("a") == 0 and queue.add_rate_limited("a", "r") == 0.005


def test_earliest_delay_counts_and_cancel_drops_it() -> None:
    clock = Clock()
    queue: WorkQueue[str, str] = WorkQueue(clock=clock)
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
    queue: WorkQueue[str, str] = WorkQueue()
    began = time.monotonic()
    queue.add_after("b", 60, "much later")
    threading.Timer(0.02, lambda: queue.add_after("a", 0.05, "soon")).start()
    assert take(queue) == ("a", "soon")
    assert 0.05 <= time.monotonic() - began < 60, "it waited for the later one"


def test_group_limit_lets_other_groups_pass() -> None:
    queue: WorkQueue[str, str] = WorkQueue(group_of=lambda key: key[0], limits={"a": 1})
    for key in ("a1", "a2", "b1", "b2"):
        queue.add(key, "r")
    assert [take(queue)[0] for _ in range(3)] == ["a1", "b1", "b2"]
    queue.done("a1")
    assert take(queue)[0] == "a2"


def test_shut_down_frees_workers_and_drain_waits_for_work() -> None:
    queue: WorkQueue[str, str] = WorkQueue()
    queue.add("a", "r")
    queue.add("b", "r")
    take(queue)
    waiting = threading.Thread(target=lambda: WorkQueue.get(empty))
    empty: WorkQueue[str, str] = WorkQueue()
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


def batching(*keys: str, size: int = 3) -> WorkQueue[str, str]:
    queue: WorkQueue[str, str] = WorkQueue(group_of=lambda key: key[0], limits={"a": 2}, batches={"a": size})
    for key in keys:
        queue.add(key, f"why {key}")
    return queue


def test_a_batch_is_of_one_group_and_has_each_key_s_reasons() -> None:
    queue = batching("a1", "b1", "a2", "a3", "a4")
    queue.add("a2", "more")
    items = queue.get()
    assert items is not None
    assert [(item.key, item.reasons) for item in items] == [
        ("a1", ("why a1",)),
        ("a2", ("why a2", "more")),
        ("a3", ("why a3",)),
    ]
    assert take_keys(queue) == ["b1"] and take_keys(queue) == ["a4"]


def test_a_batch_is_not_waited_for() -> None:
    assert take_keys(batching("a1", size=50)) == ["a1"]


def test_a_key_that_failed_goes_alone_until_it_succeeds() -> None:
    queue = batching()
    for key in ("a1", "a2"):
        queue.add_rate_limited(key, "failed")
        queue.add(key, "an event")
    for key in ("a3", "a4", "a5", "a6"):
        queue.add(key, "new")
    assert take_keys(queue) == ["a1"] and take_keys(queue) == ["a2"]
    queue.done("a1")
    assert take_keys(queue) == ["a3", "a4", "a5"]
    queue.forget("a1")
    queue.add("a1", "again")
    queue.done("a2")
    assert take_keys(queue) == ["a6", "a1"]


def test_a_key_that_failed_is_not_taken_along() -> None:
    queue = batching("a1", "a2")
    queue.add_rate_limited("a2", "failed")
    assert take_keys(queue) == ["a1"] and take_keys(queue) == ["a2"]


def test_the_limit_is_of_batches_and_done_is_for_all_of_one() -> None:
    queue = batching(*(f"a{number}" for number in range(9)))
    assert len(take_keys(queue)) == len(take_keys(queue)) == 3
    queue.add("b1", "new")
    assert take_keys(queue) == ["b1"], "two runs are the limit of a"
    queue.add("a0", "again")
    assert queue.state()["a"].workers == 2 and len(queue.state()["a"].running) == 6
    queue.done("a0", "a1", "a2")
    assert queue.state()["a"].workers == 1 and len(queue.state()["a"].running) == 3
    assert take_keys(queue) == ["a6", "a7", "a8"]
    queue.done("a3", "a4", "a5")
    assert take_keys(queue) == ["a0"], "added while it was worked on"


def test_the_oldest_key_is_served_first_whatever_its_group() -> None:
    queue = batching("b1", "a1", "a2", "a3", "c1", "a4", "a5")
    assert [take_keys(queue)[0] for _ in range(3)] == ["b1", "a1", "c1"]


def test_cancelled_waits_are_not_kept() -> None:
    queue: WorkQueue[str, str] = WorkQueue(clock=Clock())
    queue.add_after("b", 9999, "later")
    for _ in range(1000):
        queue.add_after("a", 36000, "period")
        queue.cancel_delayed("a")
    assert len(queue._due) < 200
    queue.add_after("c", 0, "now")
    assert take(queue) == ("c", "now")


def test_a_wait_of_centuries() -> None:
    queue: WorkQueue[str, str] = WorkQueue()
    queue.add_after("a", 9e9, "much later")
    threading.Timer(0.05, lambda: queue.add("b", "now")).start()
    assert take(queue) == ("b", "now")


KEYS = 8
actions = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, KEYS)),
        st.tuples(st.just("after"), st.integers(0, KEYS), st.floats(0.1, 20)),
        st.tuples(st.just("fail"), st.integers(0, KEYS)),
        st.tuples(st.just("forget"), st.integers(0, KEYS)),
        st.tuples(st.just("get")),
        st.tuples(st.just("done"), st.integers(0, KEYS)),
        st.tuples(st.just("tick"), st.floats(0.1, 20)),
    ),
    max_size=80,
)


class Model:
    """What the queue owes: keys to hand out now, keys due later, keys that are out, together as they were taken."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.queue: WorkQueue[int, str] = WorkQueue(
            group_of=lambda key: key % 2, limits={0: 2}, clock=self.clock, batches={1: 3}
        )
        self.owed: list[int] = []  # in the order in which they came
        self.due: dict[int, float] = {}
        self.out: list[list[int]] = []
        self.failed: set[int] = set()

    def add(self, key: int) -> None:
        self.queue.add(key, "r")
        self._owe(key)

    def after(self, key: int, delay: float) -> None:
        self.queue.add_after(key, delay, "r")
        self._due(key, delay)

    def fail(self, key: int) -> None:
        self._due(key, self.queue.add_rate_limited(key, "r"))
        self.failed.add(key)

    def forget(self, key: int) -> None:
        self.queue.forget(key)
        self.failed.discard(key)

    def get(self) -> bool:
        """Take keys if there must be some; return whether there were."""
        for key in sorted((key for key, when in self.due.items() if when <= self.clock.now), key=self.due.__getitem__):
            del self.due[key]
            self._owe(key)
        busy = {key for keys in self.out for key in keys}
        room = len([keys for keys in self.out if keys[0] % 2 == 0]) < 2
        available = [key for key in self.owed if key not in busy and (key % 2 or room)]
        if not available:
            return False
        items = self.queue.get()
        assert items is not None and all(item.reasons for item in items)
        keys = [item.key for item in items]
        assert set(keys) <= set(available) and len(set(keys)) == len(keys)
        assert len({key % 2 for key in keys}) == 1
        if len(keys) > 1:
            assert len(keys) <= 3 and keys[0] % 2 == 1 and not self.failed.intersection(keys)
        elif keys[0] % 2 and keys[0] not in self.failed:
            others = [key for key in available if key % 2 and key not in self.failed]
            assert others == keys, "as many as may go together go together"
        self.owed = [key for key in self.owed if key not in keys]
        self.out.append(keys)
        return True

    def done(self, key: int) -> None:
        for keys in [keys for keys in self.out if key in keys]:
            self.queue.done(*keys)
            self.out.remove(keys)

    def tick(self, seconds: float) -> None:
        self.clock.now += seconds

    def _owe(self, key: int) -> None:
        if key not in self.owed:
            self.owed.append(key)

    def _due(self, key: int, delay: float) -> None:
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + delay)


@settings(max_examples=200, deadline=None)
@given(actions)
def test_against_a_model(steps: list[tuple]) -> None:
    """A key is never out twice, each add is followed by a hand-out of its key, and batches keep to their rules."""
    model = Model()
    for action, *values in steps:
        getattr(model, action)(*values)
    model.tick(2000)
    while model.get() or model.out:
        for key in [keys[0] for keys in model.out]:
            model.done(key)
    assert not model.owed and not model.due and len(model.queue) == 0


@settings(max_examples=5, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=50, max_size=300), st.integers(2, 6))
def test_threads_never_share_a_key_and_lose_nothing(keys: list[int], workers: int) -> None:
    queue: WorkQueue[int, str] = WorkQueue(group_of=lambda key: key % 2, limits={0: 1}, batches={1: 2})
    lock = threading.Lock()
    busy: Counter[int] = Counter()
    wanted: Counter[int] = Counter()
    seen: dict[int, int] = {}
    problems: list[str] = []

    def work() -> None:
        while (items := queue.get()) is not None:
            with lock:
                for item in items:
                    busy[item.key] += 1
                    if busy[item.key] > 1 or sum(busy[key] for key in (0, 2, 4)) > 1:
                        problems.append(f"{item.key} overlaps: {busy}")
                    seen[item.key] = wanted[item.key]  # what a run sees: the state when it starts
            time.sleep(0.0002)
            with lock:
                for item in items:
                    busy[item.key] -= 1
            queue.done(*(item.key for item in items))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for key in keys:
        with lock:
            wanted[key] += 1
        queue.add(key, "r")
    deadline = time.monotonic() + 60
    while (len(queue) or queue.working()) and time.monotonic() < deadline:
        time.sleep(0.001)
    queue.shut_down()
    for thread in threads:
        thread.join(5)
    assert not problems
    assert seen == dict(wanted)
