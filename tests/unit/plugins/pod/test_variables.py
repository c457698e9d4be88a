"""References to parameters and results, and where they may stand."""

from __future__ import annotations

import copy
import re

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._pod.spec import resolve
from hypothesis import example, given
from hypothesis import strategies as st
from support.tasks.factory import build, container_of, flags_of, make_step, make_task, values_of, words_of
from support.tasks.kubelet import arguments, environment

TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40)


def param(name="x", **fields):
    return {"name": name, **fields}


def refused(task, images=None):
    """Return what a Task is refused with."""
    with pytest.raises(InvalidSpec) as caught:
        build(task, images)
    return caught.value


def ran(task, name="a", images=None):
    """Return the words that a container's process gets."""
    pod = build(task, images)
    return arguments(container_of(pod, name), words_of(pod, name))


WRITER = make_step("w", args=["$(results.v.path)"])


# Where a reference leads.


@pytest.mark.parametrize(
    ("given_param", "value"),
    [(param(value="1"), "1"), (param(default="2"), "2"), (param(value="1", default="2"), "1"), (param(value=""), "")],
)
def test_a_parameter_has_its_value_or_its_default(given_param, value):
    assert ran(make_task(make_step(args=["<$(params.x)>"]), params=[given_param])) == ["c", f"<{value}>"]


def test_a_parameter_with_neither_is_refused():
    error = refused(make_task("a", params=[param("x", value="1"), param("y")]))
    assert error.field == "spec.params[1].value"
    assert "'y' has no default" in error.message


