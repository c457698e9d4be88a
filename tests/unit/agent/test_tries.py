"""Whether a failed command is run again."""

import os
import signal

import pytest
from taskflow_agent.flags import StepOptions
from taskflow_agent.gate import Order
from taskflow_agent.outcome import Outcome
from taskflow_agent.tries import Tries


@pytest.fixture
def blocked():
    numbers = {signal.SIGTERM, signal.SIGWINCH}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    yield
    while signal.sigtimedwait(numbers, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def may_run_again(order_file, state="Failed", retries=1, told=None):
    options = StepOptions()
    options.wait, options.retries = str(order_file), retries
    tries = Tries(options, Order(options), None, None)
    tries._told = told
    return tries._may_run_again(Outcome(state, 3, "Error"))


def test_a_failure_is_tried_again(tmp_path):
    assert may_run_again(tmp_path / "order")


@pytest.mark.parametrize("state", ["Succeeded", "Cancelled"])
def test_nothing_else_is(tmp_path, state):
    assert not may_run_again(tmp_path / "order", state=state)


def test_no_try_is_left(tmp_path):
    assert not may_run_again(tmp_path / "order", retries=0)


def test_an_ending_signal_was_passed_on(tmp_path):
    assert not may_run_again(tmp_path / "order", told=signal.SIGTERM)


def test_the_order_says_quit(tmp_path):
    (tmp_path / "order").write_text("-1")
    assert not may_run_again(tmp_path / "order")


@pytest.mark.usefixtures("blocked")
@pytest.mark.parametrize(("number", "again"), [(signal.SIGTERM, False), (signal.SIGWINCH, True)])
def test_a_signal_between_two_tries(tmp_path, number, again):
    os.kill(os.getpid(), signal.SIGWINCH)
    os.kill(os.getpid(), number)
    assert may_run_again(tmp_path / "order") is again
