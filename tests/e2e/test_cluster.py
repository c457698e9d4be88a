"""The test cluster is what it says it is: its nodes, their network, names, volumes and images."""

from __future__ import annotations

from support import Cluster, Object, condition, make_task, shell
from support.facts import facts, needs_own_cluster
from support.nodes import ANYWHERE, on_node, ready_condition, workers

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
    serve = "mkdir /www && echo hello > /www/index.html && exec httpd -f -p 8080 -h /www"
    server = {**shell("web", serve), "image": "busybox:1.28"}
    server["readinessProbe"] = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    spec = {"containers": [server], "nodeSelector": {"kubernetes.io/hostname": home}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}
    )
    ports = [{"port": 80, "targetPort": 8080}]
    service = {"selector": {"app": "web"}, "ports": ports}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
    cluster.run("wait", "pod/web", "--for=condition=Ready", "--timeout=120s")
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


def node_of(cluster: Cluster, task: Object) -> str:
    """Return the node that a Task's Pod is on."""
    name: str = cluster.get("pod", task["status"]["podName"])["spec"]["nodeName"]
    return name
