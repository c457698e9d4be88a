"""The modules task, build, task_info and image_info, on an API server made of dictionaries."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import SERVICE_ACCOUNT
from ansible_collections.taskflow.operator.plugins.module_utils._module import apply
from ansible_collections.taskflow.operator.plugins.module_utils._module import find as _find
from ansible_collections.taskflow.operator.plugins.module_utils._module import resource_module as _wanted_module
from ansible_collections.taskflow.operator.plugins.modules import build, image_info, task, task_info

Object = dict[str, Any]

MODULES = {"task": task, "build": build, "task_info": task_info, "image_info": image_info}
SPEC = {"steps": [{"name": "a", "image": "i", "command": ["c"]}]}
CONFLICT = TaskError("Conflict", "changed meanwhile")


class Server(Api):
    """An API server: it fills in a default, drops what it does not know, and refuses what comes too late.

    ``meanwhile`` are done one after the other before each request that changes something; ``calls`` has all requests.
    """

    def __init__(self) -> None:
        self.things: dict[str, Object] = {}
        self.calls: list[tuple[str, str, Object]] = []
        self.meanwhile: list[Any] = []
        self.log_lines = b""

    def request(self, what, method, path, query=None, body=None, *, content_type="") -> Object:
        query = dict(query or {})
        self.calls.append((method, path, query))
        if method == "GET":
            return self._read(path)
        if self.meanwhile:
            self.meanwhile.pop(0)()
        path = f"{path}/{body['metadata']['name']}" if method == "POST" else path
        if method == "DELETE":
            return self.things.pop(path)
        answer = self._changed(method, path, copy.deepcopy(body))
        if "dryRun" not in query:
            self.things[path] = answer
        return copy.deepcopy(answer)

    def send(self, what, method, path, query=None, body=None, *, content_type="") -> bytes:
        self.calls.append((method, path, dict(query or {})))
        return self.log_lines

    def _read(self, path: str) -> Object:
        if path in self.things:
            return copy.deepcopy(self.things[path])
        if path.rpartition("/")[2] in ("tasks", "builds"):
            group, _slash, plural = path.rpartition("/")
            return {"items": [self.things[p] for p in self.things if p.startswith(group) and f"/{plural}/" in p]}
        raise TaskError("NotFound", "not found")

    def _changed(self, method: str, path: str, body: Object) -> Object:
        live = self.things.get(path)
        if method == "POST" and live:
            raise TaskError("AlreadyExists", "there already")
        if method == "PUT" and not live:
            raise TaskError("NotFound", "gone")
        if live and body["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
            raise CONFLICT
        body["spec"] = {"handoff": "Local", **{k: v for k, v in body["spec"].items() if k != "timout"}}
        before = (
            live["metadata"] if live else {"uid": f"uid-{len(self.calls)}", "generation": 0, "resourceVersion": "0"}
        )
        changed = not live or live["spec"] != body["spec"]
        generation = before["generation"] + changed
        body["metadata"] |= {"uid": before["uid"], "generation": generation}
        body["metadata"]["resourceVersion"] = str(int(before["resourceVersion"]) + 1)
        return body

    def touch(self, path: str, **status: Any) -> None:
        """Have somebody else change a resource: its status."""
        thing = self.things[path]
        thing["metadata"]["resourceVersion"] = str(int(thing["metadata"]["resourceVersion"]) + 1)
        thing["status"] = {"observedGeneration": thing["metadata"]["generation"], **status}


DEMO = "/apis/api.practice.com/v1alpha1/namespaces/default/tasks/demo"


@pytest.fixture
def server(monkeypatch) -> Server:
    server = Server()
    for module in (_wanted_module, task_info, image_info):
        monkeypatch.setattr(module, "Api", lambda *_args: server)
    return server


@pytest.fixture
def run(server, capsys):
    """Return what runs a module, and returns its result."""

    def run(which: str, check: bool = False, **arguments: Any) -> Object:
        with patch_module_args({**arguments, "_ansible_check_mode": check}), pytest.raises(SystemExit):
            MODULES[which].main()
        result: Object = json.loads(capsys.readouterr().out)
        return result

    return run


@pytest.fixture
def ends(server, monkeypatch):
    """Return what sets which status a resource has after the first look at it while it is waited for."""

    def set_status(path: str = DEMO, **status: Any) -> None:
        monkeypatch.setattr(apply.time, "sleep", lambda _seconds: server.touch(path, **status))

    return set_status


def test_a_resource_is_created_changed_and_left_alone(run, server):
    assert run("task", name="demo", spec=SPEC)["changed"] is True
    assert server.things[DEMO]["kind"] == "Task"
    version = server.things[DEMO]["metadata"]["resourceVersion"]
    same = run("task", name="demo", spec=SPEC)
    assert (same["changed"], same["diff"]["before"]) == (False, same["diff"]["after"])
    assert same["resource"]["metadata"]["uid"] == server.things[DEMO]["metadata"]["uid"]
    changed = run("task", name="demo", spec={**SPEC, "handoff": "Annotation"})
    assert changed["diff"]["before"]["spec"]["handoff"] == "Local"
    assert changed["diff"]["after"]["spec"]["handoff"] == "Annotation"
    # What is not given any more has its default again.
    assert run("task", name="demo", spec=SPEC)["diff"]["after"]["spec"]["handoff"] == "Local"
    assert int(server.things[DEMO]["metadata"]["resourceVersion"]) > int(version)


def test_check_mode_asks_and_changes_nothing(run, server):
    assert run("task", check=True, name="demo", spec=SPEC, wait=True)["changed"] is True
    assert (server.things, server.calls[-1][2]) == ({}, {"dryRun": "All"})
    run("task", name="demo", spec=SPEC)
    before = copy.deepcopy(server.things)
    assert run("task", check=True, name="demo", spec={"steps": []})["changed"] is True
    assert run("task", check=True, name="demo", spec=SPEC)["changed"] is False
    assert run("task", check=True, name="demo", state="absent", wait=True)["changed"] is True
    assert server.things == before


def test_others_may_change_it_meanwhile(run, server):
    server.meanwhile = [lambda: run("task", name="demo", spec=SPEC), lambda: None, lambda: server.touch(DEMO)]
    result = run("task", name="demo", spec={**SPEC, "handoff": "Annotation"})
    assert (result["changed"], server.things[DEMO]["spec"]["handoff"]) == (True, "Annotation")
    server.meanwhile = [lambda: server.things.pop(DEMO)]
    assert run("task", name="demo", spec=SPEC)["changed"] is True
    server.meanwhile = [lambda: server.touch(DEMO)] * 20
    refused = run("task", name="demo", spec=SPEC)
    assert (refused["failed"], refused["reason"]) == (True, "Conflict")


def test_one_that_is_being_deleted_is_not_changed(run, server):
    run("task", name="demo", spec=SPEC)
    server.things[DEMO]["metadata"]["deletionTimestamp"] = "2024-01-06T22:20:00Z"
    refused = run("task", name="demo", spec=SPEC)
    assert (refused["reason"], refused["msg"][:34]) == ("Deleting", "Task default/demo is being deleted")


def test_a_definition_has_name_labels_and_spec_and_adds_to_what_is_there(run, server):
    metadata = {"name": "demo", "labels": {"a": "1"}}
    run("task", definition={"metadata": metadata, "spec": SPEC})
    assert run("task", definition={"metadata": metadata, "spec": SPEC})["changed"] is False
    other = {"apiVersion": "api.practice.com/v1alpha1", "kind": "Task", "spec": SPEC}
    other["metadata"] = {"name": "demo", "labels": {"b": "2"}, "annotations": {"c": "3"}}
    assert run("task", definition=other)["changed"] is True
    live = server.things[DEMO]["metadata"]
    assert (live["labels"], live["annotations"]) == ({"a": "1", "b": "2"}, {"c": "3"})
    # A Build's annotation asks for another build of the same spec.
    ask = {"metadata": {"name": "site", "namespace": "ci", "annotations": {"build.taskflow/request": "1"}}, "spec": {}}
    assert run("build", definition=ask, namespace="default")["changed"] is True
    assert list(server.things)[-1] == "/apis/ci.zt.vapi.cc/v1/namespaces/ci/builds/site"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"definition": {"kind": "Build", "spec": SPEC}}, "definition.kind: 'Build' is not Task"),
        ({"definition": {"apiVersion": "v1", "spec": SPEC}}, "definition.apiVersion: 'v1' is not api.practice.com/"),
        ({"definition": {"spec": SPEC}}, "definition.metadata.name: is missing, and so is name"),
        ({"definition": {"metadata": {"name": "b"}, "spec": SPEC}, "name": "a"}, "name: differs from name: 'a'"),
        ({"definition": {"metadata": []}, "name": "a"}, "definition.metadata: [] is no mapping"),
        ({"definition": {"metadata": {"name": "a"}}}, "state is present, and spec is missing"),
        ({"name": "a"}, "state is present, and spec is missing"),
        ({"spec": SPEC}, "one of the following is required: name, definition"),
        ({"name": "a", "spec": SPEC, "definition": {}}, "mutually exclusive: spec|definition"),
    ],
)
def test_arguments_that_make_no_sense_are_said(run, server, arguments, words):
    result = run("task", **arguments)
    assert result["failed"] and words in result["msg"]
    assert server.things == {}


def test_fields_that_nobody_knows_are_warned_of(run, monkeypatch):
    # Ansible would keep a warning for the next module of the same process.
    warnings: list[str] = []
    monkeypatch.setattr(_wanted_module.AnsibleModule, "warn", lambda _self, text: warnings.append(text))
    spec = {"steps": [{"name": "a", "argz": []}], "timout": "1m", "timeout": None}
    run("task", name="demo", spec=spec)
    assert warnings == ["spec.timout was dropped by the API server: a Task has no such field"]


def test_the_end_is_waited_for(run, ends):
    steps = [{"name": "a", "state": "Succeeded", "results": {"x": "1"}}, {"name": "b", "state": "Succeeded"}]
    ends(status="Successful", steps=steps)
    result = run("task", name="demo", spec=SPEC, wait=True)
    assert (result["changed"], result["state"], result["step_results"]) == (True, "Successful", {"a": {"x": "1"}})
    assert result["status"]["steps"] == steps and "status" not in result["resource"]
    # An end of an earlier spec is none.
    ends(status="Running")
    late = run("task", name="demo", spec={**SPEC, "handoff": "Annotation"}, wait=True, wait_timeout=0)
    assert (late["reason"], late["changed"], "is Pending after 0 s" in late["msg"]) == ("Timeout", True, True)


@pytest.mark.parametrize("state", ["Failure", "Cancelled"])
def test_an_end_that_is_no_success_fails_the_module(run, server, ends, state):
    steps = [{"name": "ok", "state": "Failed", "continued": True}, {"name": "bad", "state": "Failed"}]
    said = [{"type": "Succeeded", "status": "False", "message": "it is broken"}]
    ends(status=state, steps=steps, podName="pod-1", conditions=said)
    server.log_lines = b"one\ntwo \xff\n"
    result = run("task", name="demo", spec=SPEC, wait=True, log_lines=2)
    assert (result["failed"], result["failed_step"], result["log"]) == (True, "bad", ["one", "two \ufffd"])
    words = f"Task default/demo is {state}: it is broken. The last lines of step bad:"
    assert result["msg"].splitlines() == [words, "one", "two \ufffd"]
    query = {"container": "bad", "tailLines": "2"}
    assert server.calls[-1] == ("GET", "/api/v1/namespaces/default/pods/pod-1/log", query)
    server.touch(DEMO, status=state, conditions=said)
    again = run("task", name="demo", spec=SPEC, wait=True)
    assert (again["msg"], again["changed"]) == (f"Task default/demo is {state}: it is broken", False)


def test_the_log_of_a_build_is_of_the_last_pod_of_its_job(server, monkeypatch):
    pods = [{"metadata": {"name": f"pod-{n}", "creationTimestamp": f"2024-01-0{n}T00:00:00Z"}} for n in (2, 3, 1)]
    monkeypatch.setattr(server, "_read", lambda _path: {"items": pods})
    server.log_lines = b"text\n"
    resource = {"metadata": {"namespace": "ci"}, "status": {"jobName": "site-1"}}
    assert apply.log_of(server, resource, "clone", 5) == ["text"]
    assert server.calls[0][2] == {"labelSelector": "job-name=site-1"}
    assert server.calls[1][1] == "/api/v1/namespaces/ci/pods/pod-3/log"
    pods.clear()
    assert apply.log_of(server, resource, "clone", 5) == []
    assert apply.log_of(server, {"metadata": {"namespace": "ci"}}, "clone", 5) == []


def test_one_that_is_deleted_while_it_is_waited_for_has_no_end(run, server, monkeypatch):
    monkeypatch.setattr(apply.time, "sleep", lambda _seconds: server.things.clear())
    result = run("task", name="demo", spec=SPEC, wait=True)
    assert (result["reason"], result["changed"]) == ("Deleted", True)


def test_absent_is_waited_for_until_it_is_gone(run, server, monkeypatch):
    run("task", name="demo", spec=SPEC)
    monkeypatch.setattr(server, "delete", lambda *_args: None)
    monkeypatch.setattr(apply.time, "sleep", lambda _seconds: server.things.clear())
    assert run("task", name="demo", state="absent", wait=True)["changed"] is True
    assert server.things == {}
    assert run("task", name="demo", state="absent", wait=True)["changed"] is False


def test_absent_deletes(run, server):
    run("task", name="demo", spec=SPEC)
    result = run("task", name="demo", state="absent")
    assert (result["changed"], result["diff"]["after"], server.things) == (True, {}, {})


def test_tasks_are_listed_with_one_request(run, server):
    for name in ("a", "b"):
        run("task", name=name, spec=SPEC)
    server.touch(DEMO.replace("demo", "a"), status="Failure")
    server.calls.clear()
    found = run("task_info", label_selectors=["x=y", "!z"])
    assert [item["metadata"]["name"] for item in found["tasks"]] == ["a", "b"]
    assert found["tasks"][0]["kind"] == "Task"
    assert server.calls == [("GET", "/apis/api.practice.com/v1alpha1/tasks", {"labelSelector": "x=y,!z"})]
    server.calls.clear()
    (failed,) = run("task_info", namespace=["default"], states=["Failure"], name="a")["tasks"]
    assert failed["metadata"]["name"] == "a"
    assert server.calls == [("GET", DEMO.rpartition("/")[0], {"fieldSelector": "metadata.name=a"})]
    # One that the operator has not seen is Pending.
    (pending,) = run("task_info", states=["Pending"])["tasks"]
    assert pending["metadata"]["name"] == "b"


@pytest.fixture
def asked(monkeypatch):
    """What images are looked up with; they run /x y."""
    calls: list[tuple[Any, ...]] = []

    def look_up(secrets, *rest):
        calls.append((secrets, *rest[:4]))
        return {image: ImageConfig(("/x",), ("y",)) for image in rest[3]}

    monkeypatch.setattr(_find, "look_up", look_up)
    return calls


def test_images_are_looked_up_without_a_cluster(run, asked, monkeypatch):
    monkeypatch.setattr(image_info, "Api", None)
    found = run("image_info", images=["r.example.com/a", "b:1", "b:1"])
    assert [image["image"] for image in found["images"]] == ["r.example.com/a", "b:1", "b:1"]
    assert found["images"][0] == {"image": "r.example.com/a", "entrypoint": ["/x"], "cmd": ["y"]}
    ((secrets, *_),) = asked
    assert secrets.get(SERVICE_ACCOUNT, "default", "default") == {"imagePullSecrets": []}


def test_images_are_looked_up_as_a_user(run, asked):
    run("image_info", images=["r.example.com/a", "b"], username="me", password="se:cret")
    ((secrets, namespace, account, names, _),) = asked
    keyring = _find_keyring(secrets, namespace, account, names)
    assert {(c.key, c.username, c.password) for c in keyring.credentials} == {
        ("r.example.com", "me", "se:cret"),
        ("docker.io", "me", "se:cret"),
    }


def _find_keyring(*asked):
    from ansible_collections.taskflow.operator.plugins.module_utils._image.lookup import _read_keyring

    return _read_keyring(*asked)


def test_images_are_looked_up_with_the_pull_secrets_of_a_namespace(run, asked, server):
    run("image_info", images=["a"], namespace="shop", service_account="robot", pull_secrets=["s"])
    assert asked == [(server, "shop", "robot", ["s"], ["a"])]
    bad = run("image_info", images=["no image"])
    assert (bad["failed"], bad["reason"]) == (True, "InvalidImageName")
