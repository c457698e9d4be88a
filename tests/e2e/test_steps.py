"""What a step's author may rely on."""

from __future__ import annotations

import hashlib
import itertools
import json

import pytest
from support import condition, make_task, shell, step_states

BOTH = pytest.mark.parametrize("handoff", ["Local", "Annotation"])
ODD_WORDS = [
    "two words",
    "",
    "'single' and \"double\"",
    "line one\nline two\n",
    "$HOME $(undefined) ${X} `id`",
    "back\\slash \\n",
    "--waitcontent",
    "-1",
    "日本語 ünï çødé 🚀",
    "tab\tend ",
]


@BOTH
def test_steps_run_in_the_order_written_whatever_their_names(cluster, handoff):
    names = ["zeta", "alpha", "mid"]
    cluster.apply(make_task("order", *[shell(n, f"echo {n}; sleep 0.1") for n in names], handoff=handoff))
    task = cluster.settled("order")
    assert task["status"]["status"] == "Successful"
    steps = task["status"]["steps"]
    assert [s["name"] for s in steps] == names
    assert all(a["finishedAt"] <= b["startedAt"] for a, b in itertools.pairwise(steps))


@BOTH
def test_a_failing_last_step_is_a_failure(cluster, handoff):
    cluster.apply(make_task("last", shell("zeta", "true"), shell("alpha", "exit 7"), handoff=handoff))
    task = cluster.settled("last")
    assert task["status"]["status"] == "Failure"
    assert step_states(task) == ["Succeeded", "Failed"]
    assert task["status"]["steps"][1]["exitCode"] == 7
    pod = cluster.get("pod", task["status"]["podName"])
    cluster.wait(
        "the order to be -1",
        lambda: cluster.get("pod", pod["metadata"]["name"])["metadata"]["annotations"]["taskorder"] == "-1",
    )


def test_arguments_arrive_byte_for_byte(cluster):
    line = 'for word in "$@"; do printf "%s" "$word" | od -An -v -tx1 | tr -d " \\n"; echo; done'
    steps = [
        {"name": "command", "command": ["sh", "-c", line, "sh", *ODD_WORDS]},
        {"name": "args", "command": ["sh", "-c", line], "args": ["sh", *ODD_WORDS]},
        {"name": "script", "script": f"#!/bin/sh\n{line}\n", "args": ODD_WORDS},
    ]
    cluster.apply(make_task("words", *steps))
    task = cluster.settled("words")
    assert task["status"]["status"] == "Successful", condition(task)
    for step in steps:
        log = cluster.logs(task["status"]["podName"], step["name"])
        assert [bytes.fromhex(x).decode() for x in log.splitlines()] == ODD_WORDS


def test_a_variable_of_the_step_is_filled_in_as_in_any_container(cluster):
    step = {"name": "a", "command": ["echo"], "args": ["$(WORD)", "$$(WORD)"], "env": [{"name": "WORD", "value": "x"}]}
    cluster.apply(make_task("variable", step))
    task = cluster.settled("variable")
    assert cluster.logs(task["status"]["podName"], "a") == "x $(WORD)\n"


def test_volumes_environment_and_directory_survive(cluster):
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    write = {**shell("write", "echo $WORD > /data/file; pwd"), **mount, "workingDir": "/tmp"}
    write["env"] = [{"name": "WORD", "value": "from step one"}]
    read = {**shell("read", 'cat /data/file; test -z "$WORD"'), **mount}
    cluster.apply(make_task("volumes", write, read, volumes=[{"name": "data", "emptyDir": {}}]))
    task = cluster.settled("volumes")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "write") == "/tmp\n"
    assert cluster.logs(task["status"]["podName"], "read") == "from step one\n"


def test_entrypoint_and_cmd_of_an_image_with_one_static_binary(cluster):
    image = "taskflow/static-hello:1"
    plain, with_args = {"name": "cmd", "image": image}, {"name": "args", "image": image, "args": ["a b"]}
    cluster.apply(make_task("static", plain, with_args))
    task = cluster.settled("static")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "cmd") == "hello world\n"
    assert cluster.logs(task["status"]["podName"], "args") == "hello a b\n"


def test_a_script_larger_than_an_argument_may_be(cluster):
    # Words that do not compress: the script's encoded text is longer than 128 KiB.
    words = "".join(f": {hashlib.sha512(str(n).encode()).hexdigest()}\n" for n in range(3000))
    step = {"name": "s", "script": f"#!/bin/sh\n{words}echo end $#\n", "args": ["1", "2"]}
    # Not by kubectl apply, which would keep a second copy in an annotation, and those end at 256 KiB.
    cluster.run("create", "-f", "-", stdin=json.dumps(make_task("large", step)))
    task = cluster.settled("large")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "s") == "end 2\n"


def test_a_program_that_is_not_there_is_named(cluster):
    cluster.apply(make_task("nothing", {"name": "a", "command": ["no-such-program"]}))
    task = cluster.settled("nothing")
    assert task["status"]["steps"][0]["exitCode"] == 127
    assert "no-such-program" in condition(task)["message"]


def test_steps_run_under_a_restricted_security_context(cluster):
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 12345,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    steps = [
        {**shell("a", "id -u"), "securityContext": restricted},
        {"name": "b", "script": "id -u", "securityContext": restricted},
    ]
    cluster.apply(make_task("restricted", *steps))
    task = cluster.settled("restricted")
    assert task["status"]["status"] == "Successful", condition(task)
    assert [cluster.logs(task["status"]["podName"], n) for n in "ab"] == ["12345\n"] * 2
