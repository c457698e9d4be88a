"""Noticing a resource that runs again and again."""

import pytest
from support.api.object_server import KEY

from taskflow_controller.reconcile import run_history
from taskflow_controller.reconcile.run_history import WINDOW, RunHistory
from taskflow_controller.triggers.causes import PERIOD, Cause, Causes


class History(RunHistory):
    """With a clock to move by hand."""

    def __init__(self) -> None:
        super().__init__(lambda: self.now)
        self.now = 0.0

    def told(self, count: int, *causes: Cause | str, generation: int = 1, more: int = 0) -> list[str]:
        given = [Cause.event(cause) if isinstance(cause, str) else cause for cause in causes or ["Pod p changed"]]
        noted = [self.note(KEY, generation, Causes(tuple(given), more)) for _ in range(count)]
        return [warning for warning in noted if warning]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_history, "MANY_RUNS", 10)


def test_told_once_with_the_commonest_causes() -> None:
    history = History()
    assert not history.told(3, "Pod a changed") and not history.told(1, "Pod b changed", PERIOD)
    history.now = 50
    (warning,) = history.told(20, "Pod c changed")
    assert warning.startswith("10 runs in 50 s without a change of its spec, mostly because of: Pod c changed (6x)")
    assert "Pod a changed (3x)" in warning


def test_told_again_in_the_next_window() -> None:
    history = History()
    assert len(history.told(50)) == 1
    history.now = WINDOW + 1
    assert len(history.told(50)) == 1


@pytest.mark.parametrize(
    "causes", [(PERIOD,), (Cause.retry(3, "failure"),), (Cause.requeue_after(2.5),), (PERIOD, Cause.retry(1, "x"))]
)
def test_the_clock_s_runs_do_not_count(causes: tuple[Cause, ...]) -> None:
    assert not History().told(50, *causes)


def test_what_was_left_out_counts() -> None:
    assert History().told(50, PERIOD, more=1)


def test_an_event_in_the_words_of_a_retry_counts() -> None:
    assert History().told(50, "retry 1 changed")


def test_a_new_spec_begins_anew() -> None:
    history = History()
    assert not [warning for number in range(50) for warning in history.told(1, generation=number)]
    history.told(8)
    history.forget(KEY)
    assert not history.told(9)


def test_slow_runs_are_no_matter() -> None:
    history = History()
    for _ in range(100):
        history.now += WINDOW / 5
        assert not history.told(1)
