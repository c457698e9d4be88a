"""The modules as Ansible runs them: one Task or a list, and what they return."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._module import run_module as _module
from ansible_collections.taskflow.operator.plugins.module_utils._task import reconcile as _reconcile
from ansible_collections.taskflow.operator.plugins.modules import task_order, task_pod, task_reconcile, task_status
from support.tasks.worlds import NOW, Worlds, quota, world_of

MODULES = {"pod": task_pod, "order": task_order, "status": task_status, "reconcile": task_reconcile}


def connect(monkeypatch, make):
    """Have a module talk to what is made in the place of both its client and its TaskApi."""
    monkeypatch.setattr(_module, "Api", make)
    monkeypatch.setattr(_module, "TaskApi", lambda api: api)


@pytest.fixture
def run(monkeypatch, capsys):
    """Return what runs a module on a simulated cluster, and returns its exit code and its result."""
    monkeypatch.setattr(_reconcile, "timestamp", lambda: NOW)

    def run(which, cluster, check=False, diff=False, **arguments):
        connect(monkeypatch, lambda *_args: cluster)
        with (
            patch_module_args({**arguments, "_ansible_check_mode": check, "_ansible_diff": diff}),
            pytest.raises(SystemExit) as ended,
        ):
            MODULES[which].main()
        result = json.loads(capsys.readouterr().out)
        del result["invocation"]
        return ended.value.code, result

    return run


def begun(name, **spec):
    """Return a World whose Task has a Pod that runs."""
    world = world_of(name, **spec)
    world.round()
    while actions := world.actions():
        actions[0]()
    return world


@pytest.mark.parametrize("which", MODULES)
@pytest.mark.parametrize("make", [world_of, begun])
def test_a_task_in_a_list_gets_the_result_that_it_gets_alone(run, which, make):
    _, alone = run(which, Worlds([make("a")]), name="a")
    code, listed = run(which, Worlds([make("a"), make("b")]), tasks=[{"name": "a"}, {"name": "b"}, {"name": "gone"}])
    assert (code, listed["changed"], listed["failed"]) == (0, alone["changed"], False)
    assert [(result["name"], result["namespace"]) for result in listed["results"]] == [
        (name, "default") for name in ("a", "b", "gone")
    ]
    alone.pop("diff", None)
    named = {"name": "a", "namespace": "default", "failed": False}
    assert listed["results"][0] == {**named, **alone}
    again = {key: value for key, value in alone.items() if key == "requeue_after"}
    assert listed["resources"][0] == {**named, "msg": "", **again}


@pytest.mark.parametrize("which", MODULES)
def test_one_that_fails_does_so_alone_and_says_why(run, which):
    def cluster():
        return Worlds([world_of("a"), world_of("b", "other")], {"a": [("get_task", failure)]})

    failure = TaskError("Forbidden", "may not be read", retry_after=7)
    code, alone = run(which, cluster(), name="a")
    said = {"failed": True, "msg": "may not be read", "reason": "Forbidden", "permanent": False, "retry_after": 7}
    assert (code, alone) == (1, said)
    code, listed = run(which, cluster(), tasks=[{"name": "a"}, {"name": "b", "namespace": "other"}])
    assert (code, listed["failed"]) == (0, False)
    assert listed["results"][0] == {"name": "a", "namespace": "default", "changed": False, **said}
    bad, good = listed["resources"]
    assert bad == {"name": "a", "namespace": "default", "failed": True, "msg": "may not be read"}
    assert (good["name"], good["namespace"], good["failed"], good["msg"]) == ("b", "other", False, "")


def test_one_that_has_to_be_alone_is_said_to_be(run):
    asks = world_of("a")
    del asks.task["spec"]["steps"][0]["command"]
    _, listed = run("reconcile", Worlds([asks, world_of("b")]), tasks=[{"name": "a"}, {"name": "b"}])
    a, b = listed["resources"]
    assert (a["failed"], a["alone"], "alone" in b) == (True, True, False)
    assert "has not answered lately" in a["msg"]


def test_a_fault_of_the_module_is_told_with_its_place(run):
    cluster = Worlds([world_of("a"), world_of("b")], {"a": [("set_status", ZeroDivisionError("by what?"))]})
    _, listed = run("status", cluster, tasks=[{"name": "a"}, {"name": "b"}])
    assert (listed["results"][0]["reason"], listed["results"][1]["failed"]) == ("Error", False)
    assert "ZeroDivisionError: by what?" in listed["resources"][0]["msg"]
    assert "in record_status" in listed["results"][0]["exception"]


def test_a_fault_of_the_module_breaks_it_where_there_is_one_task(run, monkeypatch):
    connect(monkeypatch, lambda *_args: Worlds([world_of("a")], {"a": [broken]}))
    broken = ("set_status", ZeroDivisionError())
    with patch_module_args({"name": "a"}), pytest.raises(ZeroDivisionError):
        task_status.main()


def test_what_keeps_a_task_from_its_pod_is_recorded_and_is_no_failure(run):
    cluster = Worlds([world_of("a"), world_of("b")], {"a": [("create_pod", quota())]})
    _, listed = run("reconcile", cluster, tasks=[{"name": "a"}, {"name": "b"}])
    named = {"name": "a", "namespace": "default", "failed": False}
    assert listed["resources"][0] == {**named, "msg": quota().message, "requeue_after": 2}
    assert listed["results"][0] == {
        **named,
        "changed": True,
        "action": "failed",
        "deleted": [],
        "message": quota().message,
        "reason": "QuotaExceeded",
        "requeue_after": 2,
        "state": "Pending",
    }
    assert listed["results"][1]["action"] == "created"


@pytest.mark.parametrize("others", [[], ["b"]])
def test_mirrors_that_make_no_sense_concern_only_who_needs_them(run, others):
    asks = world_of("a")
    del asks.task["spec"]["steps"][0]["command"]
    cluster = Worlds([asks, *map(world_of, others)])
    tasks = [{"name": name} for name in ["a", *others]]
    _, listed = run("reconcile", cluster, tasks=tasks, registry_mirrors=["nonsense"])
    assert [r["failed"] for r in listed["results"]] == [False for _ in tasks]
    assert (listed["results"][0]["action"], listed["results"][0]["reason"]) == ("failed", "BadMirror")
    assert [r["action"] for r in listed["results"][1:]] == ["created" for _ in others]


def test_each_task_may_have_its_own_problem(run):
    cluster = Worlds([world_of("a"), world_of("b")])
    problem = {"reason": "QuotaExceeded", "msg": "no room"}
    _, listed = run("status", cluster, tasks=[{"name": "a", "problem": problem}, {"name": "b"}])
    reasons = [result["status"]["conditions"][0]["reason"] for result in listed["results"]]
    assert reasons == ["QuotaExceeded", "WaitingForPod"]
    assert [r.get("requeue_after") for r in listed["resources"]] == [2, 30]
    _, alone = run("status", Worlds([world_of("a")]), name="a", problem=problem)
    assert alone["status"] == listed["results"][0]["status"]


def test_diffs_of_a_list_are_there_when_they_are_asked_for(run):
    tasks = [{"name": "a"}, {"name": "b"}]
    _, listed = run("reconcile", Worlds([world_of("a"), world_of("b")]), tasks=tasks)
    assert "diff" not in listed
    _, listed = run("reconcile", Worlds([world_of("a"), world_of("b")]), diff=True, tasks=tasks)
    # Of each its Pod and its status.
    assert len(listed["diff"]) == 4
    assert listed["diff"][1]["after"]["status"] == "Pending"


@pytest.mark.parametrize("which", MODULES)
def test_check_mode_says_what_it_would_do_and_does_nothing(run, which):
    cluster = Worlds([begun("a"), begun("b", cancel=True)])
    before = [cluster.state(name) for name in "ab"]
    expected = run(which, Worlds([begun("a"), begun("b", cancel=True)]), tasks=[{"name": "a"}, {"name": "b"}])[1]
    _, listed = run(which, cluster, check=True, tasks=[{"name": "a"}, {"name": "b"}])
    assert listed["changed"] == expected["changed"]
    assert [cluster.state(name) for name in "ab"] == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of the following is required: name, tasks"),
        ({"name": "a", "tasks": [{"name": "b"}]}, "parameters are mutually exclusive: name|tasks"),
        ({"tasks": [{"namespace": "x"}]}, "missing required arguments: name found in tasks"),
        ({"tasks": [{"name": "a"}], "problem": {"reason": "R", "msg": "m"}}, "exclusive: problem|tasks"),
    ],
)
def test_either_a_task_or_a_list_of_them_is_given(run, arguments, words):
    code, result = run("status", Worlds([]), **arguments)
    assert code == 1
    assert words in result["msg"]


def test_without_a_cluster_the_module_fails(capsys, monkeypatch):
    def no_cluster(*_args):
        raise TaskError("NoCluster", "no cluster to talk to")

    with patch_module_args({"tasks": [{"name": "a"}]}), pytest.raises(SystemExit) as ended:
        connect(monkeypatch, no_cluster)
        task_order.main()
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["reason"] == "NoCluster"


def test_an_empty_list_is_nothing_to_do(run):
    code, result = run("reconcile", Worlds([]), tasks=[])
    assert (code, result) == (0, {"changed": False, "failed": False, "results": [], "resources": []})