def test_references_are_filled_in_wherever_a_plain_string_stands():
    task = make_task(
        make_step(
            image="busybox:$(params.x)",
            workingDir="/w/$(params.x)",
            command=["c", "$(params.x)-$(params.x)"],
            env=[
                {"name": "A", "value": "is $(params.x)"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s-$(params.x)", "key": "k"}}},
            ],
            volumeMounts=[{"name": "data", "mountPath": "/data", "subPath": "$(params.x)"}],
            readinessProbe={"exec": {"command": ["test", "$(params.x)"]}},
        ),
        params=[param(value="v1")],
        sidecars=[make_step("s", image="web:$(params.x)", args=["$(params.x)"])],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "c-$(params.x)"}}],
        podTemplate={"nodeSelector": {"disk": "$(params.x)"}, "metadata": {"labels": {"v": "$(params.x)"}}},
        serviceAccountName="sa-$(params.x)",
    )
    pod = build(task)
    step, sidecar = container_of(pod, "a"), container_of(pod, "s")
    assert step["image"] == "busybox:v1"
    assert step["workingDir"] == "/w/v1"
    assert words_of(pod, "a") == ["c", "v1-v1"]
    assert step["env"][0]["value"] == "is v1"
    assert step["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "s-v1"
    assert step["volumeMounts"][0]["subPath"] == "v1"
    assert step["readinessProbe"]["exec"]["command"] == ["test", "v1"]
    assert (sidecar["image"], words_of(pod, "s")) == ("web:v1", ["c", "v1"])
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "c-v1"
    assert pod["spec"]["nodeSelector"] == {"disk": "v1"}
    assert pod["metadata"]["labels"]["v"] == "v1"
    assert pod["spec"]["serviceAccountName"] == "sa-v1"


def test_a_step_template_is_filled_in_too():
    task = make_task({"name": "a"}, stepTemplate={"image": "i:$(params.x)", "command": ["c", "$(params.x)"]})
    task["spec"]["params"] = [param(value="1")]
    pod = build(task)
    assert (container_of(pod, "a")["image"], words_of(pod, "a")) == ("i:1", ["c", "1"])


def test_the_path_of_a_result_is_in_the_steps_own_run_directory():
    task = make_task(
        "first",
        make_step(
            "a",
            args=["$(results.v.path)"],
            env=[{"name": "OUT", "value": "$(results.other_v.path)"}],
            workingDir="$(results.third-v.path)",
        ),
    )
    pod = build(task)
    assert words_of(pod, "a") == ["c", "/taskflow/run/2/results/v"]
    assert container_of(pod, "a")["env"] == [{"name": "OUT", "value": "/taskflow/run/2/results/other_v"}]
    assert container_of(pod, "a")["workingDir"] == "/taskflow/run/2/results/third-v"
    assert values_of(pod, "a", "--results-dir") == ["/taskflow/run/2/results"]
    assert values_of(pod, "a", "--result") == ["other_v", "third-v", "v"]


def test_an_earlier_steps_result_is_left_to_the_agent():
    task = make_task(
        WRITER,
        make_step("a", args=["<$(steps.w.results.v)>"], env=[{"name": "V", "value": "$(steps.w.results.v)!"}]),
    )
    pod = build(task)
    (mark,) = values_of(pod, "a", "--fill")
    assert words_of(pod, "a") == ["c", f"<{{{mark}:w/v}}>"]
    assert container_of(pod, "a")["env"] == [{"name": "V", "value": f"{{{mark}:w/v}}!"}]
    assert values_of(pod, "a", "--env") == ["V=$(V)"]
    assert arguments(container_of(pod, "a"), values_of(pod, "a", "--env")) == [f"V={{{mark}:w/v}}!"]
    assert values_of(pod, "a", "--results-of") == ["w=/taskflow/run/1/done"]
    assert "--fill" not in flags_of(pod, "w")


def test_nobody_can_know_the_mark_before_the_task_is_there():
    def mark_of(uid, **spec):
        task = make_task(WRITER, make_step("a", args=["$(steps.w.results.v)"]), **spec)
        task["metadata"]["uid"] = uid
        return resolve(task).mark

    assert len({mark_of("u1"), mark_of("u2"), mark_of("u1", timeout="1s")}) == 3
    assert mark_of("u1") == mark_of("u1", cancel=True)


# Escaping, and what a value may hold.


@pytest.mark.parametrize(
    ("written", "got"),
    [
        ("$$(params.x)", "$(params.x)"),
        ("$$(results.v.path)", "$(results.v.path)"),
        ("$$(steps.w.results.v)", "$(steps.w.results.v)"),
        ("$$$(params.x)", "$1"),
        ("$$$$(params.x)", "$$(params.x)"),
        ("a$b$", "a$b$"),
        ("$(HOME)", "$(HOME)"),
        ("$$(HOME)", "$(HOME)"),
        ("$(params)", "$(params)"),
        ("$params.x", "$params.x"),
        ("$( params.x )", "$( params.x )"),
        ("{params.x}", "{params.x}"),
    ],
)
def test_a_doubled_dollar_writes_the_reference_itself(written, got):
    task = make_task(make_step(args=[written], env=[{"name": "E", "value": written}]), params=[param(value="1")])
    pod = build(task)
    assert arguments(container_of(pod, "a"), words_of(pod, "a")) == ["c", got]
    assert environment(container_of(pod, "a")) == {"E": got}


@pytest.mark.parametrize(
    ("written", "got"),
    [("$$(params.x)", "$(params.x)"), ("$$(results.v.path)", "$(results.v.path)"), ("$$", "$$"), ("$$(x)", "$$(x)")],
)
@pytest.mark.parametrize("field", ["workingDir", "script"])
def test_where_the_kubelet_expands_nothing_only_a_references_escape_is_taken_off(written, got, field):
    pod = resolve(make_task(make_step(**{field: written}), params=[param(value="1")]))
    assert pod.steps[0][field] == got


VALUES = [
    "$(HOME)",
    "$$(HOME)",
    "$",
    "a$b$$c",
    "it's",
    'say "hi"',
    "two\nlines\n",
    "`id` $(id) ; rm -rf /",
    "$(params.y)",
    "$$(params.y)",
    "$(results.v.path)",
    "$(steps.w.results.v)",
    "\\n",
    "-c",
    "\N{SNOWMAN}",
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_arrives_byte_for_byte(value):
    task = make_task(
        make_step(
            command=["c", "$(params.x)"],
            args=["a$(params.x)b"],
            env=[{"name": "HOME", "value": "/root"}, {"name": "E", "value": "$(params.x)"}],
            workingDir="/$(params.x)",
        ),
        params=[param(value=value), param("y", value="never")],
    )
    pod = build(task)
    step = container_of(pod, "a")
    assert arguments(step, words_of(pod, "a")) == ["c", value, f"a{value}b"]
    assert environment(step)["E"] == value
    assert step["workingDir"] == f"/{value}"


@pytest.mark.parametrize("value", ["$(HOME)", "$$(HOME)", "a$$b", "plain"])
@pytest.mark.parametrize("probe", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_a_value_arrives_byte_for_byte_in_a_probe_where_the_kubelet_expands_too(value, probe):
    exec_ = {"exec": {"command": ["test", "$(params.x)"]}}
    step = make_step(env=[{"name": "HOME", "value": "/root"}], **{probe: exec_})
    built = container_of(build(make_task(step, params=[param(value=value)])), "a")
    assert arguments(built, built[probe]["exec"]["command"]) == ["test", value]


@pytest.mark.parametrize("value", ["$(HOME)", "$$(HOME)"])
def test_a_value_arrives_byte_for_byte_in_a_hook_where_the_kubelet_does_not(value):
    step = make_step(lifecycle={"preStop": {"exec": {"command": ["test", "$(params.x)"]}}})
    built = container_of(build(make_task(step, params=[param(value=value)])), "a")
    assert built["lifecycle"]["preStop"]["exec"]["command"] == ["test", value]


@given(TEXT, TEXT.filter(lambda text: not text.endswith("$")), TEXT)
@example("$", "a", "(HOME)")
def test_any_value_between_any_words_arrives_byte_for_byte(value, before, after):
    plain = re.compile(r"\$\$|\$\(")
    if plain.search(before) or plain.search(after):
        return
    task = make_task(make_step(args=[f"{before}$(params.x){after}"]), params=[param(value=value)])
    assert ran(task) == ["c", f"{before}{value}{after}"]


def test_a_value_is_not_looked_at_again():
    task = make_task(
        make_step(args=["$(params.x)$(params.y)"]), params=[param(value="$(params"), param("y", value=".x)")]
    )
    assert ran(task) == ["c", "$(params.x)"]


def test_a_value_can_not_pose_as_a_result():
    task = make_task(WRITER, make_step("a", args=["$(params.x)"]), params=[param(value="{taskflow:w/v}")])
    pod = build(task)
    assert "--fill" not in flags_of(pod, "a")
    assert words_of(pod, "a") == ["c", "{taskflow:w/v}"]


# References that lead nowhere.


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"image": "$(params.no)"}, "spec.steps[1].image"),
        ({"command": ["c", "$(params.no)"]}, "spec.steps[1].command[1]"),
        ({"args": ["x", "y $(params.no)"]}, "spec.steps[1].args[1]"),
        ({"env": [{"name": "A"}, {"name": "B", "value": "$(params.no)"}]}, "spec.steps[1].env[1].value"),
        (
            {"env": [{"name": "B", "valueFrom": {"secretKeyRef": {"name": "$(params.no)"}}}]},
            "spec.steps[1].env[0].valueFrom.secretKeyRef.name",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/$(params.no)"}]},
            "spec.steps[1].volumeMounts[0].mountPath",
        ),
        (
            {"livenessProbe": {"exec": {"command": ["a", "$(params.no)"]}}},
            "spec.steps[1].livenessProbe.exec.command[1]",
        ),
        ({"resources": {"limits": {"cpu": "$(params.no)"}}}, "spec.steps[1].resources.limits.cpu"),
    ],
)
def test_an_unknown_parameter_of_a_step_is_refused_with_its_field(spec, field):
    error = refused(make_task("first", make_step("a", **spec), params=[param("x", value="1"), param("y", value="2")]))
    assert error.field == field
    assert error.message.endswith("$(params.no) leads nowhere: spec.params has x, y")


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"stepTemplate": {"workingDir": "$(params.no)"}}, "spec.stepTemplate.workingDir"),
        ({"sidecars": [make_step("s", args=["$(params.no)"])]}, "spec.sidecars[0].args[0]"),
        ({"volumes": [{"name": "v", "hostPath": {"path": "$(params.no)"}}]}, "spec.volumes[0].hostPath.path"),
        (
            {"podTemplate": {"tolerations": [{"key": "$(params.no)"}]}},
            "spec.podTemplate.tolerations[0].key",
        ),
        ({"serviceAccountName": "$(params.no)"}, "spec.serviceAccountName"),
    ],
)
def test_an_unknown_parameter_elsewhere_is_refused_with_its_field(spec, field):
    error = refused(make_task("a", **spec))
    assert error.field == field
    assert error.message.endswith("$(params.no) leads nowhere: spec.params has none")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("$(params.)", "leads nowhere"),
        ("$(results.v)", "write $(results.NAME.path)"),
        ("$(results.v.path.x)", "write $(results.NAME.path)"),
        ("$(results..path)", "write $(results.NAME.path)"),
        ("$(results./etc/x.path)", "write $(results.NAME.path)"),
        ("$(steps.w)", "write $(steps.STEP.results.NAME)"),
        ("$(steps.w.v)", "write $(steps.STEP.results.NAME)"),
        ("$(steps.w.results.v.path)", "write $(steps.STEP.results.NAME)"),
        ("$(steps.no.results.v)", "the steps before this one are first, w"),
        ("$(steps.a.results.own)", "the steps before this one are first, w"),
        ("$(steps.later.results.v)", "the steps before this one are first, w"),
        ("$(steps.w.results.no)", "step 'w' writes v"),
        ("$(steps.first.results.v)", "step 'first' writes none"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_with_what_there_is(reference, words):
    task = make_task(
        "first", WRITER, make_step("a", args=["$(results.own.path)", reference]), make_step("later", args=["x"])
    )
    error = refused(task)
    assert error.field == "spec.steps[2].args[1]"
    assert words in error.message


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"image": "$(steps.w.results.v)"}, "image"),
        ({"workingDir": "/$(steps.w.results.v)"}, "workingDir"),
        ({"readinessProbe": {"exec": {"command": ["$(steps.w.results.v)"]}}}, "readinessProbe.exec.command[0]"),
    ],
)
def test_a_result_is_refused_where_it_must_be_known_before_the_pod_runs(fields, field):
    error = refused(make_task(WRITER, make_step("a", **fields)))
    assert error.field == f"spec.steps[1].{field}"
    assert "known only in the Pod" in error.message


