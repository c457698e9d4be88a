"""Noticing a resource that runs again and again."""

import pytest
from support.api.object_server import KEY

from taskflow_controller.reconcile import causes
from taskflow_controller.reconcile.causes import PERIOD, WINDOW, RunHistory, requeue_after_cause, retry_cause


class History(RunHistory):
    """With a clock to move by hand."""

    def __init__(self) -> None:
        super().__init__(lambda: self.now)
        self.now = 0.0

    def told(self, count: int, cause: str = "Pod p changed", generation: int = 1) -> list[str]:
        return [warning for _ in range(count) if (warning := self.note(KEY, generation, cause))]


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causes, "MANY_RUNS", 10)


def test_told_once_with_the_commonest_causes() -> None:
    history = History()
    assert not history.told(3, "Pod a changed") and not history.told(1, "Pod b changed; period")
    history.now = 50
    (warning,) = history.told(20, "Pod c changed")
    assert warning.startswith("10 runs in 50 s without a change of its spec, mostly because of: Pod c changed (6x)")
    assert "Pod a changed (3x)" in warning


def test_told_again_in_the_next_window() -> None:
    history = History()
    assert len(history.told(50)) == 1
    history.now = WINDOW + 1
    assert len(history.told(50)) == 1


@pytest.mark.parametrize("cause", [PERIOD, retry_cause(3, "failure"), requeue_after_cause(2.5), "period; retry 1 x"])
def test_the_clock_s_runs_do_not_count(cause: str) -> None:
    assert not History().told(50, cause)


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
