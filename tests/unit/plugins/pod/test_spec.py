"""What the CRD's schema can't refuse."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from ansible_collections.taskflow.operator.plugins.module_utils._pod.spec import resolve
from support.tasks.factory import build, make_step, make_task


def refused(task):
    with pytest.raises(InvalidSpec) as caught:
        resolve(task)
    return caught.value


def mount(path, **fields):
    return {"name": "v", "mountPath": path, **fields}


@pytest.mark.parametrize(
    ("task", "field", "words"),
    [
        (make_task("a", "a"), "spec.steps[1].name", "another step or sidecar"),
        (make_task("a", sidecars=[make_step("a")]), "spec.sidecars[0].name", "another step or sidecar"),
        (make_task("taskflow-install"), "spec.steps[0].name", "reserved"),
        (make_task("a", sidecars=[make_step("taskflow-install")]), "spec.sidecars[0].name", "reserved"),
        (make_task({"name": "a", "command": ["c"]}), "spec.steps[0].image", "spec.stepTemplate has none"),
        (make_task(make_step(command=["c"], script="s")), "spec.steps[0].command", "either a script or a command"),
        (
            make_task("a", sidecars=[make_step("s", command=["c"], script="s")]),
            "spec.sidecars[0].command",
            "either a script or a command",
        ),
        (make_task(make_step(command=["c", None])), "spec.steps[0].command[1]", "must be a string, not null"),
        (make_task(make_step(args=[1])), "spec.steps[0].args[0]", "must be a string, not 1"),
        (make_task("a", sidecars=[make_step("s", args=[None])]), "spec.sidecars[0].args[0]", "not null"),
        (make_task("a", make_step("b", timeout="0s")), "spec.steps[1].timeout", "leaves no time"),
        (make_task("a", timeout="0m"), "spec.timeout", "leaves no time"),
        (make_task("a", timeout="soon"), "spec.timeout", "is not a duration"),
        (make_task("a", volumes=[{"name": "podinfo", "emptyDir": {}}]), "spec.volumes[0].name", "reserved"),
        (make_task("a", volumes=[{"name": "ok"}, {"name": "taskflow-x"}]), "spec.volumes[1].name", "reserved"),
        (
            make_task("a", sidecars=[make_step("s", volumeMounts=[mount("/data"), mount("/taskflow")])]),
            "spec.sidecars[0].volumeMounts[1].mountPath",
            "would hide /taskflow",
        ),
        (
            make_task("a", stepTemplate={"volumeMounts": [mount("/etc")]}),
            "spec.steps[0].volumeMounts[0].mountPath",
            "would hide /etc/podinfo",
        ),
    ],
)
def test_what_the_schema_may_not_know_is_refused_with_its_field(task, field, words):
    error = refused(task)
    assert error.field == field
    assert words in error.message
    assert (error.reason, error.permanent) == ("InvalidSpec", True)


@pytest.mark.parametrize(
    "path", ["/taskflow", "/taskflow/bin", "/taskflow/run/1", "/etc", "/etc/podinfo/", "/etc/podinfo/order", "/"]
)
def test_mounts_over_the_operators_paths_are_refused(path):
    assert refused(make_task(make_step(volumeMounts=[mount(path)]))).field == "spec.steps[0].volumeMounts[0].mountPath"


@pytest.mark.parametrize(
    "path", ["/taskflow/../taskflow", "/data/../taskflow/run/1", "//taskflow/run/1", "/./taskflow", "/etc//podinfo"]
)
def test_another_spelling_of_the_operators_paths_is_refused(path):
    assert "would hide" in refused(make_task(make_step(volumeMounts=[mount(path)]))).message


@pytest.mark.parametrize("path", ["/taskflows", "/etc/podinformation", "/data", "/etc/x"])
def test_neighbouring_paths_are_not(path):
    built = build(make_task(make_step(volumeMounts=[mount(path)]), volumes=[{"name": "v", "emptyDir": {}}]))
    assert mount(path) in built["spec"]["containers"][0]["volumeMounts"]


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ({"volumes": [{"name": "$(params.x)", "emptyDir": {}}]}, "taskflow-run-1"),
        ({"volumes": [{"name": "$(params.x)", "emptyDir": {}}]}, "podinfo"),
        ({"sidecars": [make_step("s", volumeMounts=[mount("$(params.x)")])]}, "/taskflow"),
        ({"stepTemplate": {"volumeMounts": [mount("/$(params.x)")]}}, "taskflow/run/1"),
    ],
)
def test_a_parameters_value_is_no_way_around_it(spec, value):
    assert refused(make_task("a", params=[{"name": "x", "value": value}], **spec)).message


def template(**metadata):
    return {"podTemplate": {"metadata": metadata}}


@pytest.mark.parametrize("kind", ["labels", "annotations"])
@pytest.mark.parametrize(
    "key", ["taskorder", "type", "taskname", "api.practice.com/cancelled", "api.practice.com/x", "build.taskflow/build"]
)
def test_the_operators_own_metadata_is_refused_with_its_key(kind, key):
    error = refused(make_task("a", **template(**{kind: {"team": "x", key: "true"}})))
    assert error.message == f'spec.podTemplate.metadata.{kind}["{key}"]: is reserved for the operator'


@pytest.mark.parametrize("key", ["practice.com/cancelled", "my.api.practice.com/x", "types", "example.com/type"])
def test_neighbouring_metadata_is_not(key):
    pod = build(make_task("a", **template(labels={key: "x"}, annotations={key: "y"})))
    assert (pod["metadata"]["labels"][key], pod["metadata"]["annotations"][key]) == ("x", "y")


def test_a_template_leaves_room_for_the_operators_annotations():
    limit = 240 * 1024
    assert resolve(make_task("a", **template(annotations={"k": "x" * (limit - 1)})))
    error = refused(make_task("a", **template(annotations={"k": "x" * limit})))
    assert error.field == "spec.podTemplate.metadata.annotations"
    assert f"have {limit + 1} bytes, and the Pod has room for {limit}" in error.message


@pytest.mark.parametrize("image", ["UPPER", "a b", "http://x/y", "x:", ""])
@pytest.mark.parametrize("runs", [{"command": ["c"]}, {"script": "true"}, {}])
def test_an_image_that_is_no_reference_is_refused_with_its_field_whatever_runs_in_it(image, runs):
    params = {"params": [{"name": "x", "value": image}]}
    bad = {"name": "b", "image": "$(params.x)", **runs}
    assert refused(make_task("a", bad, **params)).field == "spec.steps[1].image"
    assert refused(make_task("a", sidecars=[bad], **params)).field == "spec.sidecars[0].image"
    inherited = make_task("a", {"name": "b", **runs}, stepTemplate={"image": "$(params.x)"}, **params)
    assert refused(inherited).field == "spec.stepTemplate.image"
    assert f"image {image!r} is not an image reference" in refused(inherited).message


def test_a_step_may_have_its_image_from_the_template():
    assert resolve(make_task({"name": "a", "command": ["c"]}, stepTemplate={"image": "t"})).steps[0]["image"] == "t"


def test_a_script_may_stand_where_the_template_has_a_command():
    task = make_task(make_step(script="true"), stepTemplate={"command": ["c"], "args": ["x"]})
    assert resolve(task).steps == [{"name": "a", "image": "i", "script": "true"}]


def test_which_steps_read_which_results():
    task = make_task(
        make_step("one", args=["$(results.v.path)"]),
        make_step("two", args=["$(results.v.path)", "$(results.u.path)"]),
        make_step(
            "three",
            args=["$(steps.two.results.v) $(steps.one.results.v)"],
            env=[{"name": "E", "value": "$(steps.two.results.u)"}],
        ),
        make_step("four"),
    )
    resolved = resolve(task)
    assert resolved.reads == [(), (), (1, 2), ()]
    assert resolved.writes == [{"v"}, {"u", "v"}, set(), set()]