@pytest.mark.parametrize("reference", ["$(results.v.path)", "$(steps.w.results.v)"])
@pytest.mark.parametrize("where", ["sidecars", "volumes", "podTemplate", "serviceAccountName"])
def test_results_are_for_steps_only(reference, where):
    value = {
        "sidecars": [make_step("s", args=[reference])],
        "volumes": [{"name": reference}],
        "podTemplate": {"schedulerName": reference},
        "serviceAccountName": reference,
    }[where]
    assert refused(make_task(WRITER, **{where: value})).field.startswith(f"spec.{where}")


def test_a_sidecars_script_has_no_results():
    error = refused(make_task(WRITER, sidecars=[make_step("s", script="echo $(results.v.path)")]))
    assert error.field == "spec.sidecars[0].script"


# A value never becomes part of a program.


@pytest.mark.parametrize("reference", ["$(params.x)", "$(steps.w.results.v)"])
def test_a_script_refuses_values(reference):
    task = make_task(WRITER, make_step("a", script=f"echo {reference}"), params=[param(value="1")])
    error = refused(task)
    assert error.field == "spec.steps[1].script"
    assert "part of a program" in error.message


def test_a_script_may_have_the_path_of_a_result_and_its_arguments_may_have_values():
    task = make_task(
        WRITER,
        make_step("a", script="#!/bin/sh\necho > $(results.v.path) $1", args=["$(params.x)", "$(steps.w.results.v)"]),
        params=[param(value="1")],
    )
    pod = build(task)
    assert resolve(task).steps[1]["script"] == "#!/bin/sh\necho > /taskflow/run/2/results/v $1"
    assert words_of(pod, "a")[0] == "1"
    assert values_of(pod, "a", "--result") == ["v"]


