"""The real executable, and steps that run in it like the containers of one Pod."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest
from support.agent.executable import build


def eventually(condition):
    """Wait until it holds; the limit only ends a test that has failed."""
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit, "it never happened"
        time.sleep(0.002)


def end_with_children(pid: int) -> None:
    """Of a test that has failed: the command is in a process group of its own and would live on."""
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        kill = os.killpg if os.getpgid(int(child)) == int(child) else os.kill
        kill(int(child), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)


class Step:
    """One started step, and what it leaves behind."""

    def __init__(self, process: subprocess.Popen[bytes], directory: pathlib.Path) -> None:
        self.process = process
        self.directory = directory

    def wait(self) -> int:
        self.output, self.errors = self.process.communicate(timeout=60)
        return self.process.returncode

    def wait_until_ready(self) -> "Step":
        eventually((self.directory / "ready").exists)
        assert self.process.poll() is None
        return self

    @property
    def ending(self) -> tuple[object, object, object, int]:
        """State, reason and exit code as reported everywhere, and the agent's own exit code."""
        for field in ("state", "exitCode", "reason", "retries", "continued"):
            assert self.done.get(field) == self.message.get(field)
        return self.message["state"], self.message["reason"], self.message["exitCode"], self.process.returncode

    @property
    def done(self) -> dict[str, object]:
        return json.loads((self.directory / "done").read_bytes())

    @property
    def message(self) -> dict[str, object]:
        return json.loads((self.directory / "termination-log").read_bytes())

    @property
    def state(self) -> object:
        assert self.done["state"] == self.message["state"]
        return self.done["state"]


def _heed_hangups() -> None:
    """Be as in a container, though the tests were started with nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Pod:
    """Steps share the order file; each has a directory of its own, as in a Pod."""

    def __init__(self, agent: str, directory: pathlib.Path) -> None:
        self.agent = agent
        self.directory = directory
        self.order_file = directory / "podinfo" / "order"
        self._steps: list[Step] = []
        self._runs = itertools.count(1)

    def run_directory(self, name: object) -> pathlib.Path:
        path = self.directory / "run" / str(name)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def flags(self, name: object) -> list[str]:
        run = self.run_directory(name)
        (run / "termination-log").touch()
        pairs = [("--ready", "ready"), ("--done", "done"), ("--termination-log", "termination-log")]
        return [word for flag, file in pairs for word in (flag, str(run / file))]

    def after(self, name: object) -> list[str]:
        return ["--after", str(self.run_directory(name) / "done")]

    def succeed(self, name: object) -> None:
        self.leave_done(name, '{"state": "Succeeded", "exitCode": 0}\n')

    def leave_done(self, name: object, content: str) -> None:
        """Leave the done file of a step that does not exist; whole at once, as the agent does."""
        done = self.run_directory(name) / "done"
        done.with_suffix(".tmp").write_text(content)
        done.with_suffix(".tmp").rename(done)

    def wait_for_order(self, content: str) -> list[str]:
        return ["--wait", str(self.order_file), "--waitcontent", content]

    def start(self, name, *arguments, prefix=(), **options) -> Step:
        return self._launch(name, [*self.flags(name), *arguments], prefix, **options)

    def _launch(self, name, arguments, prefix=(), **options) -> Step:
        command = [*prefix, self.agent, *arguments]
        options = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "preexec_fn": _heed_hangups,
            **options,
        }
        step = Step(subprocess.Popen(command, **options), self.run_directory(name))
        self._steps.append(step)
        return step

    def start_sidecar(self, *arguments, **options) -> Step:
        return self._launch("sidecar", ["sidecar", *self.flags("sidecar"), *arguments], **options)

    def beside(self, name: object) -> list[str]:
        """Return the flags by which the first step heeds a sidecar."""
        run = self.run_directory(name)
        return ["--await", str(run / "ready"), "--sidecar", f"{name}={run / 'done'}"]

    def run(self, *arguments, **options) -> Step:
        """Run a step of its own: the first is number 1, and no other has begun in its directory."""
        step = self.start(next(self._runs), *arguments, **options)
        step.wait()
        return step

    def order(self, content: str) -> None:
        """Change the order as the kubelet does: new directory, new ..data link, rename."""
        directory = self.order_file.parent
        directory.mkdir(exist_ok=True)
        version = directory / f"..version_{time.monotonic_ns()}"
        version.mkdir()
        (version / "order").write_text(content)
        (directory / "..data_tmp").symlink_to(version.name)
        (directory / "..data_tmp").rename(directory / "..data")
        if not self.order_file.is_symlink():
            self.order_file.symlink_to("..data/order")

    def end(self) -> None:
        for step in self._steps:
            if step.process.poll() is None:
                end_with_children(step.process.pid)
            step.process.communicate()


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell starts what runs in its background with SIGINT ignored; a container never starts so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def agent():
    """Path of the executable, built once."""
    return build()


@pytest.fixture
def pod(agent, tmp_path):
    pod = Pod(agent, tmp_path)
    yield pod
    pod.end()


@pytest.fixture
def wait_until():
    return eventually


@pytest.fixture
def pid_namespace():
    """The words that make the agent PID 1 of a process namespace of its own."""
    words = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*words, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("process namespaces need root")
    return words
