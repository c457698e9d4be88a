"""The modules for platform teams, run by Ansible against the cluster and its operator."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from support import ROOT, Cluster, Object, make_task, run_module, shell
from support.builds import Source, make_build

STEPS = [
    {
        **shell("say", 'printf 42 > "$(results.answer.path)"'),
        "image": "busybox:1.28",
        "results": [{"name": "answer"}],
    },
    {**shell("end", "true"), "image": "busybox:1.28"},
]


def have(cluster: Cluster, name: str, *flags: str, module: str = "task", **arguments: object) -> Object:
    """Run task, or another module, for a resource of the test's namespace."""
    return run_module(module, {"name": name, "namespace": cluster.namespace, **arguments}, *flags)


def test_a_task_is_made_waited_for_and_made_no_second_time(cluster):
    spec = {"steps": STEPS}
    would = have(cluster, "demo", "--check", "--diff", spec=spec, wait=True)
    assert (would["changed"], would["state"]) == (True, "Pending")
    assert "+" in would["shown"] and "-    " not in would["shown"]
    assert cluster.list("tasks") == []
    made = have(cluster, "demo", spec=spec, wait=True)
    assert (made["changed"], made["state"]) == (True, "Successful"), made
    assert [step["state"] for step in made["status"]["steps"]] == ["Succeeded", "Succeeded"]
    assert made["step_results"] == {"say": {"answer": "42"}}
    again = have(cluster, "demo", spec=spec, wait=True)
    assert (again["changed"], again["state"], again["status"]) == (False, "Successful", made["status"])
    spec["timeout"] = "5m"
    changed = have(cluster, "demo", "--diff", spec=spec, wait=True)
    assert changed["changed"] and '+        "timeout": "5m"' in changed["shown"]
    assert changed["status"]["observedGeneration"] == made["status"]["observedGeneration"] + 1
    gone = have(cluster, "demo", state="absent", wait=True)
    assert gone["changed"] is True
    assert cluster.list("tasks") == []
    assert have(cluster, "demo", state="absent")["changed"] is False


def test_a_failed_task_fails_the_module_with_the_last_lines_of_its_log(cluster):
    steps = [{**shell("count", "seq 30; exit 3"), "image": "busybox:1.28"}]
    failed = have(cluster, "bad", spec={"steps": steps}, wait=True, log_lines=2)
    assert "FAILED!" in failed["shown"]
    assert (failed["changed"], failed["state"]) == (True, "Failure")
    assert (failed["failed_step"], failed["log"]) == ("count", ["29", "30"])
    assert 'step "count" (1 of 1) failed: exit code 3' in failed["msg"]
    assert failed["msg"].endswith("\n29\n30")
    # It is judged again, and not run again.
    again = have(cluster, "bad", spec={"steps": steps}, wait=True)
    assert "FAILED!" in again["shown"] and again["changed"] is False


def test_what_can_not_be_is_said_with_its_field(cluster):
    refused = have(cluster, "no", spec={"steps": []})
    assert (refused["reason"], refused["permanent"]) == ("Refused", True)
    assert "spec.steps" in refused["msg"]
    late = have(cluster, "slow", spec={"steps": [STEPS[1]], "suspend": True}, wait=True, wait_timeout=2)
    assert (late["reason"], late["changed"]) == ("Timeout", True)
    assert "is Pending after 2 s" in late["msg"] and "spec.suspend" in late["msg"]
    nowhere = run_module("task", {"name": "a", "namespace": "no-such-namespace", "spec": {"steps": STEPS}})
    assert "no-such-namespace" in nowhere["msg"]


def test_a_definition_adds_its_labels_to_those_that_are_there(cluster):
    definition = make_task("demo", shell("a", "true"), suspend=True)
    cluster.apply(definition)
    cluster.run("label", "task", "demo", "team=a")
    definition["metadata"] = {"name": "demo", "namespace": cluster.namespace, "labels": {"tier": "test"}}
    assert run_module("task", {"definition": definition})["changed"] is True
    assert cluster.task("demo")["metadata"]["labels"] == {"team": "a", "tier": "test"}
    assert run_module("task", {"definition": definition})["changed"] is False


