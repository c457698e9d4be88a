"""The test cluster is what it says it is: its nodes, their network, names, volumes and images."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

import pytest
from support import Cluster, Object, condition, make_task, shell
from support.facts import facts, needs_own_cluster
from support.nodes import ANYWHERE, node_run, on_node, ready_condition, workers

pytestmark = needs_own_cluster
# The images that the examples and the tests name, each with a command that it has.
IMAGES = {
    "busybox:1.28": ["true"],
    "alpine/git:2.47.2": ["git", "version"],
    "devopscube/kubernetes-job-demo:latest": ["sh", "-c", "true"],
    "taskflow/static-hello:1": ["/hello"],
}


def test_it_has_three_nodes_of_its_version():
    found = {node["metadata"]["name"]: node for node in ANYWHERE.list("nodes")}
    assert len(facts().nodes) == 3 and set(facts().nodes) <= found.keys()
    for name in facts().nodes:
        assert ready_condition(name)["status"] == "True"
        assert found[name]["status"]["nodeInfo"]["kubeletVersion"] == f"v{facts().kubernetes}"
    assert len(workers()) == 2


def test_every_node_pulls_the_images(cluster):
    anywhere = {"tolerations": [{"operator": "Exists"}]}
    for node in facts().nodes:
        steps = [
            {"name": f"image-{number}", "image": image, "command": command, "imagePullPolicy": "Always"}
            for number, (image, command) in enumerate(IMAGES.items())
        ]
        cluster.apply(make_task(node, *steps, podTemplate=on_node(node, **anywhere)))
    for node in facts().nodes:
        task = cluster.finished(node)
        assert task["status"]["status"] == "Successful", condition(task)
        assert node_of(cluster, task) == node


def test_pods_on_different_nodes_reach_each_other_by_name(cluster):
    home, *_ = workers()
    make_server(cluster, "web", home)
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"selector": {"app": "web"}, "ports": ports}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
    address = cluster.get("service", "web")["spec"]["clusterIP"]
    name = f"web.{cluster.namespace}.svc.cluster.local"
    # An address for IPv6, which there is none of, may make nslookup fail.
    ask = shell("ask", f"nslookup {name}; until wget -q -O - http://web; do sleep 0.2; done")
    for node in workers():
        cluster.apply(make_task(f"on-{node}", ask, podTemplate=on_node(node)))
    for node in workers():
        task = cluster.finished(f"on-{node}")
        assert task["status"]["status"] == "Successful", condition(task)
        log = cluster.logs(task["status"]["podName"], "ask")
        assert address in log and log.splitlines()[-1] == "hello"


def test_a_volume_goes_from_task_to_task(cluster):
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    cluster.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": claim})
    for name, line in (("write", "echo from the first > /kept/file"), ("read", "cat /kept/file")):
        step = {**shell("a", line), "volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
        volumes = [{"name": "kept", "persistentVolumeClaim": {"claimName": "kept"}}]
        cluster.apply(make_task(name, step, volumes=volumes))
        task = cluster.finished(name)
        assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.get("pvc", "kept")["status"]["phase"] == "Bound"
    assert cluster.logs(task["status"]["podName"], "a") == "from the first\n"


# What a policy allows to the Pod friend, and not to the others; the server has 8080, by the name of http, and 9090.
ALLOWED = {
    "by its label": ({"podSelector": {"matchLabels": {"app": "friend"}}}, [{"port": 8080}]),
    "by its namespace's label, too": (
        {
            "podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["friend"]}]},
            "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]},
        },
        [{"port": "http"}],
    ),
    "by its address": ({"ipBlock": {"cidr": "FRIEND/32"}}, [{"port": 8000, "endPort": 8100}]),
    "by the addresses of the others": (
        {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["STRANGER/32", "NEIGHBOUR/32"]}},
        [{"protocol": "UDP"}, {"protocol": "TCP", "port": 8080}],
    ),
}


def test_a_network_policy_lets_in_what_it_allows(cluster):
    home, away = workers()
    make_server(cluster, "web", home)
    for name, node in (("friend", away), ("stranger", away), ("neighbour", home)):
        make_server(cluster, name, node)
    addresses = {name: address_of(cluster, name) for name in ("friend", "stranger", "neighbour")}
    assert all(reaches(cluster, name, "web") for name in addresses)
    cluster.apply(make_policy("nothing", "web", policyTypes=["Ingress"]))
    for name in addresses:
        cluster.wait(f"{name} to be kept out", lambda name=name: not reaches(cluster, name, "web"))
    # Nothing was said of other Pods, and of what the server itself may ask for.
    assert reaches(cluster, "stranger", "friend") and reaches(cluster, "web", "stranger")
    for how, (peer, ports) in ALLOWED.items():
        text = json.dumps({"from": [peer], "ports": ports})
        for name, address in addresses.items():
            text = text.replace(name.upper(), address)
        cluster.apply(make_policy("one", "web", policyTypes=["Ingress"], ingress=[json.loads(text)]))
        cluster.wait(f"friend to be let in {how}", lambda: reaches(cluster, "friend", "web"))
        assert not reaches(cluster, "stranger", "web") and not reaches(cluster, "neighbour", "web"), how
        assert not reaches(cluster, "friend", "web", 9090), how
        cluster.run("delete", "networkpolicy", "one")
        cluster.wait("friend to be kept out again", lambda: not reaches(cluster, "friend", "web"))
    cluster.run("delete", "networkpolicy", "nothing")
    cluster.wait("a stranger to be let in", lambda: reaches(cluster, "stranger", "web"))


def test_a_network_policy_lets_out_what_it_allows(cluster):
    home, away = workers()
    for name, node in (("friend", home), ("other", home), ("client", away)):
        make_server(cluster, name, node)
    assert reaches(cluster, "client", "friend") and reaches(cluster, "client", "other")
    cluster.apply(make_policy("nothing", "client", policyTypes=["Egress"]))
    for name in ("friend", "other"):
        cluster.wait(f"{name} to be out of reach", lambda name=name: not reaches(cluster, "client", name))
    assert reaches(cluster, "friend", "client")  # whose answers go out
    to = [{"podSelector": {"matchLabels": {"app": "friend"}}}]
    cluster.apply(
        make_policy("one", "client", policyTypes=["Egress"], egress=[{"to": to, "ports": [{"port": "http"}]}])
    )
    cluster.wait("friend to be in reach", lambda: reaches(cluster, "client", "friend"))
    assert not reaches(cluster, "client", "other") and not reaches(cluster, "client", "friend", 9090)


@contextlib.contextmanager
def without_nft(node: str) -> Iterator[None]:
    """Have the agent that writes a node's packet filter find no nft."""
    pid = node_run(node, "sh", "-c", "pidof node-agent || true").strip()
    if not pid:
        pytest.skip("the node image is kind's, which has another network")
    path = f"/proc/{pid}/root/usr/sbin/nft"
    node_run(node, "mv", path, f"{path}.away")
    try:
        yield
    finally:
        node_run(node, "mv", f"{path}.away", path)


