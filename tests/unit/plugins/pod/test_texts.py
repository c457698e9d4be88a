"""Texts of the author's that the kubelet would expand, or that the kernel could not take."""

from __future__ import annotations

import re

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from support.tasks.factory import build, container_of, make_step, make_task, values_of
from support.tasks.kubelet import arguments, environment


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": ["c", "a\0b"]}, "spec.steps[0].command[1]"),
        ({"args": ["\0"]}, "spec.steps[0].args[0]"),
        ({"script": "echo \0"}, "spec.steps[0].script"),
        ({"env": [{"name": "A", "value": "\0"}]}, "spec.steps[0].env[0].value"),
        ({"workingDir": "/a\0"}, "spec.steps[0].workingDir"),
        ({"args": ["$(params.p)"]}, "spec.steps[0].args[0]"),
        ({"terminationMessagePath": "/a\0"}, "spec.steps[0].terminationMessagePath"),
    ],
)
def test_a_nul_character_is_refused_with_its_field(fields, field):
    task = make_task(make_step(**fields), params=[{"name": "p", "value": "x\0"}])
    with pytest.raises(InvalidSpec, match="NUL character") as caught:
        build(task)
    assert caught.value.field == field


def test_a_nul_character_of_a_sidecar_is_refused_too():
    with pytest.raises(InvalidSpec) as caught:
        build(make_task("a", sidecars=[make_step("s", args=["\0"])]))
    assert caught.value.field == "spec.sidecars[0].args[0]"


MOUNTED = {"volumeMounts": [{"name": "v", "mountPath": "/data/in"}]}


@pytest.mark.parametrize(
    "path",
    [
        "end",
        "/run/../end",
        "/run/..",
        "/run/",
        "/run/.",
        "/",
        "/taskflow",
        "/taskflow/run/1/done",
        "//taskflow//bin",
        "/etc/podinfo/order",
        "/etc",
        "/proc/1/mem",
        "/sys/x",
        "/dev/null",
        "/data/in",
        "/data",
        "/data//in",
    ],
)
@pytest.mark.parametrize("key", ["steps", "sidecars"])
def test_a_termination_message_has_a_place_of_its_own(key, path):
    wrong = make_step("s", terminationMessagePath=path, **MOUNTED)
    task = make_task(wrong) if key == "steps" else make_task("a", sidecars=[wrong])
    with pytest.raises(InvalidSpec, match=re.escape(repr(path))) as caught:
        build(task)
    assert caught.value.field == f"spec.{key}[0].terminationMessagePath"


@pytest.mark.parametrize("path", ["/dev/termination-log", "/run/end", "/data/in/end", "/end...", "/a..b"])
def test_other_places_are_as_the_author_has_them(path):
    pod = build(make_task(make_step("a", terminationMessagePath=path, **MOUNTED)))
    assert container_of(pod, "a")["terminationMessagePath"] == path
    assert values_of(pod, "a", "--termination-log") == [path]


@pytest.mark.parametrize("path", ["/run/$(FOO)", "/run/$$(FOO)", "/run/$FOO", "/run/$$", "/run/$(params.p)"])
@pytest.mark.parametrize("key", ["steps", "sidecars"])
def test_the_kubelet_expands_nothing_in_the_place_of_a_termination_message(key, path):
    step = make_step("s", terminationMessagePath=path, env=[{"name": "FOO", "value": "elsewhere"}])
    params = [{"name": "p", "value": "$(FOO)"}]
    task = make_task(step, params=params) if key == "steps" else make_task("a", sidecars=[step], params=params)
    container = container_of(build(task), "s")
    words = arguments(container, container["args"])
    assert words[words.index("--termination-log") + 1] == container["terminationMessagePath"]
    assert container["terminationMessagePath"] == path.replace("$(params.p)", "$(FOO)")


@pytest.mark.parametrize("name", ["A", "A$B", "A$$B", "$(A", "$A(B", "A-b.c d"])
def test_the_kubelet_expands_nothing_in_the_name_of_a_variable(name):
    first = make_step("a", script="echo 1 > $(results.x.path)")
    second = make_step("b", env=[{"name": name, "value": "<$(steps.a.results.x)>"}])
    container = container_of(build(make_task(first, second)), "b")
    words = arguments(container, container["args"])
    assert words[words.index("--env") + 1] == f"{name}={environment(container)[name]}"


def test_a_variable_that_the_agent_could_not_name_is_refused():
    first = make_step("a", script="echo 1 > $(results.x.path)")
    second = make_step("b", env=[{"name": "A)", "value": "$(steps.a.results.x)"}])
    with pytest.raises(InvalidSpec) as caught:
        build(make_task(first, second))
    assert caught.value.field == "spec.steps[1].env[0].name"
