"""What can happen to one Pod on its node behind Kubernetes' back: its containers, its sandbox, its files."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from support.kubectl import Object
from support.nodes import crictl, node_run

# Kills the one process that is the shim of a sandbox: its command line has the sandbox's id.
_KILL_SHIM = """
for process in /proc/[0-9]*; do
    grep -q '^containerd-shim' $process/comm 2>/dev/null || continue
    grep -q "$1" $process/cmdline && kill -9 "${process#/proc/}" && echo killed
done
true
"""
# Takes all inotify instances that a user may have, says how many, and holds them until its input ends. A process may
# have fewer descriptors than that.
_TAKE_INOTIFY = """
import ctypes, os, resource, sys
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
os.setuid(int(sys.argv[1]))
libc, total, taken = ctypes.CDLL(None), 0, most
while taken > most - 32:
    receive, send = os.pipe()
    if not os.fork():
        taken = 0
        while libc.inotify_init1(0) >= 0:
            taken += 1
        os.write(send, b"%d" % taken)
        sys.stdin.read()
        os._exit(0)
    taken = int(os.read(receive, 20))
    total += taken
print(total, flush=True)
sys.stdin.read()
"""


def uid_of(pod: Object) -> str:
    """Return a Pod's UID."""
    uid: str = pod["metadata"]["uid"]
    return uid


def node_of(pod: Object) -> str:
    """Return the node that a Pod is on."""
    node: str = pod["spec"]["nodeName"]
    return node


def container_of(pod: Object, step: str, *flags: str) -> str:
    """Return the id of a step's container, as the runtime has it; with ``--all``, of one that has ended."""
    labels = ("--name", f"^{step}$", "--label", f"io.kubernetes.pod.uid={uid_of(pod)}")
    return crictl(node_of(pod), "ps", "--quiet", *flags, *labels).split()[0]


def sandbox_of(pod: Object) -> str:
    """Return the id of a Pod's sandbox."""
    return crictl(node_of(pod), "pods", "--quiet", "--label", f"io.kubernetes.pod.uid={uid_of(pod)}").split()[0]


def kill_shim(pod: Object, sandbox: str = "") -> None:
    """Kill the process that stands between containerd and a Pod's containers.

    Args:
        pod: the Pod.
        sandbox: the id of its sandbox, where containerd is away and can't be asked.
    """
    killed = node_run(node_of(pod), "sh", "-c", _KILL_SHIM, "sh", sandbox or sandbox_of(pod))
    if killed.split() != ["killed"]:
        raise LookupError(f"the Pod's sandbox has not one shim: {killed!r}")


@contextlib.contextmanager
def volume_full(pod: Object, volume: str) -> Iterator[None]:
    """Let an emptyDir of a Pod have no room. Containers that are made from now on see that."""
    path = f"/var/lib/kubelet/pods/{uid_of(pod)}/volumes/kubernetes.io~empty-dir/{volume}"
    node = node_of(pod)
    node_run(node, "mount", "-t", "tmpfs", "-o", "size=4k,mode=777", "full", path)
    try:
        # The only page there is.
        node_run(node, "sh", "-c", f"head -c 4096 /dev/zero >{path}/fill")
        yield
    finally:
        node_run(node, "umount", "--lazy", path)


@contextlib.contextmanager
def no_inotify(user: int) -> Iterator[int]:
    """Leave a user of this host, and so of its nodes, no inotify instance; yield how many were taken."""
    command = [sys.executable, "-c", _TAKE_INOTIFY, str(user)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as taker:
        assert taker.stdin and taker.stdout
        taken = int(taker.stdout.readline() or 0)
        try:
            yield taken
        finally:
            taker.stdin.close()
