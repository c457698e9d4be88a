"""What a Task says of its Pod: template, sidecars, ServiceAccount, resources."""

from __future__ import annotations

from support import ROOT, condition, ended_container, make_task, shell

TERMINAL = ("Succeeded", "Failed")
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


def test_the_pod_template_ends_up_in_the_pod(cluster):
    template = {
        "metadata": {
            "labels": {"team": "$(params.team)"},
            "annotations": {"example.com/owner": "tools"},
        },
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "securityContext": {"runAsUser": 1234, "runAsGroup": 1235, "fsGroup": 2345},
        "hostAliases": [{"ip": "192.0.2.10", "hostnames": ["build.example.com"]}],
        "imagePullSecrets": [{"name": "registry"}],
        "terminationGracePeriodSeconds": 7,
        "dnsPolicy": "Default",
    }
    line = f"id -u; id -g; grep -c build.example.com /etc/hosts; stat -c %g /data; test ! -e {TOKEN}"
    step = {**shell("a", line), "volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    params = [{"name": "team", "value": "x"}]
    volumes = [{"name": "data", "emptyDir": {}}]
    cluster.apply(make_task("template", step, params=params, podTemplate=template, volumes=volumes))
    task = cluster.settled("template")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "a").split() == ["1234", "1235", "1", "2345"]
    pod = cluster.get("pod", task["status"]["podName"])
    # Beside the operator's own.
    assert pod["metadata"]["labels"] == {"team": "x", "type": "taskpod", "taskname": "template"}
    annotations = pod["metadata"]["annotations"]
    assert (annotations["example.com/owner"], annotations["taskorder"]) == ("tools", "1")
    for field in template.keys() - {"metadata", "tolerations"}:
        assert pod["spec"][field] == template[field]
    assert template["tolerations"][0] in pod["spec"]["tolerations"]
    assert pod["spec"]["restartPolicy"] == "Never"


def test_a_service_account_gives_a_token(cluster):
    cluster.run("create", "serviceaccount", "builder")
    cluster.patch("serviceaccount", "builder", {"imagePullSecrets": [{"name": "registry"}]})
    cluster.apply(make_task("account", shell("a", f"test -s {TOKEN}"), serviceAccountName="builder"))
    task = cluster.settled("account")
    assert task["status"]["status"] == "Successful", condition(task)
    pod = cluster.get("pod", task["status"]["podName"])
    assert pod["spec"]["serviceAccountName"] == "builder"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_the_sidecar_example(cluster):
    cluster.apply(ROOT / "examples" / "task_sidecar_example.yaml")
    task = cluster.settled("example-taskflow-sidecar")
    assert task["status"]["status"] == "Successful", condition(task)
    assert [step["name"] for step in task["status"]["steps"]] == ["fetch", "done"]
    pod = task["status"]["podName"]
    assert cluster.logs(pod, "fetch") == "hello from the sidecar\n"

    # The server would never end by itself.
    def phase() -> str | None:
        found = cluster.get("pod", pod)
        is_over = ended_container(found, "web") and found["status"]["phase"] in TERMINAL
        return found["status"]["phase"] if is_over else None

    assert cluster.wait("the sidecar to be stopped", phase) == "Succeeded"


def test_a_sidecar_beside_the_steps_never_decides_the_verdict(cluster):
    image = {"image": "busybox:1.28"}
    sidecars = [
        {**shell("deaf", "trap '' TERM; while :; do sleep 1; done"), **image},
        {**shell("polite", "trap 'echo told to end; exit 5' TERM; while :; do sleep 1; done"), **image},
    ]
    steps = [shell("a", "sleep 1"), shell("b", "exit 4"), shell("c", "true")]
    template = {"terminationGracePeriodSeconds": 2}
    cluster.apply(make_task("passes", *steps[::2], sidecars=sidecars, podTemplate=template))
    cluster.apply(make_task("fails", *steps, sidecars=sidecars, podTemplate=template))
    passes, fails = cluster.settled("passes"), cluster.settled("fails")
    assert passes["status"]["status"] == "Successful", condition(passes)
    assert 'step "b" (2 of 3) failed: exit code 4' in condition(fails)["message"]
    for task in (passes, fails):
        name = task["status"]["podName"]
        cluster.wait("the Pod to end", lambda name=name: cluster.get("pod", name)["status"]["phase"] in TERMINAL)
        assert ended_container(cluster.get("pod", name), "deaf")
        # How they end when they are stopped is no failure.
        assert [found["type"] for found in cluster.task(task["metadata"]["name"])["status"]["conditions"]] == [
            "Succeeded"
        ]
        # Among what the shell says of its sleep: stdout and stderr reach the log each in its own time.
        assert "told to end" in cluster.logs(name, "polite").splitlines()


def test_max_requests_what_the_largest_step_does(cluster):
    # Three fifths of the largest node: it takes one such step, but not two. Other tests have nodes that are none.
    nodes = [node["status"]["allocatable"]["memory"] for node in cluster.list("nodes")]
    largest = max(int(memory.removesuffix("Ki")) for memory in nodes if memory.endswith("Ki"))
    large, small = ({"requests": {"memory": f"{largest * n // 10}Ki"}} for n in (6, 5))
    steps = [{**shell("a", "true"), "resources": small}, {**shell("b", "true"), "resources": large}]
    cluster.apply(make_task("max", *steps, resourcePolicy="Max"))
    cluster.apply(make_task("sum", *steps))
    task = cluster.settled("max")
    assert task["status"]["status"] == "Successful", condition(task)
    pod = cluster.get("pod", task["status"]["podName"])
    requests = [container["resources"]["requests"]["memory"] for container in pod["spec"]["containers"]]
    assert requests == ["0", large["requests"]["memory"]]
    assert "Insufficient memory" in condition(cluster.pending("sum", "Unschedulable"))["message"]
    assert "Insufficient memory" in cluster.event("sum", "Unschedulable")
