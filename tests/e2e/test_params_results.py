"""Params, and the results that steps hand on."""

from __future__ import annotations

import re

import pytest
from support import ROOT, SHOW_ARGUMENTS, condition, decoded, make_task, shell, step_states

# What would do harm, or be changed, if it ever became part of a program or were filled in once more.
ODD_VALUES = [
    "two words",
    "",
    "'single' and \"double\"",
    "line one\nline two",
    "$(touch /tmp/injected) `touch /tmp/injected`",
    "; touch /tmp/injected #",
    "' ; touch /tmp/injected ; '",
    "$HOME $(HOME) $$ $$(HOME) ${HOME} $(params.p0) $(steps.write.results.r0)",
    "back\\slash \\n",
    "--command",
    "日本語 ünï çødé 🚀",
    "tab\tend ",
]
NUMBERS = range(len(ODD_VALUES))
SHOW = f"{SHOW_ARGUMENTS}; test ! -e /tmp/injected"


def test_the_params_example(cluster):
    cluster.apply(ROOT / "examples" / "task_params_example.yaml")
    task = cluster.settled("example-taskflow-params")
    assert task["status"]["status"] == "Successful", condition(task)
    notes = 'it\'s for "test"; see $(date)'
    assert task["status"]["results"] == {"version": "taskflow-1.2", "notes": notes}
    pod = task["status"]["podName"]
    assert cluster.logs(pod, "build") == "building taskflow-1.2 in /build/test\n"
    assert cluster.logs(pod, "announce") == f"taskflow-1.2: {notes}\n"


def test_params_are_filled_in_wherever_they_stand(cluster):
    params = [
        {"name": "given", "value": "given"},
        {"name": "default", "default": "by default"},
        {"name": "both", "default": "x", "value": "y"},
        {"name": "image", "value": "busybox:1.28"},
        {"name": "dir", "value": "made/here"},
        {"name": "volume", "default": "data"},
    ]
    mounts = [{"name": "$(params.volume)", "mountPath": "/data"}]
    write = shell("write", 'echo "$PWD|$WORD|$1|$2|$3" | tee /data/file')
    write["args"] = ["sh", "$(params.given)", "$(params.default)", "$$(params.given)"]
    write.update(image="$(params.image)", workingDir="/$(params.dir)", volumeMounts=mounts)
    write["env"] = [{"name": "WORD", "value": "<$(params.both)>"}]
    read = {"name": "read", "command": ["cat", "/data/file"], "volumeMounts": mounts}
    volumes = [{"name": "$(params.volume)", "emptyDir": {}}]
    cluster.apply(make_task("params", write, read, params=params, volumes=volumes))
    task = cluster.settled("params")
    assert task["status"]["status"] == "Successful", condition(task)
    for step in ("write", "read"):
        log = cluster.logs(task["status"]["podName"], step)
        assert log == "/made/here|<y>|given|by default|$(params.given)\n"


