"""A step laid over the stepTemplate."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._pod.merge import merge_step
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("template", "step", "merged"),
    [
        pytest.param({}, {"image": "i"}, {"image": "i"}, id="no template"),
        pytest.param({"image": "t"}, {}, {"image": "t"}, id="the template fills in"),
        pytest.param({"image": "t"}, {"image": "i"}, {"image": "i"}, id="the step wins"),
        pytest.param({"tty": True}, {"tty": False}, {"tty": False}, id="false is a value"),
        pytest.param({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}, id="lists are atomic"),
        pytest.param({"args": ["a"]}, {"args": []}, {"args": []}, id="an empty list is a value"),
        pytest.param(
            {"securityContext": {"runAsUser": 1, "capabilities": {"drop": ["ALL"], "add": ["X"]}}},
            {"securityContext": {"runAsGroup": 2, "capabilities": {"add": ["Y"]}}},
            {"securityContext": {"runAsUser": 1, "runAsGroup": 2, "capabilities": {"drop": ["ALL"], "add": ["Y"]}}},
            id="maps are merged all the way down",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "C", "value": "3"}, {"name": "A", "value": "9"}]},
            {"env": [{"name": "A", "value": "9"}, {"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
            id="env by name",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "value": "1"}]},
            id="a variable has one source: value",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]},
            id="a variable has one source: valueFrom",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/a", "readOnly": True}, {"name": "v", "mountPath": "/b"}]},
            {"volumeMounts": [{"name": "w", "mountPath": "/a"}]},
            {"volumeMounts": [{"name": "w", "mountPath": "/a", "readOnly": True}, {"name": "v", "mountPath": "/b"}]},
            id="volumeMounts by mountPath",
        ),
        pytest.param(
            {"volumeDevices": [{"name": "v", "devicePath": "/dev/a"}]},
            {"volumeDevices": [{"name": "w", "devicePath": "/dev/a"}, {"name": "w", "devicePath": "/dev/b"}]},
            {"volumeDevices": [{"name": "w", "devicePath": "/dev/a"}, {"name": "w", "devicePath": "/dev/b"}]},
            id="volumeDevices by devicePath",
        ),
        pytest.param(
            {"ports": [{"containerPort": 80, "name": "http"}]},
            {"ports": [{"containerPort": 80, "protocol": "UDP"}, {"containerPort": 81}]},
            {"ports": [{"containerPort": 80, "name": "http", "protocol": "UDP"}, {"containerPort": 81}]},
            id="ports by containerPort",
        ),
        pytest.param(
            {"envFrom": [{"configMapRef": {"name": "a"}}]},
            {"envFrom": [{"configMapRef": {"name": "b"}}]},
            {"envFrom": [{"configMapRef": {"name": "b"}}]},
            id="envFrom is atomic",
        ),
        pytest.param(
            {"command": ["sh"], "args": ["x"], "image": "t"},
            {"script": "true"},
            {"script": "true", "image": "t"},
            id="a script takes neither command nor args from the template",
        ),
        pytest.param(
            {"args": ["x"]}, {"script": "true", "args": ["y"]}, {"script": "true", "args": ["y"]}, id="own args stay"
        ),
        pytest.param(
            {"command": ["c"], "args": ["x"]}, {"args": ["y"]}, {"command": ["c"], "args": ["y"]}, id="args alone"
        ),
    ],
)
def test_merge(template, step, merged):
    before = copy.deepcopy((template, step))
    assert merge_step(template, step) == merged
    assert (template, step) == before


VARIABLES = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("ABC"), "value": st.text(max_size=3)}),
    max_size=3,
    unique_by=lambda v: v["name"],
)
CONTAINERS = st.fixed_dictionaries(
    {},
    optional={
        "image": st.text(max_size=3),
        "env": VARIABLES,
        "command": st.lists(st.text(max_size=3), max_size=2),
        "resources": st.dictionaries(
            st.sampled_from(["limits", "requests"]),
            st.dictionaries(st.sampled_from(["cpu", "memory"]), st.just("1")),
        ),
    },
)


@given(CONTAINERS, CONTAINERS)
def test_a_merged_step_shares_nothing_with_what_it_was_made_of(template, step):
    before = copy.deepcopy((template, step))
    merged = merge_step(template, step)
    for value in merged.values():
        if isinstance(value, list):
            value.append("spoilt")
        elif isinstance(value, dict):
            value["spoilt"] = {}
            for inner in value.values():
                inner["spoilt"] = "1"
    for variable in (merged.get("env") or [])[:-1]:
        variable["name"] = "spoilt"
    assert (template, step) == before


@given(CONTAINERS, CONTAINERS)
def test_every_field_comes_from_one_of_the_two_and_names_stay_unique(template, step):
    merged = merge_step(template, step)
    assert merged.keys() == template.keys() | step.keys()
    names = [v["name"] for v in merged.get("env") or []]
    assert len(names) == len(set(names))
    assert set(names) == {v["name"] for c in (template, step) for v in c.get("env") or []}
    own = {v["name"]: v["value"] for v in step.get("env") or []}
    assert {v["name"]: v["value"] for v in merged.get("env") or [] if v["name"] in own} == own