INLINE = [
    ["sh", "-c", "TEXT"],
    ["/bin/sh", "-c", "TEXT"],
    ["bash", "-ec", "TEXT"],
    ["bash", "-c", "-e", "TEXT"],
    ["bash", "--norc", "-c", "TEXT"],
    ["bash", "-c", "--", "TEXT"],
    ["dash", "-ce", "TEXT"],
    ["python3", "-c", "TEXT"],
    ["/usr/bin/python3.11", "-Bc", "TEXT"],
    ["busybox", "sh", "-c", "TEXT"],
    ["/bin/busybox", "ash", "-c", "TEXT"],
    ["env", "X=1", "sh", "-c", "TEXT"],
    ["/usr/bin/env", "-i", "bash", "-c", "TEXT"],
    ["tini", "--", "sh", "-c", "TEXT"],
    ["timeout", "-s", "KILL", "5", "sh", "-c", "TEXT"],
    ["perl", "-ne", "TEXT"],
    ["ruby", "-e", "TEXT"],
    ["node", "-e", "TEXT"],
]


def inline(words, text):
    return [text if word == "TEXT" else word for word in words]


@pytest.mark.parametrize("words", INLINE, ids=" ".join)
@pytest.mark.parametrize("reference", ["$(params.x)", "$(steps.w.results.v)"])
def test_an_inline_programs_text_refuses_values(words, reference):
    where = words.index("TEXT")
    task = make_task(
        WRITER, make_step("a", command=inline(words, f"echo {reference}")), params=[param(value="; rm -rf /")]
    )
    error = refused(task)
    assert error.field == f"spec.steps[1].command[{where}]"
    assert "part of a program" in error.message
    # The same words, cut between command and args.
    task["spec"]["steps"][1] = make_step("a", command=words[:1], args=inline(words[1:], f"echo {reference}"))
    assert refused(task).field == f"spec.steps[1].args[{where - 1}]"


