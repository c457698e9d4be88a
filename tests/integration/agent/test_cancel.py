"""The quit order, and signals from outside."""

import os
import signal

import pytest


def state_of(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0]


def alive(pid):
    try:
        return state_of(pid) not in "ZX"
    except FileNotFoundError:
        return False


def is_blocked(pid, number):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        (mask,) = (int(line.split()[1], 16) for line in status if line.startswith("SigBlk:"))
    return bool(mask >> (number - 1) & 1)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as children:
        return [int(child) for child in children.read().split()]


@pytest.mark.parametrize("by", ["order", "after"])
def test_the_quit_order_ends_a_waiting_step(pod, tmp_path, by):
    pod.order("0")
    conditions = pod.wait_for_order("2") if by == "order" else ["--wait", pod.order_file, *pod.after(1)]
    step = pod.start(2, *conditions, "--command", "touch", tmp_path / "ran").wait_until_ready()
    pod.order("-1")
    assert (step.wait(), step.state, step.message["reason"]) == (1, "Cancelled", "Cancelled")
    assert "startedAt" not in step.message
    assert not (tmp_path / "ran").exists()


def test_a_step_that_comes_up_after_the_quit_order_never_starts(pod, tmp_path):
    pod.order("-1")
    step = pod.run("--wait", pod.order_file, "--command", "touch", tmp_path / "ran")
    assert (step.process.returncode, step.state) == (1, "Cancelled")
    assert not (tmp_path / "ran").exists()


def test_the_quit_value_can_be_chosen(pod):
    pod.order("-1")
    step = pod.start(1, *pod.wait_for_order("1"), "--quit", "stop", "--command", "true").wait_until_ready()
    pod.order("stop")
    assert (step.wait(), step.state) == (1, "Cancelled")


def test_a_cancelled_command_may_clean_up(pod, tmp_path, wait_until):
    pod.order("1")
    running = tmp_path / "running"
    command = f"trap 'echo cleaned up; exit 7' TERM; touch {running}; while :; do sleep 0.01; done"
    step = pod.start(1, *pod.wait_for_order("1"), "--grace", "1000", "--command", "sh", "-c", command)
    wait_until(running.exists)
    pod.order("-1")
    assert step.wait() == 7
    assert step.output == b"cleaned up\n"
    assert (step.state, step.message["reason"], step.message["exitCode"]) == ("Cancelled", "Cancelled", 7)
    assert "startedAt" in step.message


def test_a_cancelled_command_that_succeeds_is_still_cancelled(pod, tmp_path, wait_until):
    pod.order("1")
    running = tmp_path / "running"
    command = f"trap 'exit 0' TERM; touch {running}; while :; do sleep 0.01; done"
    step = pod.start(1, *pod.wait_for_order("1"), "--command", "sh", "-c", command)
    wait_until(running.exists)
    pod.order("-1")
    assert (step.wait(), step.state) == (0, "Cancelled")
    later = pod.start(2, *pod.after(1), "--command", "true")
    assert (later.wait(), later.state) == (1, "Skipped")


def test_after_the_grace_period_everything_is_killed(pod, tmp_path, wait_until):
    pod.order("1")
    running = tmp_path / "running"
    stubborn = "trap '' TERM; sleep 1000 & sleep 1000 & echo $! > %s.tmp; mv %s.tmp %s; wait; wait" % ((running,) * 3)
    step = pod.start(1, *pod.wait_for_order("1"), "--grace", "0.05", "--command", "sh", "-c", stubborn)
    wait_until(running.exists)
    pod.order("-1")
    assert step.wait() == 128 + signal.SIGKILL
    assert (step.state, step.message["signal"]) == ("Cancelled", signal.SIGKILL)
    wait_until(lambda: not alive(running.read_text().strip()))


def test_a_stopped_command_can_be_cancelled(pod, tmp_path, wait_until):
    pod.order("1")
    running = tmp_path / "running"
    step = pod.start(
        1,
        *pod.wait_for_order("1"),
        "--grace",
        "1000",
        "--command",
        "sh",
        "-c",
        f"touch {running}; kill -STOP $$",
    )
    wait_until(running.exists)
    pod.order("-1")
    assert (step.wait(), step.state) == (128 + signal.SIGTERM, "Cancelled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, 37])
def test_a_signal_ends_a_waiting_step(pod, number):
    step = pod.start(2, *pod.after(1), "--command", "true").wait_until_ready()
    step.process.send_signal(number)
    assert (step.wait(), step.state) == (128 + number, "Failed")
    assert (step.message["reason"], step.message["told"]) == ("EndedBeforeItsTurn", number)
    assert step.done == step.message
    assert f"signal {int(number)}" in step.message["message"]


@pytest.mark.parametrize("told", [True, False])
def test_a_signal_that_comes_with_the_quit_order_does_not_hide_it(pod, wait_until, told):
    pod.order("0")
    step = pod.start(2, *pod.wait_for_order("2"), "--command", "true").wait_until_ready()
    os.kill(step.process.pid, signal.SIGSTOP)
    wait_until(lambda: state_of(step.process.pid) == "T")
    pod.order("-1")
    if told:
        step.process.terminate()
    os.kill(step.process.pid, signal.SIGCONT)
    assert (step.wait(), step.state, step.message["reason"]) == (1, "Cancelled", "Cancelled")
    assert ("told" in step.message) is told


def test_a_harmless_signal_does_not_end_a_waiting_step(pod):
    step = pod.start(2, *pod.after(1), "--command", "true").wait_until_ready()
    for number in (
        signal.SIGWINCH,
        signal.SIGCONT,
        signal.SIGURG,
        signal.SIGCHLD,
        signal.SIGIO,
        signal.SIGPIPE,
    ):
        step.process.send_signal(number)
    pod.succeed(1)
    assert (step.wait(), step.state) == (0, "Succeeded")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, 37])
