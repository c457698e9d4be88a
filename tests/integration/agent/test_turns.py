"""When a step starts: order, readiness of all, and the end of the step before."""

import json
import subprocess

import pytest


def test_it_starts_when_the_order_says_so(pod, tmp_path):
    pod.order("0")
    step = pod.start(
        2,
        *pod.wait_for_order("2"),
        "--command",
        "sh",
        "-c",
        f"cat {pod.order_file}; echo; cat {tmp_path}/seen",
    )
    step.wait_until_ready()
    for content in ("1", "12", "-2"):
        pod.order(content)
    (tmp_path / "seen").write_text("all of them")
    pod.order(" 2\n")
    assert step.wait() == 0
    assert step.output == b" 2\n\nall of them"


def test_it_waits_for_an_order_file_that_does_not_exist_yet(pod):
    step = pod.start(1, *pod.wait_for_order("1"), "--command", "cat", pod.order_file).wait_until_ready()
    pod.order("1")
    assert step.wait() == 0
    assert step.output == b"1"


def test_without_waitcontent_the_order_only_cancels(pod):
    step = pod.run("--wait", pod.order_file, "--command", "echo", "ran")
    assert (step.process.returncode, step.output) == (0, b"ran\n")


def test_the_first_step_waits_for_all_agents(pod):
    everyone = [str(pod.run_directory(k) / "ready") for k in (1, 2, 3)]
    awaits = [word for path in everyone for word in ("--await", path)]
    first = pod.start(1, *awaits, "--command", "ls", *everyone).wait_until_ready()
    second = pod.start(2, *pod.after(1), "--command", "true").wait_until_ready()
    assert first.process.poll() is None
    third = pod.start(3, *pod.after(2), "--command", "true")
    assert [step.wait() for step in (first, second, third)] == [0, 0, 0]


def test_twenty_steps_run_in_order(pod, tmp_path):
    log = tmp_path / "log"
    names = range(1, 21)
    awaits = [word for name in names for word in ("--await", str(pod.run_directory(name) / "ready"))]
    steps = []
    for name in reversed(names):
        conditions = awaits if name == 1 else pod.after(name - 1)
        steps.append(pod.start(name, *conditions, "--out", log, "--command", "echo", str(name)))
    assert [step.wait() for step in steps] == [0] * 20
    assert log.read_text().split() == [str(name) for name in names]


def test_all_conditions_must_hold(pod, tmp_path):
    awaited = tmp_path / "awaited"
    conditions = {
        "order": lambda: pod.order("2"),
        "after": lambda: pod.succeed(1),
        "await": awaited.touch,
    }
    check = f"cat {pod.order_file} && cat {pod.run_directory(1)}/done && cat {awaited}"
    for last, fulfil_last in conditions.items():
        for path in (awaited, pod.run_directory(1) / "done", pod.run_directory(last) / "ready"):
            path.unlink(missing_ok=True)
        pod.order("1")
        flags = [*pod.wait_for_order("2"), *pod.after(1), "--await", awaited]
        step = pod.start(last, *flags, "--command", "sh", "-c", f"grep -qx 2 {pod.order_file} && {check}")
        step.wait_until_ready()
        for name, fulfil in conditions.items():
            if name != last:
                fulfil()
        fulfil_last()
        assert step.wait() == 0


def test_a_failed_step_makes_all_later_ones_skip(pod, tmp_path):
    later = [
        pod.start(k, *pod.after(k - 1), "--command", "touch", tmp_path / "ran").wait_until_ready() for k in (2, 3, 4)
    ]
    first = pod.start(1, "--command", "sh", "-c", "exit 3")
    assert first.wait() == 3
    assert [step.wait() for step in later] == [1, 1, 1]
    assert [step.state for step in later] == ["Skipped"] * 3
    assert [step.message["reason"] for step in later] == ["Skipped"] * 3
    assert "Failed, exit code 3" in later[0].message["message"]
    assert "Skipped" in later[1].message["message"]
    assert "startedAt" not in later[0].message
    assert [step.errors for step in later] == [b""] * 3
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "state"), [('{"state":"Cancelled","exitCode":0}', "Skipped"), ("", "Failed"), ("not JSON", "Failed")]
)
def test_after_anything_but_a_success_the_step_does_not_run(pod, tmp_path, content, state):
    (pod.run_directory(1) / "done").write_text(content)
    step = pod.start(2, *pod.after(1), "--command", "touch", tmp_path / "ran")
    assert (step.wait(), step.state) == (1, state)
    assert not (tmp_path / "ran").exists()


def test_a_condition_that_cannot_be_read_is_an_error_and_no_endless_wait(pod, tmp_path):
    (tmp_path / "file").touch()
    for flags, reason in (
        (["--wait", tmp_path, "--waitcontent", "1"], "Error"),
        (["--after", tmp_path / "file/done"], "BadDoneFile"),
        (["--await", tmp_path / "file/x"], "Error"),
    ):
        step = pod.run(*flags, "--command", "true")
        assert (step.process.returncode, step.state, step.message["reason"]) == (1, "Failed", reason)
        assert "cannot read" in step.message["message"] or "is damaged" in step.message["message"]


def test_a_directory_that_appears_later_is_noticed(pod, tmp_path):
    awaited = tmp_path / "later" / "ready"
    step = pod.start(1, "--await", awaited, "--command", "true").wait_until_ready()
    awaited.parent.mkdir()
    awaited.touch()
    assert step.wait() == 0


def test_without_inotify_instances_it_polls(pod, tmp_path):
    """In a user namespace of its own a limit of 0 hits nobody else."""
    limit = 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces")
    step = pod.start(2, *pod.after(1), "--command", "true", prefix=prefix).wait_until_ready()
    pod.succeed(1)
    assert (step.wait(), step.state) == (0, "Succeeded")


def test_ready_that_cannot_be_written_is_an_error(pod, agent, tmp_path):
    log = tmp_path / "log"
    log.touch()
    words = [agent, "--termination-log", log, "--ready", tmp_path / "missing/ready", "--command", "true"]
    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 1
    assert b"--ready" in finished.stderr
    assert json.loads(log.read_bytes())["state"] == "Failed"
