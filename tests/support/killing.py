"""Kill what nobody can kill from inside of its container."""

from __future__ import annotations

from .kubectl import Cluster, ended_container

BUSYBOX = {"image": "busybox:1.28"}
# Kills what is the first process of the container $ID, as nobody inside of it can.
KILL = """
for process in /proc/[0-9]*; do
    grep -q "$ID" $process/cgroup 2>/dev/null || continue
    grep -q '^NSpid:.*[[:space:]]1$' $process/status && kill -9 ${process#/proc/} && echo killed >>/dev/termination-log
done
"""


def kill_from_outside(cluster: Cluster, pod: str, container: str) -> None:
    """Send SIGKILL to the first process of a container, from its node."""
    statuses = cluster.get("pod", pod)["status"]["containerStatuses"]
    container_id = next(s["containerID"] for s in statuses if s["name"] == container).rpartition("/")[2]
    killer = {"name": "kill", "command": ["sh", "-c", KILL], "env": [{"name": "ID", "value": container_id}], **BUSYBOX}
    killer["securityContext"] = {"privileged": True}
    node = cluster.get("pod", pod)["spec"]["nodeName"]
    spec = {"restartPolicy": "Never", "hostPID": True, "nodeName": node, "containers": [killer]}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "killer"}, "spec": spec})
    ended = cluster.wait("the kill", lambda: ended_container(cluster.get("pod", "killer"), "kill"))
    assert "killed" in ended.get("message", ""), ended
