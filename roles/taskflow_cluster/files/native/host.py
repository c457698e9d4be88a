"""What a native cluster changes on its host: remembered before, put back after.

usage: host.py check|prepare|restore DIR BRIDGE NODE_ADDRESS/BITS SERVICE_SUBNET
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import firewall
from processes import Daemon, all_pids, command_line, end

# Kernel settings that the kubelet, kube-proxy and the role itself write.
KERNEL_SETTINGS = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/bridge/bridge-nf-call-iptables",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "vm/overcommit_memory",
)
# Paths that the daemons do not let us move. They are removed if they were not there before.
FIXED_PATHS = (
    "/run/containerd",
    "/run/kubernetes",
    "/run/netns",
    "/run/xtables.lock",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
# Only a kubelet writes into these, so what came while ours ran is ours.
KUBELET_LOGS = ("/var/log/containers", "/var/log/pods")
LAST_TO_STOP = ("containerd", "registry", "etcd")


def run(*argv: str) -> subprocess.CompletedProcess:
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def must_run(*argv: str) -> None:
    done = run(*argv)
    if done.returncode:
        raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip()}")


def cgroup_roots() -> list[Path]:
    """The mounted control group hierarchies, of version 1 or 2."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def pod_cgroups() -> list[Path]:
    """The control groups of Pods, the innermost first."""
    found = []
    for root in cgroup_roots():
        top = root / "kubepods"
        if top.is_dir():
            found += [Path(directory) for directory, _folders, _files in os.walk(top, topdown=False)]
    return found


