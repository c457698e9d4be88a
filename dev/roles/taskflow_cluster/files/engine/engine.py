"""Find the container engine of this host, or run a Docker daemon of our own.

    engine.py find STATE               print the engine that answers, as JSON; "engine" is empty where none does
    engine.py start STATE DATA_ROOT    start our daemon, or start it again where it has died
    engine.py revive STATE             start our daemon again, if there was one and it has died
    engine.py stop STATE               stop our daemon and take back what it has changed on this host

STATE is the folder for the daemon's socket, log, PID and configuration. DATA_ROOT keeps its images.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
START_SECONDS = 60
# The addresses of the daemon's networks: the first pair that nothing on this host overlaps.
POOLS = [
    ("172.30.0.0/16", "172.31.0.0/16"),
    ("172.28.0.0/16", "172.29.0.0/16"),
    ("172.26.0.0/16", "172.27.0.0/16"),
    ("10.230.0.0/16", "10.231.0.0/16"),
]
ALL_CAPABILITIES = (1 << 41) - 1
TABLES = ("filter", "nat", "raw")  # of the packet filter, which Docker writes to
CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers")  # there where the host has no other version
# Docker turns forwarding on; three nodes and their Pods need more watchers of files than a host gives by default.
SYSCTLS = {"net/ipv4/ip_forward": "1", "fs/inotify/max_user_instances": "8192", "fs/inotify/max_user_watches": "524288"}


class Daemon:
    """A Docker daemon of our own.

    Args:
        state: Its folder; everything but the images is in it.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.socket = state / "docker.sock"
        self.config = state / "daemon.json"
        self.log = state / "log"
        self.pid_file = state / "pid"
        self.before = state / "before.json"
        # Not docker0, which is another daemon's.
        self.bridge = f"taskflow-{hashlib.sha256(bytes(state)).hexdigest()[:6]}"

    @property
    def host(self) -> str:
        """The value for DOCKER_HOST."""
        return f"unix://{self.socket}"

    def pid(self) -> int | None:
        """Return its PID; None where it does not run, whatever a stale file says."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self.pid_file.read_text())
            if str(self.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def answers(self) -> bool:
        """Tell whether it can be used."""
        return self.pid() is not None and answers("docker", self.host)

    def start(self, data_root: Path) -> None:
        """Start it, unless it runs."""
        if self.answers():
            return
        self.end()
        self.state.mkdir(parents=True, exist_ok=True)
        data_root.mkdir(parents=True, exist_ok=True)
        if not self.before.exists():
            # Another daemon of ours has changed the host already.
            others = self.others()
            self.before.write_text(others[0].before.read_text() if others else json.dumps(host_now()))
        for name, value in SYSCTLS.items():
            Path("/proc/sys", name).write_text(value)
        # A copy: the folder that this program is in may go while the daemon runs.
        shutil.copy(HERE / "runc-caps.sh", self.state / "runc-caps")
        settings = self.settings(data_root)
        self.config.write_text(json.dumps(settings, indent=2))
        make_bridge(self.bridge, str(settings["fixed-cidr"]))
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd", "--config-file", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-10:])
                raise SystemExit(f"error: dockerd does not start; see {self.log}:\n{tail}")
            time.sleep(0.2)

    def settings(self, data_root: Path) -> dict[str, object]:
        """Return its configuration."""
        bridge, pool = free_pools([route for route in routes() if not self.left(route.get("dev", ""))])
        settings: dict[str, object] = {
            "data-root": str(data_root),
            "exec-root": str(self.state / "exec"),
            "pidfile": str(self.pid_file),
            "hosts": [self.host],
            "bridge": self.bridge,
            "fixed-cidr": str(next(ipaddress.ip_network(bridge).subnets(new_prefix=24))),
            "default-address-pools": [{"base": pool, "size": 24}],
            "log-driver": "local",
        }
        if lacks_capabilities():
            settings |= {
                "runtimes": {"runc-caps": {"path": str(self.state / "runc-caps")}},
                "default-runtime": "runc-caps",
            }
        return settings

    def others(self) -> list[Daemon]:
        """Return the daemons of this kind that run from another folder."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().decode().split("\0")
                if words[0].endswith("dockerd"):
                    other = Daemon(Path(words[words.index("--config-file") + 1]).parent)
                    if other.state != self.state and other.before.exists():
                        found.append(other)
        return found

    def left(self, device: str) -> bool:
        """Tell whether a bridge is one that an earlier daemon has left, whose addresses may be taken again."""
        return device == self.bridge or (device.startswith("br-") and not self.others())

    def end(self) -> None:
        """End it and what it left: its containerd and the mounts of containers that died with it."""
        for name in (self.pid_file, self.state / "exec/containerd/containerd.pid"):
            end_process(name, self.state)
        # Containers go on without their daemon, and the next one would not know of them.
        for pid in [*family_of(f"{self.state}/exec"), *proxies_of(self.networks())]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for mount in mounts_below(self.state / "exec"):
            subprocess.run(["umount", "--lazy", mount], check=False)
        shutil.rmtree(self.state / "exec", ignore_errors=True)

    def networks(self) -> list[ipaddress.IPv4Network]:
        """Return the ranges of addresses that its containers have."""
        if not self.config.exists():
            return []
        settings = json.loads(self.config.read_text())
        ranges = [settings["fixed-cidr"], *(pool["base"] for pool in settings["default-address-pools"])]
        return [ipaddress.IPv4Network(one) for one in ranges]

    def revive(self) -> None:
        """Start it again where it was started once and has died, so that its containers can be removed."""
        if self.config.exists() and not self.answers():
            self.start(Path(json.loads(self.config.read_text())["data-root"]))

    def stop(self) -> None:
        """End it, and put this host's network back as it was."""
        if not self.state.exists():
            return
        roots = [json.loads(self.config.read_text())["data-root"]] if self.config.exists() else []
        self.end()
        for mount in (mount for root in roots for mount in mounts_below(Path(root))):
            subprocess.run(["umount", "--lazy", mount], check=False)
        remove_rules(self.bridge)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, stderr=subprocess.DEVNULL)
        # The last of the daemons of this kind puts back what they share.
        if self.before.exists() and not self.others():
            take_back(json.loads(self.before.read_text()))
        shutil.rmtree(self.state)