def test_signals_reach_the_whole_group(pod, tmp_path, wait_until, number):
    name = int(number)  # a shell ignores SIGINT and SIGQUIT in the background: they cannot be tried like this
    traps = f"""
        trap 'echo child > {tmp_path}/child' {name}
        sh -c 'trap "echo grandchild > {tmp_path}/grandchild; exit" {name}
               touch {tmp_path}/up; while :; do sleep 0.01; done' &
        while ! [ -e {tmp_path}/child ]; do sleep 0.01; done
        wait
        exit 5
    """
    step = pod.start(1, "--command", "sh", "-c", traps)
    wait_until((tmp_path / "up").exists)
    step.process.send_signal(number)
    assert step.wait() == 5
    assert (tmp_path / "grandchild").read_text() == "grandchild\n"
    assert step.state == "Failed"


def test_death_by_a_forwarded_signal_is_a_failure_and_not_cancelled(pod, tmp_path, wait_until):
    running = tmp_path / "running"
    step = pod.start(1, "--command", "sh", "-c", f"touch {running}; exec sleep 1000")
    wait_until(running.exists)
    step.process.terminate()
    assert (step.wait(), step.state, step.message["signal"]) == (
        128 + signal.SIGTERM,
        "Failed",
        signal.SIGTERM,
    )
    assert step.message["told"] == signal.SIGTERM


@pytest.mark.parametrize(("line", "told"), [("exit 3", None), ("kill -SEGV $$", 0), ("kill -TERM $$", 0)])
def test_a_command_that_ends_by_itself_was_not_told_to(pod, line, told):
    step = pod.run("--command", "sh", "-c", line)
    assert (step.state, step.message.get("told"), step.done.get("told")) == ("Failed", told, told)


def test_a_command_that_fails_when_it_is_told_to_end_says_so(pod, tmp_path, wait_until):
    running = tmp_path / "running"
    line = f"trap 'exit 3' TERM; touch {running}; while :; do sleep 0.01; done"
    step = pod.start(1, "--command", "sh", "-c", line)
    wait_until(running.exists)
    step.process.terminate()
    assert (step.wait(), step.message["reason"], step.message["told"]) == (3, "Error", signal.SIGTERM)
    assert step.done == step.message


def test_what_the_command_leaves_running_ends_with_it(pod, wait_until):
    step = pod.run("--command", "sh", "-c", "sleep 1000 > /dev/null 2>&1 & echo $!")
    assert step.state == "Succeeded"
    wait_until(lambda: not alive(step.output.decode().strip()))


def test_orphans_become_the_agents_children(pod):
    orphan = "(setsid sleep 1000 >&2 & echo $!)"
    command = f"orphan=$( {orphan} ); grep PPid /proc/$orphan/status; echo $PPID; kill $orphan"
    step = pod.run("--command", "sh", "-c", command, stderr=None)
    adopted_by, agent = step.output.split()[1:]
    assert adopted_by == agent


def test_as_pid_1_it_buries_the_dead(pod, pid_namespace):
    command = """
        [ $PPID = 1 ] || exit 3
        for i in 1 2 3 4 5 6 7 8 9 10; do (true &) ; done
        for attempt in $(seq 3000); do
            sleep 0.01
            grep -qs '^State:.Z' /proc/[0-9]*/status || exit 0
        done
        exit 4
    """
    step = pod.run("--command", "sh", "-c", command, prefix=pid_namespace)
    assert (step.process.returncode, step.errors) == (0, b"")


def test_as_pid_1_it_buries_the_dead_while_waiting_too(pod, pid_namespace, wait_until):
    step = pod.start(2, *pod.after(1), "--command", "true", prefix=pid_namespace).wait_until_ready()
    (agent,) = children_of(step.process.pid)
    os.system(f"nsenter --target {agent} --pid sh -c '(sleep 0.05 &) ; (true &)'")
    wait_until(lambda: not children_of(agent))
    pod.succeed(1)
    assert step.wait() == 0


def test_as_pid_1_no_early_signal_is_lost(pod, pid_namespace, wait_until):
    """The kernel drops what PID 1 neither handles nor blocks: it is blocked before Python is up."""
    before_python = 0
    for attempt in range(25):
        step = pod.start(attempt, *pod.after("nobody"), "--command", "true", prefix=pid_namespace)
        wait_until(lambda step=step: children_of(step.process.pid))
        (agent,) = children_of(step.process.pid)
        wait_until(lambda agent=agent: os.readlink(f"/proc/{agent}/exe") == pod.agent)
        wait_until(lambda agent=agent: is_blocked(agent, signal.SIGTERM))
        before_python += not is_blocked(agent, signal.SIGUSR1)
        os.kill(agent, signal.SIGTERM)
        step.wait()
        assert step.message["reason"] == "EndedBeforeItsTurn"
    assert before_python


def test_signals_do_not_get_lost_between_start_and_exec(pod):
    """Whenever the signal comes, it ends the step: waiting, forking or running."""
    for attempt in range(25):
        step = pod.start(attempt, "--command", "sleep", "1000").wait_until_ready()
        step.process.terminate()
        assert step.wait() == 128 + signal.SIGTERM