def test_tasks_are_found_by_name_label_and_state(cluster):
    for name, team in (("one", "a"), ("two", "a"), ("three", "b")):
        definition = make_task(name, shell("a", "exit 1" if name == "two" else "true"))
        definition["metadata"] = {"name": name, "namespace": cluster.namespace, "labels": {"team": team}}
        run_module("task", {"definition": definition})
    for name in ("one", "two", "three"):
        cluster.finished(name)

    def names(**arguments: object) -> list[str]:
        found = run_module("task_info", {"namespaces": [cluster.namespace], **arguments})
        return sorted(task["metadata"]["name"] for task in found["tasks"])

    assert names() == ["one", "three", "two"]
    assert names(label_selectors=["team=a"]) == ["one", "two"]
    assert names(label_selectors=["team=a"], states=["Failure"]) == ["two"]
    assert names(name="three") == ["three"]
    assert names(name="four") == []
    everywhere = run_module("task_info", {"label_selectors": ["team=b"], "name": "three"})
    assert cluster.namespace in [task["metadata"]["namespace"] for task in everywhere["tasks"]]


def test_a_build_is_made_waited_for_and_made_no_second_time(cluster, source: Source, url: str):
    spec = make_build("site", url)["spec"]
    made = have(cluster, "site", module="build", spec=spec, wait=True)
    assert (made["changed"], made["state"], made["status"]["revision"]) == (True, "Successful", source.first), made
    assert have(cluster, "site", module="build", spec=spec, wait=True)["changed"] is False
    failed = have(cluster, "bad", module="build", spec=make_build("bad", url, "no-such")["spec"], wait=True)
    assert failed["failed_step"] == "clone"
    assert any("no-such" in line for line in failed["log"])


@pytest.fixture
def play(cluster: Cluster, tmp_path: Path):
    """Return what runs tasks in a play whose modules share their defaults, and returns what Ansible wrote."""

    def run(*tasks: Object) -> str:
        shared = {"namespace": cluster.namespace, "kubeconfig": os.environ["KUBECONFIG"]}
        playbook = tmp_path / "play.yml"
        defaults = {"group/taskflow.operator.taskflow": shared}
        content = {"hosts": "localhost", "gather_facts": False, "module_defaults": defaults, "tasks": list(tasks)}
        playbook.write_text(yaml.safe_dump([content]))
        environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}
        command = ["ansible-playbook", str(playbook)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_all_modules_share_the_defaults_of_their_group(cluster, play):
    said = play(
        {"taskflow.operator.task": {"name": "demo", "spec": {"steps": STEPS}, "wait": True}, "register": "made"},
        {"taskflow.operator.task_info": {"name": "demo"}, "register": "found"},
        {"taskflow.operator.task_reconcile": {"name": "demo"}},
        {"taskflow.operator.task_status": {"name": "demo"}},
        {"taskflow.operator.image_info": {"images": ["nginx@bad"]}, "register": "image", "failed_when": False},
        {"taskflow.operator.build": {"name": "none", "state": "absent"}},
        {
            "ansible.builtin.debug": {
                "msg": "{{ [made.state, found.tasks[0].metadata.namespace, image.reason] | to_json }}"
            }
        },
    )
    assert json.dumps(["Successful", cluster.namespace, "InvalidImageName"]) in said.replace("\\", "")


def test_a_host_and_a_token_are_enough(cluster, tmp_path):
    """As with kubernetes.core; the kubeconfig that the environment names is not asked."""
    rights = ["--verb=get,list", "--resource=tasks.api.practice.com"]
    cluster.run("create", "role", "reader", *rights)
    cluster.run("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={cluster.namespace}:default")
    token = cluster.run("create", "token", "default").stdout.strip()
    view = json.loads(cluster.run("config", "view", "--raw", "--minify", "-o", "json").stdout)["clusters"][0]["cluster"]
    authority = tmp_path / "ca.crt"
    authority.write_bytes(base64.b64decode(view["certificate-authority-data"]))
    access = {"host": view["server"], "api_key": token, "ca_cert": str(authority)}
    cluster.apply(make_task("seen", {**shell("a", "true"), "image": "busybox:1.28"}))
    found = run_module("task_info", {"namespaces": [cluster.namespace], **access})
    assert [task["metadata"]["name"] for task in found["tasks"]] == ["seen"]
    assert token not in found["shown"] + json.dumps(found)
    refused = run_module("task_info", {"namespaces": ["kube-system"], **access})
    assert "FAILED!" in refused["shown"] and refused["reason"] == "Forbidden", refused
