"""The container engine of the throw-away cluster: which one is used, and the daemon of its own."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import engine
import pytest

DEFAULT = {"dst": "default", "dev": "eth0"}


@pytest.mark.parametrize(
    ("routes", "bridge"),
    [
        ([DEFAULT], "172.30.0.0/16"),
        ([DEFAULT, {"dst": "192.168.1.0/24", "dev": "eth0"}], "172.30.0.0/16"),
        ([{"dst": "172.31.5.0/24", "dev": "eth0"}], "172.28.0.0/16"),
        ([{"dst": "172.16.0.0/12", "dev": "vpn0"}], "10.230.0.0/16"),
        ([{"dst": "172.30.9.9", "dev": "vpn0"}], "172.28.0.0/16"),
    ],
)
def test_the_networks_are_where_no_route_leads(routes, bridge):
    assert engine.free_pools(routes)[0] == bridge


def test_where_routes_lead_everywhere_they_are_named():
    with pytest.raises(SystemExit, match=r"172\.16\.0\.0/12, 10\.0\.0\.0/8"):
        engine.free_pools([{"dst": "172.16.0.0/12", "dev": "a"}, {"dst": "10.0.0.0/8", "dev": "b"}])


def test_another_daemon_of_this_kind_is_found(tmp_path):
    """The machine may have more of them, such as that of the test cluster."""
    words = ["/usr/bin/dockerd", "-c", "echo on; read line", "--config-file", str(tmp_path / "another" / "daemon.json")]
    with subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline()
        daemon = engine.Daemon(tmp_path / "this")
        # One that left no word of what the host was like is none of ours.
        assert tmp_path / "another" not in [found.state for found in daemon.others()]
        (tmp_path / "another").mkdir()
        (tmp_path / "another" / "before.json").touch()
        assert tmp_path / "another" in [found.state for found in daemon.others()]
        assert tmp_path / "another" not in [found.state for found in engine.Daemon(tmp_path / "another").others()]
        other.kill()


@pytest.mark.parametrize("alone", [True, False])
def test_the_bridges_of_a_killed_daemon_are_free_again_unless_another_runs(tmp_path, monkeypatch, alone):
    daemon = engine.Daemon(tmp_path)
    monkeypatch.setattr(daemon, "others", lambda: [] if alone else [engine.Daemon(tmp_path / "another")])
    assert daemon.left(daemon.bridge)
    assert daemon.left("br-1a2b3c") is alone
    assert not daemon.left("eth0")


def test_two_daemons_have_a_bridge_each(tmp_path):
    bridges = {engine.Daemon(tmp_path / name).bridge for name in ("this", "another")}
    assert len(bridges) == 2
    assert all(len(name) <= 15 for name in bridges)  # the kernel's limit


@pytest.mark.parametrize("alone", [True, False])
def test_the_daemon_that_ends_last_puts_back_what_they_share(tmp_path, monkeypatch, alone):
    daemon = engine.Daemon(tmp_path / "this")
    daemon.state.mkdir()
    daemon.before.write_text('{"chains": []}')
    taken_back, removed = [], []
    monkeypatch.setattr(engine, "take_back", taken_back.append)
    monkeypatch.setattr(engine, "remove_rules", removed.append)
    monkeypatch.setattr(daemon, "others", lambda: [] if alone else [engine.Daemon(tmp_path / "another")])
    daemon.stop()
    assert removed == [daemon.bridge]
    assert taken_back == ([{"chains": []}] if alone else [])
    assert not daemon.state.exists()


def script(folder, name, text):
    """Put a program on the PATH that a test gives."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("docker", "podman", "found"),
    [
        ("echo an-id", "exit 1", "docker"),
        ("echo no daemon >&2; exit 1", "echo amd64", "podman"),
        # The client answers, and says that there is no server.
        ("exit 0", "exit 125", ""),
        (None, None, ""),
    ],
)
def test_the_engine_is_the_first_that_answers(monkeypatch, tmp_path, docker, podman, found):
    for name, text in (("docker", docker), ("podman", podman)):
        if text:
            script(tmp_path, name, text)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if docker else str(tmp_path))
    assert engine.find(tmp_path / "state") == {"engine": found, "docker_host": ""}


