"""Many Tasks at once, some of them bad: each comes to its own end, and says so. Modules that take lists of them."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support import ROOT, Cluster, Object, condition, make_task, run_module, shell, step_states

OF_EACH_KIND = 4
MODULES = ["task_pod", "task_order", "task_status", "task_reconcile"]

# By the kind's name: the Task's steps and spec, its STATUS, its reason, and words of its condition's message.
KINDS: dict[str, tuple[list[Object], Object, str, str, str]] = {
    "good": ([shell("a", "true"), shell("b", "true")], {}, "Successful", "Succeeded", "all 2 steps succeeded"),
    "failing": ([shell("a", "exit 3"), shell("b", "true")], {}, "Failure", "StepFailed", "exit code 3"),
    "invalid": (
        [shell("a", "true")],
        {"volumes": [{"name": "taskflow-x", "emptyDir": {}}]},
        "Failure",
        "InvalidSpec",
        "spec.volumes[0].name",
    ),
    "refused": (
        [{**shell("a", "true"), "volumeMounts": [{"name": "missing", "mountPath": "/m"}]}],
        {},
        "Failure",
        "Refused",
        "missing",
    ),
    "image": (
        [{"name": "a", "image": "localhost:1/no/registry:1"}],
        {},
        "Pending",
        "ImageLookupFailed",
        "localhost:1/no/registry:1",
    ),
    "suspended": ([shell("a", "true")], {"suspend": True}, "Pending", "Suspended", "spec.suspend is true"),
    "cancelled": ([shell("a", "true")], {"cancel": True}, "Cancelled", "Cancelled", "spec.cancel is true"),
}


def apply_all(cluster: Cluster, tasks: list[Object]) -> None:
    """Apply Tasks with one request after the other, and no pause between them."""
    cluster.run("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": tasks}))


def test_many_tasks_at_once_each_come_to_their_own_end(cluster):
    names = {f"{kind}-{number}": kind for number in range(OF_EACH_KIND) for kind in KINDS}
    apply_all(cluster, [make_task(name, *KINDS[kind][0], **KINDS[kind][1]) for name, kind in names.items()])
    for name, kind in names.items():
        _, _, status, reason, words = KINDS[kind]
        task = cluster.pending(name, reason) if status == "Pending" else cluster.finished(name)
        assert (task["status"]["status"], condition(task)["reason"]) == (status, reason), name
        assert words in condition(task)["message"], name
    for name, kind in names.items():
        pods = cluster.pods_of(name)
        assert len(pods) == (1 if kind in ("good", "failing") else 0), name
        created = [event["reason"] for event in cluster.events(name)].count("Created")
        assert created == len(pods), name
    assert step_states(cluster.task("good-0")) == ["Succeeded", "Succeeded"]


def test_many_tasks_wait_for_room_while_others_run(cluster):
    """A quota that lets one Pod in at a time: nobody's wait costs another its verdict."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    cluster.apply(quota)
    cluster.wait("the quota", lambda: cluster.get("resourcequota", "few").get("status", {}).get("hard"))
    names = [f"task-{number}" for number in range(6)]
    apply_all(cluster, [make_task(name, shell("a", "true")) for name in names])
    for name in names:
        task = cluster.finished(name)
        assert (task["status"]["status"], task["status"]["attempts"]) == ("Successful", 1)


@pytest.fixture
def settled(cluster) -> Cluster:
    """A namespace with Tasks that the operator has looked at, and has nothing more to do for."""
    apply_all(cluster, [make_task(name, shell("a", "true"), suspend=True) for name in ("one", "two")])
    cluster.apply(make_task("done", shell("a", "exit 4")))
    for name in ("one", "two"):
        cluster.pending(name, "Suspended")
    cluster.settled("done")
    return cluster


def given(cluster: Cluster, *names: str) -> list[Object]:
    """Return a list of Tasks as the modules take it."""
    return [{"name": name, "namespace": cluster.namespace} for name in names]


def test_a_list_gives_what_each_task_gives_alone(settled):
    targets = given(settled, "one", "gone", "done", "two")
    for module in MODULES:
        listed = run_module(module, {"tasks": targets}, "--check")
        assert listed["changed"] is False
        for target, result, resource in zip(targets, listed["results"], listed["resources"], strict=True):
            alone = run_module(module, target, "--check")
            for key in ("diff", "shown", "invocation"):
                alone.pop(key, None)
            assert result == {**target, "failed": False, **alone}
            assert resource == {**target, "failed": False, "msg": ""}


@pytest.fixture
def limited(settled, tmp_path) -> Path:
    """A kubeconfig of somebody who may read the Tasks and Pods of one namespace, and nothing else."""
    settled.run("create", "serviceaccount", "limited")
    settled.run("create", "role", "reader", "--verb=get,list", "--resource=tasks.api.practice.com,pods")
    subject = f"--serviceaccount={settled.namespace}:limited"
    settled.run("create", "rolebinding", "reader", "--role=reader", subject)
    kind = "kubernetes.io/service-account-token"
    metadata = {"name": "limited", "annotations": {"kubernetes.io/service-account.name": "limited"}}
    settled.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind})
    token = settled.wait("its token", lambda: settled.get("secret", "limited").get("data", {}).get("token"))
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for user in config["users"]:
        user["user"] = {"token": base64.b64decode(token).decode()}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def test_one_that_may_not_be_read_fails_no_other(settled, limited):
    forbidden = {"name": "one", "namespace": "default"}
    targets = [*given(settled, "one"), forbidden, *given(settled, "done")]
    listed = run_module("task_reconcile", {"tasks": targets, "kubeconfig": str(limited)})
    assert listed["shown"].startswith("localhost | SUCCESS")
    assert [result["failed"] for result in listed["results"]] == [False, True, False]
    refused = listed["results"][1]
    assert (refused["name"], refused["namespace"], refused["reason"]) == ("one", "default", "Forbidden")
    assert "could not read Task default/one" in listed["resources"][1]["msg"]
    alone = run_module("task_reconcile", {**forbidden, "kubeconfig": str(limited)})
    assert "localhost | FAILED" in alone["shown"]
    assert (alone["reason"], alone["msg"]) == ("Forbidden", refused["msg"])


@pytest.mark.parametrize("names", [["one"], ["one", "gone", "two"]])
def test_the_playbook_serves_a_task_or_a_batch_by_hand(settled, names):
    targets = given(settled, *names)
    variables = {"ansible_operator_batch": targets} if len(names) > 1 else {"ansible_operator_meta": targets[0]}
    command = ["ansible-playbook", "taskflow.operator.task", "-v", "--check", "-e", json.dumps(variables)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    actions = re.findall(r'"action": "([a-z]+)"', run.stdout)
    assert actions == ["absent" if name == "gone" else "suspended" for name in names]
