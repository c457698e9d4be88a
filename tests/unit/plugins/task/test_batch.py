"""Many Tasks in one go: each comes to what it would come to alone, whatever happens to the others."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import Postponed, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._kube.client import Api
from ansible_collections.taskflow.operator.plugins.module_utils._task import batch as _batch
from ansible_collections.taskflow.operator.plugins.module_utils._task.api import TaskApi
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.worlds import Worlds, quota, serve, world_of

CONFLICT = TaskError("Conflict", "somebody changed it")
FAULTS = {
    "refused": [("create_pod", TaskError("Refused", "no such field", permanent=True))],
    "no quota": [("create_pod", quota())],
    "unreadable": [("get_task", TaskError("Forbidden", "may not be read"))],
    "a fault of ours": [("create_pod", KeyError("x"))],
    "another": [("set_status", ZeroDivisionError())],
    "changed meanwhile": [("set_status", CONFLICT)],
    "changed again": [("set_status", CONFLICT)] * 2,
    "none": [],
}


def named(kinds):
    return {f"t{number}": kind for number, kind in enumerate(kinds)}


@given(st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=6))
def test_whatever_is_wrong_with_some_each_comes_to_what_it_would_alone(kinds):
    tasks = named(kinds)
    together = Worlds([world_of(name) for name in tasks], {name: FAULTS[kind] for name, kind in tasks.items()})
    outcomes = serve(together, *tasks)
    for (name, kind), outcome in zip(tasks.items(), outcomes, strict=True):
        alone = Worlds([world_of(name)], {name: FAULTS[kind]})
        (expected,) = serve(alone, name)
        assert (type(outcome), str(outcome)) == (type(expected), str(expected))
        assert together.state(name) == alone.state(name)


def test_what_each_kind_of_fault_comes_to():
    tasks = {kind.replace(" ", "-"): faults for kind, faults in FAULTS.items()}
    cluster = Worlds(map(world_of, tasks), tasks)
    outcomes = dict(zip(tasks, serve(cluster, *tasks), strict=True))
    assert (outcomes["none"]["action"], outcomes["none"]["state"]) == ("created", "Pending")
    assert (outcomes["refused"]["action"], outcomes["refused"]["state"]) == ("failed", "Failure")
    assert outcomes["no-quota"]["reason"] == "QuotaExceeded"
    assert outcomes["no-quota"]["requeue_after"] == 2
    assert outcomes["unreadable"].reason == "Forbidden"
    assert isinstance(outcomes["a-fault-of-ours"], KeyError)
    assert isinstance(outcomes["another"], ZeroDivisionError)
    assert outcomes["changed-meanwhile"]["state"] == "Pending"
    assert outcomes["changed-again"].reason == "Conflict"


def test_a_fault_of_ours_is_told_in_the_status_of_a_task_that_gets_no_pod():
    cluster = Worlds([world_of("a")], {"a": [("create_pod", KeyError("x"))]})
    serve(cluster, "a")
    (condition,) = cluster.state("a")["task"]["status"]["conditions"]
    assert condition["reason"] == "Error"
    assert "KeyError: 'x'" in condition["message"]


def test_the_pods_of_a_namespaces_tasks_are_listed_at_once():
    cluster = Worlds([world_of("a"), world_of("b"), world_of("c", "other")])
    serve(cluster, "a", "gone", "b", "other/c")
    assert [call for call in cluster.calls if call[0] == "pods_of"] == [("pods_of", "a,b"), ("pods_of", "c")]
    assert [name for method, name in cluster.calls if method == "get_task"] == ["a", "gone", "b", "c"]


def test_no_more_pods_are_listed_at_once_than_a_url_has_room_for(monkeypatch):
    monkeypatch.setattr(_batch, "PODS_LISTED", 2)
    cluster = Worlds(map(world_of, "abc"))
    serve(cluster, *"abc")
    assert [names for method, names in cluster.calls if method == "pods_of"] == ["a,b", "c"]


def test_pods_that_cannot_be_listed_concern_their_namespace_alone():
    cluster = Worlds(
        [world_of("a"), world_of("b"), world_of("c", "other")],
        {"a": [("pods_of", TaskError("Forbidden", "may not be listed"))]},
    )
    a, b, c = serve(cluster, "a", "b", "other/c")
    assert (a.reason, b.reason, c["action"]) == ("Forbidden", "Forbidden", "created")


def test_a_task_sees_only_the_pods_that_it_owns():
    cluster = Worlds([world_of("a"), world_of("a", "other")])
    serve(cluster, "a")
    before = cluster.worlds["default", "a"]
    anew = world_of("a")
    anew.task["metadata"]["uid"] = "of-its-second-life"
    anew.pods = before.pods
    found = []
    serve(Worlds([anew]), "a", method=lambda _reconciler, seen: found.extend(seen.pods) or {})
    assert found == []


def test_a_task_that_changed_meanwhile_is_read_afresh():
    cluster = Worlds([world_of("a")], {"a": [("set_status", CONFLICT)]})
    (outcome,) = serve(cluster, "a")
    # Its Pod was made the first time, and not recorded.
    assert (outcome["action"], outcome["requeue_after"]) == ("kept", 1)
    assert [method for method, _ in cluster.calls].count("get_task") == 2
    assert [reason for _, reason in cluster.state("a")["events"]].count("Created") == 1


def test_once_the_api_server_has_not_answered_nobody_waits_for_it_again():
    cluster = Worlds(map(world_of, "abc"), {"b": [("create_pod", down := TaskError("APIUnreachable", "no answer"))]})
    a, b, c = serve(cluster, *"abc", method=lambda reconciler, found: reconciler.have_pod(found))
    assert (a["action"], b, c) == ("created", down, down)
    assert ("create_pod", "c") not in cluster.calls


class Registry:
    """Takes the place of Images: tells what an image runs after the others are done, or never."""

    def __init__(self, alone=False):
        self.others, self.alone = False, alone

    def others_are_done(self):
        self.others = True

    def configs(self, _namespace, _account, _secrets, images):
        if images and (self.alone or not self.others):
            raise Postponed("ImageLookupPending", "not now", alone=self.alone)
        return {image: ImageConfig(("run",), ()) for image in images}


def asking(name):
    """Return a World whose Task has a step without a command."""
    world = world_of(name)
    del world.task["spec"]["steps"][0]["command"]
    return world


def test_a_task_whose_image_is_looked_up_comes_after_the_others():
    cluster = Worlds([asking("a"), world_of("b")])
    a, b = serve(cluster, "a", "b", images=Registry())
    assert (a["action"], b["action"]) == ("created", "created")
    assert [name for method, name in cluster.calls if method in ("create_pod", "set_status")] == ["b", "b", "a", "a"]


def test_one_that_has_to_be_alone_is_left_for_another_run():
    cluster = Worlds([asking("a"), world_of("b")])
    a, b = serve(cluster, "a", "b", images=Registry(alone=True))
    assert (a.reason, b["action"]) == ("ImageLookupPending", "created")
    # Nothing is known of it yet, so nothing is told, and nothing is asked twice.
    assert "status" not in cluster.state("a")["task"]
    assert [name for method, name in cluster.calls if method == "get_task"] == ["a", "b"]


@given(st.data())
def test_tasks_that_are_on_their_way_come_to_the_same_in_one_go_as_one_by_one(data):
    together = [world_of(name, suspend=data.draw(st.booleans())) for name in "abc"]
    for _ in range(data.draw(st.integers(0, 4))):
        serve(Worlds(together), *"abc")
        for world in together:
            for action in world.actions()[: data.draw(st.integers(0, 4))]:
                action()
    alone = copy.deepcopy(together)
    outcomes = serve(Worlds(together), *"abc")
    assert outcomes == [serve(Worlds([world]), world.task["metadata"]["name"])[0] for world in alone]
    assert [Worlds(together).state(name) for name in "abc"] == [Worlds(alone).state(name) for name in "abc"]


class Recorder(Api):
    """A client that records its requests and answers all with the same."""

    def __init__(self, answer):
        self.answer, self.requests = answer, []

    def request(self, _what, method, path, query=None, body=None, **_options):
        self.requests.append((method, path, query))
        return self.answer


@pytest.mark.parametrize("names", [["a"], ["a", "b.c"]])
def test_pods_are_asked_for_by_the_names_of_their_tasks(names):
    owned = {"metadata": {"ownerReferences": [{"uid": "uid-of-default-a"}]}}
    cluster = Recorder({"items": [owned, {"metadata": {"ownerReferences": [{"uid": "other"}]}}, {"metadata": {}}]})
    assert TaskApi(cluster).pods_of([world_of(name).task for name in names]) == [owned]
    selector = f"type=taskpod,taskname in ({','.join(names)})"
    assert cluster.requests == [("GET", "/api/v1/namespaces/default/pods", {"labelSelector": selector})]


def test_a_long_name_is_asked_for_by_its_label():
    cluster = Recorder({"items": []})
    TaskApi(cluster).pods_of([world_of("n" * 100).task])
    ((_, _, query),) = cluster.requests
    (value,) = query["labelSelector"].partition(" in (")[2].rstrip(")").split(",")
    assert len(value) == 63