@pytest.mark.parametrize("content", ["", "no number", "999999999", "this process"])
def test_a_stale_pid_file_is_no_daemon(tmp_path, content):
    """The number may belong to any process by now, such as this one."""
    (tmp_path / "pid").write_text(content.replace("this process", str(os.getpid())))
    daemon = engine.Daemon(tmp_path)
    assert daemon.pid() is None
    daemon.end()
    assert not (tmp_path / "pid").exists()


def test_a_process_is_ended_only_if_it_belongs_to_the_folder(tmp_path):
    words = [sys.executable, "-c", "import time; time.sleep(60)", str(tmp_path)]
    with subprocess.Popen(words) as process:
        while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)  # the kernel has yet to set it
        (tmp_path / "pid").write_text(str(process.pid))
        engine.end_process(tmp_path / "pid", tmp_path / "another")
        assert process.poll() is None
        (tmp_path / "pid").write_text(str(process.pid))
        engine.end_process(tmp_path / "pid", tmp_path)
        assert process.wait(10) != 0


def test_what_a_daemon_left_is_found_with_all_that_it_started(tmp_path):
    """The shim keeps a container when its daemon is gone; the container is a child of it."""
    words = ["/usr/bin/containerd-shim-runc-v2", "-c", "sleep 60 & echo $!; wait", f"{tmp_path}/exec/containerd.sock"]
    with subprocess.Popen(words, executable="/bin/sh", stdout=subprocess.PIPE, text=True) as shim:
        child = int(shim.stdout.readline())
        assert engine.family_of(f"{tmp_path}/exec") == [shim.pid, child]
        assert engine.family_of(f"{tmp_path}/another") == []
        for pid in (child, shim.pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("address", "ours"), [("172.31.0.2", True), ("172.30.0.9", True), ("172.17.0.2", False)])
def test_a_port_is_freed_that_a_killed_daemon_had_published(tmp_path, address, ours):
    daemon = engine.Daemon(tmp_path)
    settings = {"fixed-cidr": "172.30.0.0/24", "default-address-pools": [{"base": "172.31.0.0/16", "size": 24}]}
    daemon.config.write_text(json.dumps(settings))
    words = ["/usr/bin/docker-proxy", "-c", "echo on; read line", "-container-ip", address]
    with subprocess.Popen(words, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as proxy:
        assert proxy.stdout.readline()
        assert (proxy.pid in engine.proxies_of(daemon.networks())) is ours
        proxy.kill()


def test_nothing_is_stopped_where_nothing_was_started(tmp_path):
    engine.Daemon(tmp_path / "none").stop()
    assert not (tmp_path / "none").exists()


CAPABILITIES = {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"], "ambient": None}


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """The runtime for restricted hosts, with a runc that shows its arguments."""
    script(tmp_path, "runc", 'echo "$@"')
    # What the kernel says of this process is given by a file.
    (tmp_path / "status").write_text("CapBnd:\t000001fffeffffff\n")
    text = (engine.HERE / "runc-caps.sh").read_text().replace("/proc/self/status", str(tmp_path / "status"))
    (tmp_path / "runc-caps").write_text(text)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda *words: subprocess.run(
        ["sh", tmp_path / "runc-caps", *words], check=True, capture_output=True, text=True
    ).stdout.split()


@pytest.mark.skipif(subprocess.run(["sh", "-c", "command -v jq"], check=False).returncode != 0, reason="no jq here")
@pytest.mark.parametrize(
    ("option", "wrap"),
    [
        ("--bundle", lambda caps: {"process": {"capabilities": caps}}),
        ("--process", lambda caps: {"capabilities": caps}),
    ],
)
def test_a_capability_that_the_host_lacks_is_taken_out(runtime, tmp_path, option, wrap):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**wrap(CAPABILITIES), "hostname": "CAP_SYS_RESOURCE"}))
    words = ["create", option, str(tmp_path if option == "--bundle" else file), "an-id"]
    assert runtime(*words) == words
    kept = {"bounding": ["CAP_CHOWN"], "effective": [], "ambient": None}
    changed = json.loads(file.read_text())
    assert changed == {
        **wrap(changed["process"]["capabilities"] if option == "--bundle" else changed["capabilities"]),
        "hostname": "CAP_SYS_RESOURCE",
    }
    found = changed["process"]["capabilities"] if option == "--bundle" else changed["capabilities"]
    assert {name: found[name] for name in kept} == kept


def test_other_calls_reach_runc_as_they_are(runtime):
    assert runtime("state", "an-id") == ["state", "an-id"]