@pytest.mark.parametrize("words", INLINE, ids=" ".join)
def test_an_inline_programs_text_may_have_the_path_of_a_result_and_arguments_with_values(words):
    task = make_task(
        make_step(command=[*inline(words, "echo > $(results.v.path) $$(params.x)"), "name", "$(params.x)"]),
        params=[param(value="1")],
    )
    assert ran(task)[-3:] == ["echo > /taskflow/run/1/results/v $(params.x)", "name", "1"]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["bash", "-o", "pipefail", "-c", "TEXT"], id="bash -o"),
        pytest.param(["bash", "-eo", "pipefail", "-c", "TEXT"], id="bash -eo"),
        pytest.param(["bash", "-euxo", "pipefail", "-c", "TEXT"], id="bash -euxo"),
        pytest.param(["python3", "-W", "ignore", "-c", "TEXT"], id="python -W"),
        pytest.param(["perl", "-I", "lib", "-e", "TEXT"], id="perl -I"),
        pytest.param(["bash", "-c", "+e", "TEXT"], id="bash -c +e"),
        pytest.param(["sh", "/entrypoint.sh", "bash", "-c", "TEXT"], id="a shell started by a shell's script"),
    ],
)
def test_an_inline_programs_text_is_found_behind_options_that_take_a_value(words):
    task = make_task(make_step("a", command=inline(words, "echo $(params.x)")), params=[param(value="1")])
    assert "part of a program" in refused(task).message


@pytest.mark.parametrize(
    "words",
    [
        ["su", "-c", "TEXT"],
        ["node", "--eval", "TEXT"],
        ["node", "--eval=TEXT"],
        ["node", "-p", "TEXT"],
        ["perl", "-E", "TEXT"],
        ["php", "-r", "TEXT"],
        ["pwsh", "--command", "TEXT"],
        ["bash", "--rcfile", "/rc", "-c", "TEXT"],
    ],
    ids=" ".join,
)
def test_other_interpreters_refuse_values_too(words):
    line = [word.replace("TEXT", "$(params.x)") for word in words]
    assert "part of a program" in refused(make_task(make_step(command=line), params=[param(value="1")])).message


@pytest.mark.parametrize(
    "env",
    [
        [{"name": "V", "value": "$(params.x)"}],
        [{"name": "V", "value": "a $(steps.w.results.v)"}],
        [{"name": "U", "value": "$(params.x)"}, {"name": "V", "value": "<$(U)>"}],
    ],
)
def test_a_value_does_not_reach_a_program_through_a_variable_that_the_kubelet_fills_in(env):
    def task(text):
        return make_task(WRITER, make_step("a", command=["sh", "-c", text], env=env), params=[param(value="1")])

    error = refused(task("echo $(V)"))
    assert error.field == "spec.steps[1].command[2]"
    assert "part of a program" in error.message
    for harmless in ('echo "$V"', "echo $$(V)", "echo $(OTHER)"):
        assert words_of(build(task(harmless)), "a")[2] == harmless


@pytest.mark.parametrize("value", [1, True, ["x"]])
def test_a_variable_that_is_no_text_is_refused(value):
    error = refused(make_task(make_step(env=[{"name": "A", "value": value}])))
    assert error.field == "spec.steps[0].env[0].value"
    assert "put it in quotes" in error.message


@pytest.mark.parametrize(
    "words",
    [
        ["echo", "$(params.x)"],
        ["sh", "/script.sh", "$(params.x)"],
        ["sh", "-e", "/script.sh", "$(params.x)"],
        ["python3", "-m", "http.server", "$(params.x)"],
        ["gcc", "-c", "$(params.x)"],
        ["sh", "-c"],
        ["fish.d", "-c", "$(params.x)"],
    ],
    ids=" ".join,
)
def test_other_commands_take_values(words):
    assert ran(make_task(make_step(command=words), params=[param(value="1")]))[0] == words[0]


