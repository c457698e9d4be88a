"""The operator while it runs, and its modules without it."""

from __future__ import annotations

import json

import pytest
from support import OPERATOR_NAMESPACE, Cluster, condition, make_task, run_module, shell, step_states
from support.installation import OPERATOR, come_back, go_away, install_variables, operator_pods, wait_ready


def test_the_operators_pod_is_restricted():
    wait_ready()
    (pod,) = operator_pods()
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    context = pod["spec"]["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    ids = OPERATOR.run("exec", pod["metadata"]["name"], "--", "id", "-u").stdout
    assert ids.strip() == "65532"


def test_the_operators_rights_are_the_least():
    def may(verb: str, resource: str) -> bool:
        user = f"system:serviceaccount:{OPERATOR_NAMESPACE}:taskflow-operator"
        resource, _, subresource = resource.partition("/")
        words = ["auth", "can-i", verb, resource, f"--subresource={subresource}", f"--as={user}", "--namespace=default"]
        return OPERATOR.run(*words, check=False).stdout.strip() == "yes"

    # A Task goes after its ttlSecondsAfterFinished; a Secret may be a pull secret.
    for verb, resource in [
        ("create", "pods"),
        ("update", "tasks.api.practice.com/status"),
        ("delete", "tasks.api.practice.com"),
        ("get", "secrets"),
    ]:
        assert may(verb, resource), (verb, resource)
    for verb, resource in [
        ("list", "secrets"),
        ("update", "secrets"),
        ("create", "pods/exec"),
        ("create", "tasks.api.practice.com"),
        ("update", "tasks.api.practice.com"),
        ("create", "deployments.apps"),
        ("get", "nodes"),
    ]:
        assert not may(verb, resource), (verb, resource)


def test_the_log_is_json_and_names_the_resource_and_the_reason(cluster):
    cluster.apply(make_task("logged", shell("a", "true")))
    cluster.finished("logged")
    log = OPERATOR.run("logs", "deployment/taskflow-operator", "--tail=200").stdout
    lines = [json.loads(line) for line in log.splitlines()]
    mine = [line for line in lines if line.get("resource") == f"Task {cluster.namespace}/logged"]
    assert mine[0]["msg"] == "run started"
    assert mine[0]["reason"] == "Task seen for the first time"


def test_metrics_are_served(cluster):
    wait_ready()
    cluster.apply(make_task("measured", shell("a", "true")))
    cluster.finished("measured")
    assert OPERATOR.get("service", "taskflow-operator-metrics")["spec"]["ports"][0]["port"] == 8080
    (pod,) = operator_pods()
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod['metadata']['name']}:8080/proxy/metrics"
    series = dict(line.rsplit(" ", 1) for line in OPERATOR.run("get", "--raw", path).stdout.splitlines())
    kind = 'GVK="api.practice.com/v1alpha1, Kind=Task"'
    assert float(series[f'ansible_operator_reconcile_result{{{kind},result="succeeded"}}']) >= 1
    assert series['leader_election_master_status{name="taskflow-operator"}'] == "1.0"


@pytest.fixture
def without_operator():
    """The cluster while no operator runs."""
    go_away()
    yield
    come_back()


def module(cluster: Cluster, name: str, task: str, *flags: str, **options: object) -> dict:
    """Run one module for a Task without the operator, with what the operator would tell it."""
    variables = install_variables()
    arguments = {"name": task, "namespace": cluster.namespace, **options}
    if name == "task_pod":
        arguments["agent_image"] = variables["taskflow_operator_agent_image"]
        arguments["registry_mirrors"] = variables["taskflow_operator_registry_mirrors"]
    return run_module(name, arguments, *flags)


def test_the_modules_do_the_whole_work_without_the_operator(without_operator, cluster):
    cluster.apply(make_task("by-hand", shell("a", "echo a"), shell("b", "exit 3")))
    planned = module(cluster, "task_pod", "by-hand", "--check", "--diff")
    assert (planned["changed"], planned["action"]) == (True, "created")
    assert cluster.pods_of("by-hand") == []
    made = module(cluster, "task_pod", "by-hand")
    assert (made["changed"], made["action"]) == (True, "created")
    again = module(cluster, "task_pod", "by-hand")
    assert (again["changed"], again["action"]) == (False, "kept")

    pod = made["pod"]["metadata"]["name"]
    cluster.wait("the Pod to end", lambda: cluster.get("pod", pod)["status"]["phase"] == "Failed")
    planned = module(cluster, "task_order", "by-hand", "--check", "--diff")
    assert planned["order"] == -1
    assert '-    "taskorder": "0"' in planned["shown"] and '+    "taskorder": "-1"' in planned["shown"]
    assert cluster.get("pod", pod)["metadata"]["annotations"]["taskorder"] == "0"
    assert module(cluster, "task_order", "by-hand")["changed"] is True
    assert module(cluster, "task_order", "by-hand")["changed"] is False
    assert cluster.get("pod", pod)["metadata"]["annotations"]["taskorder"] == "-1"

    assert module(cluster, "task_status", "by-hand", "--check")["status"]["status"] == "Failure"
    assert "status" not in cluster.task("by-hand")
    assert module(cluster, "task_status", "by-hand")["changed"] is True
    assert module(cluster, "task_status", "by-hand")["changed"] is False
    task = cluster.task("by-hand")
    assert step_states(task) == ["Succeeded", "Failed"]
    assert "exit code 3" in condition(task)["message"]
    assert module(cluster, "task_pod", "by-hand")["action"] == "finished"
    assert module(cluster, "task_pod", "no-such-task")["action"] == "absent"


@pytest.fixture
def two_replicas():
    """The operator with a second replica that stands by."""
    OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=2")
    wait_ready()
    yield
    OPERATOR.run("scale", "deployment/taskflow-operator", "--replicas=1")
    wait_ready()


def test_of_two_replicas_the_other_takes_over(two_replicas, cluster):
    def leader() -> str:
        return OPERATOR.get("lease", "taskflow-operator")["spec"].get("holderIdentity") or ""

    pods = [pod["metadata"]["name"] for pod in operator_pods()]
    first = OPERATOR.wait("a leader", lambda: next((pod for pod in pods if leader().startswith(pod)), None))
    OPERATOR.run("delete", "pod", first, "--wait=false")
    cluster.apply(make_task("taken-over", shell("a", "true"), shell("b", "true")))
    task = cluster.finished("taken-over")
    assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)
    assert leader() and not leader().startswith(first)