def test_a_network_policy_that_could_not_be_applied_is_tried_again(cluster):
    home, away = workers()
    make_server(cluster, "web", home)
    make_server(cluster, "client", away)
    with without_nft(home):
        cluster.apply(make_policy("nothing", "web", policyTypes=["Ingress"]))
        time.sleep(3)
        assert reaches(cluster, "client", "web")
    cluster.wait("the client to be kept out", lambda: not reaches(cluster, "client", "web"))


def make_server(cluster: Cluster, name: str, node: str) -> None:
    """Have a Pod on a node that says hello on two ports, with its name as its label app."""
    serve = "mkdir /www && echo hello > /www/index.html && httpd -p 9090 -h /www && exec httpd -f -p 8080 -h /www"
    server = {**shell("web", serve), "image": "busybox:1.28", "ports": [{"name": "http", "containerPort": 8080}]}
    server["readinessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    spec = {"containers": [server], "nodeSelector": {"kubernetes.io/hostname": node}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}
    )
    cluster.run("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")


def address_of(cluster: Cluster, pod: str) -> str:
    """Return a Pod's address."""
    address: str = cluster.get("pod", pod)["status"]["podIP"]
    return address


def reaches(cluster: Cluster, client: str, server: str, port: int = 8080) -> bool:
    """Tell whether a Pod gets an answer of a server within two seconds."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {address_of(cluster, server)} {port}"
    return "hello" in cluster.run("exec", client, "--", "sh", "-c", ask, check=False).stdout


def make_policy(name: str, pod: str, **spec: object) -> Object:
    """Return a NetworkPolicy for the Pod of a name."""
    spec["podSelector"] = {"matchLabels": {"app": pod}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}


def node_of(cluster: Cluster, task: Object) -> str:
    """Return the node that a Task's Pod is on."""
    name: str = cluster.get("pod", task["status"]["podName"])["spec"]["nodeName"]
    return name