def answers(engine: str, host: str = "") -> bool:
    """Tell whether an engine answers."""
    environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}
    words = [engine, "info", "--format", "{{.ID}}" if engine == "docker" else "{{.Host.Arch}}"]
    try:
        shown = subprocess.run(words, env=environment, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return shown.returncode == 0 and bool(shown.stdout.strip())


def find(state: Path) -> dict[str, str]:
    """Return the engine to use: {"engine": "docker" or "podman", "docker_host": "unix://..."}."""
    own = Daemon(state)
    if own.answers():
        return {"engine": "docker", "docker_host": own.host}
    for engine in ("docker", "podman"):
        if answers(engine):
            return {"engine": engine, "docker_host": ""}
    return {"engine": "", "docker_host": ""}


def lacks_capabilities() -> bool:
    """Tell whether this host is a restricted container, which can't give its containers every capability."""
    status = Path("/proc/self/status").read_text()
    bounding = int(next(line for line in status.splitlines() if line.startswith("CapBnd:")).split()[1], 16)
    return bounding & ALL_CAPABILITIES != ALL_CAPABILITIES


def routes() -> list[dict[str, Any]]:
    """Return this host's routes, as ip describes them."""
    shown = subprocess.run(["ip", "-json", "route"], check=True, capture_output=True, text=True).stdout
    found: list[dict[str, Any]] = json.loads(shown)
    return found


def make_bridge(name: str, subnet: str) -> None:
    """Have a bridge with the first address of a subnet; Docker makes none but docker0."""
    if not Path(f"/sys/class/net/{name}").exists():
        subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    network = ipaddress.ip_network(subnet)
    subprocess.run(["ip", "address", "flush", "dev", name], check=True)
    subprocess.run(["ip", "address", "add", f"{network[1]}/{network.prefixlen}", "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)


def free_pools(present: list[dict[str, Any]]) -> tuple[str, str]:
    """Return addresses that none of the routes overlaps, for the default bridge and for the networks."""
    taken = [ipaddress.ip_network(route["dst"], strict=False) for route in present if route["dst"] != "default"]
    for pair in POOLS:
        if not any(ipaddress.ip_network(pool).overlaps(one) for pool in pair for one in taken):
            return pair
    named = ", ".join(map(str, taken))
    raise SystemExit(
        f"error: this host's routes ({named}) overlap every range that Docker could take. Free one of: {POOLS}"
    )


def end_process(pid_file: Path, state: Path) -> None:
    """End the process of a PID file, if it is one that belongs to the folder."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if str(state).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 40
            while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.1)
    pid_file.unlink(missing_ok=True)


def family_of(exec_root: str) -> list[int]:
    """Return the processes that keep containers of an exec root (containerd's shims), and all that they started."""
    children: dict[int, list[int]] = {}
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(entry.name)
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(pid)
            words = (entry / "cmdline").read_bytes()
            if b"containerd-shim" in words.partition(b"\0")[0] and exec_root.encode() in words:
                found.append(pid)
    for pid in found:  # grows while it is read
        found += children.get(pid, [])
    return found


def proxies_of(networks: list[ipaddress.IPv4Network]) -> list[int]:
    """Return the processes that keep the published ports of containers in these networks."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            if words[0].endswith("docker-proxy"):
                address = ipaddress.IPv4Address(words[words.index("-container-ip") + 1])
                if any(address in network for network in networks):
                    found.append(int(entry.name))
    return found


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points of a folder and below it, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in reversed(points) if point == str(folder) or point.startswith(f"{folder}/")]


def host_now() -> dict[str, object]:
    """Return what a Docker daemon changes on a host, as it is before."""
    values = {name: Path("/proc/sys", name).read_text().strip() for name in SYSCTLS}
    return {"sysctls": values, "forward": forward_policy(), "chains": docker_chains()}


def forward_policy() -> str:
    """Return what the packet filter does with forwarded packets that no rule speaks of."""
    shown = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
    return "DROP" if shown.startswith("-P FORWARD DROP") else "ACCEPT"


def docker_chains() -> list[str]:
    """Return Docker's chains of the packet filter, as "table chain"."""
    found = []
    for table in TABLES:
        shown = subprocess.run(["iptables", "-t", table, "-S"], capture_output=True, text=True, check=False).stdout
        found += [f"{table} {line.split()[1]}" for line in shown.splitlines() if line.startswith("-N DOCKER")]
    return found


def take_back(before: dict[str, Any]) -> None:
    """Undo what the daemon has changed on this host, and leave what was there before it."""
    if not before["chains"]:
        remove_chains()
        subprocess.run(["iptables", "-P", "FORWARD", str(before["forward"])], check=False)
    for name, value in before["sysctls"].items():
        Path("/proc/sys", name).write_text(value)


def remove_rules(word: str) -> None:
    """Remove the rules of the packet filter that speak of something."""
    for table in TABLES:
        shown = subprocess.run(["iptables", "-t", table, "-S"], capture_output=True, text=True, check=False).stdout
        for line in shown.splitlines():
            if line.startswith("-A ") and word in line:
                subprocess.run(["iptables", "-t", table, "-D", *line.split()[1:]], check=False)


def remove_chains() -> None:
    """Remove Docker's chains and every rule that leads to them."""
    remove_rules("DOCKER")
    chains = docker_chains()
    for action in ("-F", "-X"):
        for chain in chains:
            table, name = chain.split()
            subprocess.run(["iptables", "-t", table, action, name], check=False)


def main(action: str, state: str, *more: str) -> None:
    """Do what the command line says."""
    folder = Path(state)
    if action == "find":
        print(json.dumps({**find(folder), "restricted": lacks_capabilities(), "cgroup_v1": not CGROUP_V2.exists()}))
    elif action == "start":
        Daemon(folder).start(Path(more[0]))
    elif action == "revive":
        Daemon(folder).revive()
    elif action == "stop":
        Daemon(folder).stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
