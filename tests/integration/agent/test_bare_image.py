"""An image with nothing in it but one static program, a read-only root, and a user that nobody knows."""

import json
import os
import shutil
import subprocess

import pytest
from support.agent.executable import have_busybox

# Everything happens in a mount namespace of its own, so nothing is left mounted.
ENTER = """
set -e
mount --bind "$1" "$1"
mount -t tmpfs -o mode=1777 none "$1/run"
mount -o remount,ro,bind "$1"
shift
exec "$@"
"""


@pytest.fixture(scope="module")
def busybox(tmp_path_factory):
    if os.geteuid():
        pytest.skip("mount namespaces need root")
    return have_busybox(tmp_path_factory.mktemp("busybox"))


@pytest.fixture
def image(agent, busybox, tmp_path):
    """Returns a function that runs the agent in the image."""
    root = tmp_path / "root"
    for directory in (root, root / "bin", root / "run"):
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
    shutil.copy(agent, root / "taskflow-agent")
    shutil.copy(busybox, root / "bin/busybox")

    def run(*arguments, **environment):
        words = ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(root)]
        words += ["chroot", "--userspec=12345:54321", "--groups=", str(root)]
        words += ["/bin/busybox", "env", *(f"{name}={value}" for name, value in environment.items())]
        return subprocess.run([*words, "/taskflow-agent", *arguments], capture_output=True, check=False)

    return run


def test_a_whole_step(image):
    step = image(
        "--ready", "/run/ready", "--done", "/run/done", "--termination-log", "/run/ready",
        "--command", "/bin/busybox", "sh", "-c",
        "/bin/busybox id -u; /bin/busybox cat /run/done /run/ready; ! echo > /x",
    )  # fmt: skip
    assert step.returncode == 0
    assert step.stdout == b"12345\n"
    assert b"Read-only file system" in step.stderr


def test_reports(image):
    inner = "/taskflow-agent --done /run/done --termination-log /run/log --command /bin/busybox sh -c 'exit 3'"
    script = f"/bin/busybox touch /run/log; {inner}; /bin/busybox cat /run/done; /bin/busybox cat /run/log"
    step = image("--termination-log", "/run/x", "--command", "/bin/busybox", "sh", "-c", script)
    done, message = step.stdout.splitlines()
    assert json.loads(done)["exitCode"] == json.loads(message)["exitCode"] == 3


def test_a_read_only_place_for_the_done_file(image):
    step = image("--done", "/done", "--command", "/bin/busybox", "true")
    assert step.returncode == 1
    assert b"--done: cannot write /done: Read-only file system" in step.stderr


def test_variables_that_break_other_programs(image):
    step = image(
        "--command", "/bin/busybox", "echo", "ran",
        PYTHONHOME="/x", PYTHONPATH="/x", PYTHONSTARTUP="/x", PYTHONMALLOC="x", PYTHONHASHSEED="x",
        LD_PRELOAD="/x.so", LD_LIBRARY_PATH="/x", LC_ALL="x", MALLOC_PERTURB_="7",
    )  # fmt: skip
    assert (step.returncode, step.stdout, step.stderr) == (0, b"ran\n", b"")


def test_a_program_that_is_not_there(image):
    step = image("--command", "sh", "-c", "echo hello")
    assert step.returncode == 127
    assert step.stderr.count(b"\n") == 1