def test_the_text_of_a_probe_or_hook_refuses_values_too():
    for field, value in [
        ("livenessProbe", {"exec": {"command": ["sh", "-c", "echo $(params.x)"]}}),
        ("lifecycle", {"preStop": {"exec": {"command": ["sh", "-c", "echo $(params.x)"]}}}),
    ]:
        error = refused(make_task(make_step(**{field: value}), params=[param(value="1")]))
        assert error.field.startswith(f"spec.steps[0].{field}")
        assert error.field.endswith("exec.command[2]")


def test_a_step_templates_shell_is_seen_with_the_steps_own_text():
    template = {"image": "i", "command": ["sh", "-c"]}
    task = make_task({"name": "a", "args": ["echo $(params.x)"]}, stepTemplate=template, params=[param(value="1")])
    assert refused(task).field == "spec.steps[0].args[0]"


@pytest.mark.parametrize(
    ("image", "args", "position"),
    [
        (ImageConfig(("sh", "-c"), ("true",)), ["echo $(params.x)"], 2),
        (ImageConfig(("/bin/busybox",), ()), ["sh", "-c", "echo $(params.x)"], 3),
        (ImageConfig((), ("x",)), ["sh", "-c", "$(steps.w.results.v)"], 2),
    ],
)
def test_the_images_entrypoint_counts(image, args, position):
    step = {"name": "a", "image": "i", "args": args}
    error = refused(make_task(WRITER, step, params=[param(value="1")]), {"i": image})
    assert "part of a program" in error.message
    assert error.field == f"spec.steps[1] (after the image's ENTRYPOINT)[{position}]"


def test_a_value_that_looks_like_a_reference_is_no_reference_for_the_images_entrypoint():
    step = {"name": "a", "image": "i", "args": ["echo ok", "$(params.x)"]}
    task = make_task(step, params=[param(value="$(params.x)")])
    assert ran(task, images={"i": ImageConfig(("sh", "-c"))}) == ["sh", "-c", "echo ok", "$(params.x)"]


def test_resolving_changes_nothing():
    task = make_task(
        WRITER,
        make_step("a", args=["$(params.x)", "$(steps.w.results.v)"], env=[{"name": "E", "value": "$(params.x)"}]),
        stepTemplate={"env": [{"name": "T", "value": "$(params.x)"}]},
        params=[param(value="1")],
        volumes=[{"name": "v", "hostPath": {"path": "/$(params.x)"}}],
        podTemplate={"nodeSelector": {"a": "$(params.x)"}},
    )
    before = copy.deepcopy(task)
    assert resolve(task) == resolve(task)
    assert task == before


@pytest.mark.parametrize(
    "words",
    [
        ["python3", "-Wignore", "-c", "TEXT"],
        ["perl", "-I/lib", "-MPOSIX", "-e", "TEXT"],
        ["ruby", "-ropenssl", "-e", "TEXT"],
        ["bash", "--rcfile", "f", "-c", "TEXT"],
        ["node", "--require", "m", "-e", "TEXT"],
        ["node", "--eval=TEXT"],
        ["perl", "-E", "TEXT"],
        ["php", "-r", "TEXT"],
        ["su", "-c", "TEXT", "somebody"],
    ],
    ids=" ".join,
)
def test_other_ways_to_give_a_programs_text(words):
    command = [word.replace("TEXT", "echo $(params.x)") for word in words]
    assert "part of a program" in refused(make_task(make_step(command=command), params=[param(value="1")])).message


@pytest.mark.parametrize("value", ["$(params.x)", "$(OTHER)"])
def test_the_kubelet_puts_no_value_into_a_programs_text_either(value):
    env = [{"name": "OTHER", "value": "<$(params.x)>"}, {"name": "V", "value": value}, {"name": "W", "value": "w"}]
    task = make_task(make_step(command=["sh", "-c", "echo $(V)"], env=env), params=[param(value="; id")])
    error = refused(task)
    assert (error.field, "$(V)" in error.message) == ("spec.steps[0].command[2]", True)
    probe = {"exec": {"command": ["sh", "-c", "echo $(V)"]}}
    task["spec"]["steps"][0].update(command=["sh", "-c", "echo $(W) $$(V) $V"], livenessProbe=probe)
    assert refused(task).field == "spec.steps[0].livenessProbe.exec.command[2]"
    del task["spec"]["steps"][0]["livenessProbe"]
    assert ran(task)[-1] == "echo w $(V) $V"


@pytest.mark.parametrize("value", [8080, True, 1.5, ["a"]])
def test_a_variable_that_is_no_string_is_refused_and_not_lost(value):
    task = make_task(make_step(env=[{"name": "PORT", "value": value}]))
    assert refused(task).field == "spec.steps[0].env[0].value"