def test_odd_values_arrive_byte_for_byte_and_never_run(cluster):
    params = [{"name": f"p{n}", "value": value} for n, value in enumerate(ODD_VALUES)]
    keep = "".join(f'printf "%s" "${{{n + 1}}}" > $(results.r{n}.path)\n' for n in NUMBERS)
    results = [f"$(steps.write.results.r{n})" for n in NUMBERS]
    env = [{"name": f"R{n}", "value": results[n]} for n in NUMBERS]
    env += [{"name": f"P{n}", "value": f"$(params.p{n})"} for n in NUMBERS]
    from_environment = "set -- " + " ".join([f'"$R{n}"' for n in NUMBERS] + [f'"$P{n}"' for n in NUMBERS])
    steps = [
        {"name": "write", "script": f"#!/bin/sh -e\n{keep}{SHOW}\n", "args": [f"$(params.p{n})" for n in NUMBERS]},
        {"name": "args", "command": ["sh", "-c", SHOW, "sh", *results, *(f"<{result}>" for result in results)]},
        {"name": "env", "command": ["sh", "-c", f"{from_environment}; {SHOW}"], "env": env},
        # The kubelet's own $(NAME), of variables that hold them.
        {**shell("both", SHOW), "args": ["sh", *(f"$({v['name']})" for v in env)], "env": env},
    ]
    cluster.apply(make_task("odd", *steps, params=params))
    task = cluster.settled("odd")
    assert task["status"]["status"] == "Successful", condition(task)
    expected = {f"r{n}": value for n, value in enumerate(ODD_VALUES)}
    assert task["status"]["results"] == expected
    assert task["status"]["steps"][0]["results"] == expected
    assert "results" not in task["status"]["steps"][1]
    shown = {name: decoded(cluster.logs(task["status"]["podName"], name)) for name in ("write", "args", "env", "both")}
    assert shown["write"] == ODD_VALUES
    assert shown["args"] == ODD_VALUES + [f"<{value}>" for value in ODD_VALUES]
    assert shown["env"] == shown["both"] == ODD_VALUES * 2


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"args": ["$(params.nope)"]}, "spec.steps[0].args[0]", "spec.params has value"),
        ({"env": [{"name": "X", "value": "$(params.nope)"}]}, "spec.steps[0].env[0].value", "spec.params has value"),
        ({"image": "$(params.nope)"}, "spec.steps[0].image", "spec.params has value"),
        ({"image": "$(steps.last.results.x)"}, "spec.steps[0].image", "known only in the Pod"),
        ({"args": ["$(steps.last.results.x)"]}, "spec.steps[0].args[0]", "the steps before this one are none"),
        ({"args": ["$(results.x)"]}, "spec.steps[0].args[0]", "$(results.NAME.path)"),
        ({"script": "echo $(params.value)"}, "spec.steps[0].script", 'use "$1"'),
        ({"command": ["sh", "-c", "echo $(params.value)"]}, "spec.steps[0].command[2]", 'use "$1"'),
        ({"command": ["sh", "-ec"], "args": ["echo $(params.value)"]}, "spec.steps[0].args[0]", 'use "$1"'),
    ],
)
def test_a_reference_that_can_not_be_is_refused_with_the_field(cluster, spec, field, words):
    first = {"name": "first", **({} if "script" in spec else {"command": ["echo"]}), **spec}
    last = {"name": "last", "script": "echo 1 > $(results.x.path)"}
    cluster.apply(make_task("wrong", first, last, params=[{"name": "value", "value": "v"}]))
    assert_invalid(cluster, field, words)


@pytest.mark.parametrize(
    ("args", "spec", "field", "words"),
    [
        (["$(steps.first.results.y)"], {}, "spec.steps[1].args[0]", "step 'first' writes x"),
        ([], {"params": [{"name": "none"}]}, "spec.params[0].value", "is missing"),
        ([], {"podTemplate": {"nodeSelector": {"a": "$(params.b)"}}}, "spec.podTemplate.nodeSelector.a", "has none"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_with_the_field(cluster, args, spec, field, words):
    first = {"name": "first", "script": "echo 1 > $(results.x.path)"}
    cluster.apply(make_task("wrong", first, {"name": "last", "command": ["echo"], "args": args}, **spec))
    assert_invalid(cluster, field, words)


def assert_invalid(cluster, field: str, words: str) -> None:
    task = cluster.finished("wrong")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "InvalidSpec")
    assert condition(task)["message"].startswith(f"{field}: ")
    assert words in condition(task)["message"]
    assert cluster.pods_of("wrong") == []
    assert cluster.event("wrong", "Failed") == condition(task)["message"]


def test_results_that_are_too_large_and_results_that_are_not_there(cluster):
    steps = [
        {"name": "large", "script": "printf %05000d 7 > $(results.big.path)", "onError": "continue"},
        {"name": "lazy", "script": ": nothing goes to $(results.little.path)"},
        {"name": "user", "command": ["echo", "$(steps.lazy.results.little)"], "onError": "continue"},
        {"name": "other", "command": ["echo", "$(steps.large.results.big)"]},
        shell("never", "echo never"),
    ]
    cluster.apply(make_task("results", *steps))
    task = cluster.settled("results")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "StepFailed")
    assert step_states(task) == ["Failed", "Succeeded", "Failed", "Failed", "Skipped"]
    large, lazy, user, other, _ = task["status"]["steps"]
    assert large["reason"] == "ResultsTooLarge"
    # Six containers share the 12 KiB that the kubelet keeps for a Pod.
    numbers = re.search(r"need (\d+) bytes, .* room for (\d+) \(largest: big, 5000 bytes\)", large["message"])
    assert numbers and int(numbers[1]) >= 5000 > 12 * 1024 // 6 >= int(numbers[2])
    assert "results" not in lazy and "results" not in task["status"]
    assert [step["reason"] for step in (user, other)] == ["ResultMissing"] * 2
    assert "step 'lazy' wrote no result 'little'" in user["message"]
    assert "step 'large' wrote no result 'big'" in condition(task)["message"]
    assert "ResultsTooLarge" in cluster.event("results", "StepFailed", '"large"')
