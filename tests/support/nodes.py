"""The nodes of the test cluster: containers of the engine, and Node objects of Kubernetes.

What a test does to a node is undone by the context manager that did it, whatever became of the test.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterator

from .engine import CommandError, engine
from .facts import facts
from .kubectl import Cluster, Object

SECONDS = 240.0
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
# kubectl for what is in no namespace.
ANYWHERE = Cluster("default")


def node_run(node: str, *words: str, stdin: str | None = None) -> str:
    """Run a command in a node, and return what it printed."""
    return engine("exec", *(["--interactive"] if stdin is not None else []), node, *words, stdin=stdin)


def crictl(node: str, *words: str) -> str:
    """Run crictl in a node. By itself it waits for no more than two seconds, which a busy node may take."""
    return node_run(node, "crictl", "--timeout=60s", *words)


def ctr(node: str, *words: str) -> str:
    """Run ctr in a node, on what belongs to Kubernetes."""
    return node_run(node, "ctr", "--namespace", "k8s.io", *words)


def running_containers(node: str, pod: str) -> list[str]:
    """Return the ids of a Pod's containers that run, as the container runtime has it."""
    return crictl(node, "ps", "--quiet", "--label", f"io.kubernetes.pod.name={pod}").split()


def node_object(node: str) -> Object | None:
    """Return the Node object; None if there is none."""
    return next((found for found in ANYWHERE.list("nodes") if found["metadata"]["name"] == node), None)


def workers() -> list[str]:
    """Return the names of the nodes that take Pods of anybody."""
    mine = [node for node in ANYWHERE.list("nodes") if node["metadata"]["name"] in facts().nodes]
    return [node["metadata"]["name"] for node in mine if CONTROL_PLANE not in node["metadata"]["labels"]]


def quiet_workers(*namespaces: str) -> list[str]:
    """Return the workers on which no Pod of these namespaces is, such as the operator's."""
    busy = {pod["spec"].get("nodeName") for name in namespaces for pod in Cluster(name).list("pods")}
    return [node for node in workers() if node not in busy]


def ready_condition(node: str) -> Object:
    """Return a node's condition Ready; empty if there is none."""
    found = node_object(node) or {"status": {}}
    conditions: list[Object] = found["status"].get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Ready"), {})


def wait_for(what: str, test: Callable[[], object], seconds: float = SECONDS) -> None:
    """Wait until test() is true."""
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            nodes = ANYWHERE.run("get", "nodes", "-o", "wide", check=False)
            raise TimeoutError(f"waited {seconds:g} s for {what}\n{nodes.stdout}{nodes.stderr}")
        time.sleep(0.5)


def wait_ready(node: str, since: float = 0.0) -> None:
    """Wait until a node's kubelet has said, after a time of time.time(), that the node is Ready."""

    def ready() -> bool:
        condition = ready_condition(node)
        said = condition.get("lastHeartbeatTime") or "1970-01-01T00:00:00Z"
        # A Node says whole seconds.
        told_since = datetime.datetime.fromisoformat(said).timestamp() >= int(since)
        return told_since and condition.get("status") == "True"

    wait_for(f"node {node} to be Ready", ready)


def wait_not_ready(node: str) -> None:
    """Wait until the cluster sees that a node's kubelet is silent, which takes it the better part of a minute."""
    wait_for(f"node {node} to be seen as lost", lambda: ready_condition(node).get("status") != "True")


def start_node(node: str) -> None:
    """Start a node's container, unless it runs, and wait until the node is Ready."""
    since = time.time()
    engine("start", node)
    wait_ready(node, since)


@contextlib.contextmanager
def node_stopped(node: str, at_once: bool = False) -> Iterator[None]:
    """Stop a node; ``at_once`` as by a power cut. It is started again at the end."""
    # Nothing of it has ended by itself, then.
    engine(*(["kill"] if at_once else ["stop", "-t", "30"]), node)
    try:
        yield
    finally:
        start_node(node)


@contextlib.contextmanager
def node_paused(node: str) -> Iterator[None]:
    """Cut a node off: its processes stand still, and go on at the end."""
    engine("pause", node)
    try:
        yield
    finally:
        since = time.time()
        engine("unpause", node)
        wait_ready(node, since)


@contextlib.contextmanager
def node_removed(node: str) -> Iterator[None]:
    """Stop a node at once and delete its Node object. At the end it is started, and its kubelet registers it anew."""
    before = node_object(node)
    if before is None:
        raise LookupError(f"there is no node {node}")
    engine("kill", node)
    try:
        ANYWHERE.run("delete", "node", node)
        yield
    finally:
        start_node(node)
        # The kubelet knows not all of them.
        labels = [f"{key}={value}" for key, value in before["metadata"]["labels"].items()]
        ANYWHERE.run("label", "node", node, "--overwrite", *labels)


@contextlib.contextmanager
def node_cordoned(node: str) -> Iterator[None]:
    """Let a node take no new Pods, until the end."""
    ANYWHERE.run("cordon", node)
    try:
        yield
    finally:
        ANYWHERE.run("uncordon", node)


@contextlib.contextmanager
def node_drained(node: str) -> Iterator[None]:
    """Evict all Pods but those of DaemonSets from a node, which takes no new ones until the end."""
    words = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"]
    try:
        ANYWHERE.run("drain", node, *words)
        yield
    finally:
        ANYWHERE.run("uncordon", node)


@contextlib.contextmanager
def unit_stopped(node: str, unit: str) -> Iterator[None]:
    """Stop a service of systemd in a node, and start it at the end."""
    node_run(node, "systemctl", "stop", unit)
    try:
        yield
    finally:
        since = time.time()
        node_run(node, "systemctl", "start", unit)
        if unit == "kubelet":
            wait_ready(node, since)
        else:
            wait_for(f"{unit} of node {node} to answer", lambda: _answers(node))
            wait_ready(node)


def kubelet_stopped(node: str) -> contextlib.AbstractContextManager[None]:
    """Stop a node's kubelet; its containers go on. It is started again at the end."""
    return unit_stopped(node, "kubelet")


def containerd_stopped(node: str) -> contextlib.AbstractContextManager[None]:
    """Stop a node's containerd; its containers go on. It is started again at the end."""
    return unit_stopped(node, "containerd")


def on_node(node: str, must: bool = True, **more: object) -> Object:
    """Return a podTemplate for a node: it must be that one, or may be another if it takes no Pods."""
    wanted = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    if must:
        affinity: Object = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [wanted]}}
    else:
        affinity = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wanted}]}
    return {"affinity": {"nodeAffinity": affinity}, **more}


def leaving_after(seconds: int) -> Object:
    """Return the part of a podTemplate that has a Pod taken from a lost node after some seconds, and not minutes."""
    conditions = ("unreachable", "not-ready")
    keys = [f"node.kubernetes.io/{name}" for name in conditions]
    rest = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
    return {"tolerations": [{"key": key, **rest} for key in keys]}


def _answers(node: str) -> bool:
    try:
        crictl(node, "version")
    except CommandError:
        return False
    return True