class Host:
    def __init__(self, directory: Path, bridge: str, address: str, service_subnet: str) -> None:
        self.directory = directory
        self.bridge = bridge
        self.address = address
        self.service_subnet = service_subnet
        self.memory_path = directory / "host.json"

    def check(self) -> bool:
        """Refuse a host on which something else has what the cluster needs."""
        wanted = [ipaddress.ip_network(text, strict=False) for text in (self.address, self.service_subnet)]
        for line in run("ip", "-o", "-4", "route", "show").stdout.splitlines():
            words = line.split()
            if words[0] == "default" or f"dev {self.bridge}" in line:
                continue
            network = ipaddress.ip_network(words[1] if words[0].isalpha() else words[0], strict=False)
            if any(network.overlaps(other) for other in wanted):
                raise SystemExit(f"The cluster needs {wanted[0]} and {wanted[1]}, but there is a route: {line.strip()}")
        if not self.memory_path.exists():
            if Path("/sys/class/net", self.bridge).exists():
                raise SystemExit(
                    f"There is a network device {self.bridge} that is not of this cluster. "
                    f"End what uses it, or remove it: ip link delete {self.bridge}"
                )
            if pod_cgroups():
                raise SystemExit("There are control groups named kubepods: another kubelet runs, or ran, on this host.")
        return False

    def prepare(self) -> bool:
        changed = self._remember()
        changed |= self._make_bridge()
        forward = Path("/proc/sys/net/ipv4/ip_forward")
        if forward.read_text().strip() != "1":
            forward.write_text("1")
            changed = True
        return firewall.choose(self.directory / "iptables") or changed

    def _remember(self) -> bool:
        """Note what the host looks like without a cluster; only once, as later there is one."""
        if self.memory_path.exists():
            return False
        settings = {}
        for name in KERNEL_SETTINGS:
            path = Path("/proc/sys", name)
            if path.exists():
                settings[name] = path.read_text().strip()
        paths = {name: os.listdir(name) if os.path.isdir(name) else os.path.exists(name) for name in FIXED_PATHS}
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.memory_path.with_suffix(".new")
        temporary.write_text(json.dumps({"settings": settings, "paths": paths}, indent=2))
        temporary.replace(self.memory_path)
        return True

    def _make_bridge(self) -> bool:
        """The bridge carries the node's address, and the route keeps unknown Service addresses on this host."""
        changed = False
        if not Path("/sys/class/net", self.bridge).exists():
            must_run("ip", "link", "add", self.bridge, "type", "bridge")
            changed = True
        if self.address not in run("ip", "-o", "-4", "address", "show", "dev", self.bridge).stdout:
            must_run("ip", "address", "replace", self.address, "dev", self.bridge)
            changed = True
        must_run("ip", "link", "set", self.bridge, "up")
        must_run("ip", "route", "replace", self.service_subnet, "dev", self.bridge)
        address = self.address.partition("/")[0]
        if not run("ip", "route", "get", address).stdout.startswith("local "):
            raise SystemExit(f"{address} is not an address of this host; nothing is pointed at it.")
        return changed

    def restore(self) -> bool:
        if not self.directory.exists():
            return False
        self._stop_daemons()
        self._end_pods()
        self._unmount()
        if self.memory_path.exists():
            self._remove_network()
            self._remove_cgroups()
            memory = json.loads(self.memory_path.read_text())
            self._restore_paths(memory["paths"])
            for name, value in memory["settings"].items():
                Path("/proc/sys", name).write_text(value)
        shutil.rmtree(self.directory)
        return True

    def _stop_daemons(self) -> None:
        """The kubelet first, so that nothing that ends is started anew; what the others stand on last."""
        names = [path.stem for path in (self.directory / "run").glob("*.pid")]
        order = ["kubelet", *sorted(set(names) - {"kubelet", *LAST_TO_STOP}), *LAST_TO_STOP]
        for name in order:
            if name == "containerd":
                self._end_pods()
            # Nothing is kept, so nobody needs long to end; the API server would wait for its watchers.
            Daemon(self.directory, name).stop(grace=3.0)

    def _end_pods(self) -> None:
        """End the containers' processes and the shims that watch them, with or without a containerd."""
        pids = self._shims()
        if self.memory_path.exists():
            for cgroup in pod_cgroups():
                pids += [int(line) for line in (cgroup / "cgroup.procs").read_text().split()]
        for pid in set(pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        end(sorted(set(pids)), grace=5.0)

    def _shims(self) -> list[int]:
        socket = str(self.directory / "containerd" / "sock")
        return [
            pid
            for pid in all_pids()
            for argv in [command_line(pid)]
            if os.path.basename(argv[0] if argv else "").startswith("containerd-shim") and socket in argv
        ]

    def _unmount(self) -> None:
        """Everything mounted below our directory: container roots, volumes, network namespaces."""
        prefix = f"{self.directory}/"
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        targets = [line.split()[4].encode().decode("unicode_escape") for line in lines]
        for target in reversed([target for target in targets if target.startswith(prefix)]):
            if run("umount", target).returncode:
                must_run("umount", "--lazy", target)

    def _remove_network(self) -> None:
        ports = Path("/sys/class/net", self.bridge, "brif")
        for port in os.listdir(ports) if ports.exists() else []:
            run("ip", "link", "delete", port)
        if ports.exists():
            must_run("ip", "link", "delete", self.bridge)
        firewall.clean(self.directory / "iptables")

    def _remove_cgroups(self) -> None:
        deadline = time.monotonic() + 10
        while cgroups := pod_cgroups():
            for cgroup in cgroups:
                try:
                    cgroup.rmdir()
                except OSError:
                    # The kernel takes a moment to forget the last process.
                    time.sleep(0.01)
            if time.monotonic() > deadline:
                raise SystemExit(f"These control groups cannot be removed: {[str(path) for path in cgroups]}")

    def _restore_paths(self, before: dict) -> None:
        for name, content in before.items():
            path = Path(name)
            if content is False:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            elif name in KUBELET_LOGS:
                for entry in set(os.listdir(path)) - set(content):
                    gone = path / entry
                    shutil.rmtree(gone) if gone.is_dir() and not gone.is_symlink() else gone.unlink()


def main() -> None:
    command, directory, bridge, address, service_subnet = sys.argv[1:]
    if command not in ("check", "prepare", "restore"):
        raise SystemExit(__doc__)
    host = Host(Path(directory), bridge, address, service_subnet)
    print(json.dumps({"changed": getattr(host, command)()}))


if __name__ == "__main__":
    main()
