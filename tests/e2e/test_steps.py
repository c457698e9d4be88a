"""What a step's author may rely on."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import random
import re

import pytest
from support import ROOT, SHOW_ARGUMENTS, condition, decoded, ended_container, make_task, shell, step_states

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
    steps = [
        {"name": "command", "command": ["sh", "-c", SHOW_ARGUMENTS, "sh", *ODD_WORDS]},
        {"name": "args", "command": ["sh", "-c", SHOW_ARGUMENTS], "args": ["sh", *ODD_WORDS]},
        {"name": "script", "script": f"#!/bin/sh\n{SHOW_ARGUMENTS}\n", "args": ODD_WORDS},
    ]
    cluster.apply(make_task("words", *steps))
    task = cluster.settled("words")
    assert task["status"]["status"] == "Successful", condition(task)
    for step in steps:
        assert decoded(cluster.logs(task["status"]["podName"], step["name"])) == ODD_WORDS


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


def test_a_script_as_large_as_the_api_takes(cluster):
    # It does not compress, so that it is far longer than one argument may be (128 KiB) on its way to the step.
    noise = base64.b64encode(random.Random(1).randbytes(735_000)).decode()
    lines = "".join(f": {noise[start : start + 100]}\n" for start in range(0, len(noise), 100))
    script = f"#!/bin/sh\n{lines}echo end $#\n"
    assert len(script) > 1_000_000
    # Not by kubectl apply, which would keep a second copy in an annotation, and those end at 256 KiB.
    manifest = make_task("large", {"name": "s", "script": script, "args": ["1", "2"]})
    cluster.run("create", "-f", "-", stdin=json.dumps(manifest))
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


def test_exit_codes_and_signals_are_exact(cluster):
    ends = {"three": "exit 3", "most": "exit 255", "killed": "kill -9 $$", "ended": "kill -15 $$", "zero": "exit 0"}
    # As scripts, since of $$ in a command Kubernetes makes one $.
    steps = [{"name": name, "script": line, "onError": "continue"} for name, line in ends.items()]
    cluster.apply(make_task("codes", *steps))
    task = cluster.settled("codes")
    steps = {step["name"]: step for step in task["status"]["steps"]}
    assert {name: step["exitCode"] for name, step in steps.items()} == dict(
        three=3, most=255, killed=137, ended=143, zero=0
    )
    assert (steps["killed"]["reason"], steps["ended"]["reason"]) == ("Signal", "Signal")
    assert "signal 9" in steps["killed"]["message"] and "signal 15" in steps["ended"]["message"]
    assert "signal 9" in cluster.event("codes", "StepFailed", '"killed" (3 of 5)')
    assert "continued" not in steps["zero"]


def test_the_times_of_steps_are_the_commands_own_to_the_millisecond(cluster):
    # What date says is between the times of its step; the container began long before.
    cluster.apply(make_task("times", shell("a", "sleep 1.5"), shell("b", "date +%s"), shell("c", "date +%s")))
    task = cluster.settled("times")
    steps = task["status"]["steps"]
    times = [step[key] for step in steps for key in ("startedAt", "finishedAt")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for time in times), times
    assert times == sorted(times)
    pod = cluster.get("pod", task["status"]["podName"])
    assert ended_container(pod, "c")["startedAt"] < steps[2]["startedAt"]
    for step in steps[1:]:
        seconds = int(cluster.logs(task["status"]["podName"], step["name"]))
        began, ended = (datetime.datetime.fromisoformat(step[key]).timestamp() for key in ("startedAt", "finishedAt"))
        assert int(began) <= seconds <= ended


def test_the_step_template_is_merged_as_kubernetes_merges_containers(cluster):
    template = {
        "image": "busybox:1.28",
        "workingDir": "/made/for/it",
        "env": [{"name": "MODE", "value": "fast"}, {"name": "COLOR", "value": "red"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/other"}],
        "command": ["sh", "-c", 'echo "$PWD $MODE $COLOR $SIZE"; cat /data/file /own/file'],
    }
    steps = [
        {"name": "write", "script": "#!/bin/sh -e\necho $MODE $COLOR $# > /data/file"},
        {
            "name": "read",
            "env": [{"name": "COLOR", "value": "blue"}, {"name": "SIZE", "value": "9"}],
            "volumeMounts": [{"name": "data", "mountPath": "/own"}, {"name": "none", "mountPath": "/other"}],
        },
    ]
    volumes = [{"name": "data", "emptyDir": {}}, {"name": "none", "emptyDir": {}}]
    manifest = make_task("template", *steps, stepTemplate=template, volumes=volumes)
    for step in manifest["spec"]["steps"]:
        del step["image"]
    cluster.apply(manifest)
    task = cluster.settled("template")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "read") == "/made/for/it fast blue 9\n" + "fast red 0\n" * 2
    mounts = cluster.get("pod", task["status"]["podName"])["spec"]["containers"][1]["volumeMounts"]
    own = {m["mountPath"]: m["name"] for m in mounts if not m["name"].startswith("taskflow-")}
    assert own == {"/data": "data", "/other": "none", "/own": "data", "/etc/podinfo": "podinfo"}


def test_a_script_of_any_interpreter_with_an_empty_input(cluster):
    awk = '#!/usr/bin/awk -f\nBEGIN { print "awk", ARGV[1], ENVIRON["WORD"] }\n'
    steps = [
        {"name": "awk", "script": awk, "args": ["two words"], "env": [{"name": "WORD", "value": "$x"}]},
        {"name": "missing", "script": "#!/no/such/python\nprint()", "onError": "continue"},
        {**shell("empty", "test ! -t 0 && cat && echo end"), "stdin": True},
    ]
    cluster.apply(make_task("scripts", *steps))
    task = cluster.settled("scripts")
    assert task["status"]["status"] == "Successful", condition(task)
    assert cluster.logs(task["status"]["podName"], "awk") == "awk two words $x\n"
    assert cluster.logs(task["status"]["podName"], "empty") == "end\n"
    missing = task["status"]["steps"][1]
    assert (missing["exitCode"], missing["reason"]) == (127, "CommandNotFound")
    assert "/no/such/python" in missing["message"]


# Deaf to SIGTERM, and so is what it leaves behind; in its second try it looks for that.
DEAF = """#!/bin/sh
if test -e /tmp/child; then
    kill -0 "$(cat /tmp/child)" 2>/dev/null && echo "still there" || echo "gone"
    exit 0
fi
trap '' TERM
(while :; do sleep 1; done) &
echo $! > /tmp/child
while :; do sleep 1; done
"""


def test_a_step_that_takes_too_long_is_ended_with_all_that_it_started(cluster):
    steps = [
        {"name": "deaf", "script": DEAF, "timeout": "2s", "retries": 1},
        {**shell("polite", "sleep 600"), "timeout": "1s", "onError": "continue"},
        {**shell("killed", "trap '' TERM; while :; do sleep 1; done"), "timeout": "1500ms"},
        shell("never", "echo never"),
    ]
    cluster.apply(make_task("long", *steps, podTemplate={"terminationGracePeriodSeconds": 1}))
    task = cluster.settled("long")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "StepFailed")
    assert "TimedOut" in condition(task)["message"] and '"killed" (3 of 4)' in condition(task)["message"]
    assert step_states(task) == ["Succeeded", "Failed", "Failed", "Skipped"]
    deaf, polite, killed, _ = task["status"]["steps"]
    assert deaf["retries"] == 1
    assert cluster.logs(task["status"]["podName"], "deaf").splitlines()[-1] == "gone"
    assert (polite["exitCode"], polite["reason"], polite["continued"]) == (124, "TimedOut", True)
    assert (killed["exitCode"], killed["reason"]) == (137, "TimedOut")
    assert "1.5 s" in killed["message"]
    assert "TimedOut" in cluster.event("long", "StepFailed", '"killed"')
    assert cluster.logs(task["status"]["podName"], "never") == ""


def test_the_example_of_failures_that_do_not_end_a_task(cluster):
    cluster.apply(ROOT / "examples" / "task_failures_example.yaml")
    task = cluster.settled("example-taskflow-failures")
    assert task["status"]["status"] == "Successful", condition(task)
    assert condition(task)["message"] == "all 4 steps ended; failed, and continued: slow, optional"
    assert (task["status"]["progress"], task["status"]["order"]) == ("4/4", "4")
    assert step_states(task) == ["Succeeded", "Failed", "Failed", "Succeeded"]
    flaky, slow, optional, report = task["status"]["steps"]
    assert (flaky["exitCode"], flaky["retries"]) == (0, 2)
    assert (slow["exitCode"], slow["reason"], slow["continued"]) == (124, "TimedOut", True)
    assert (optional["exitCode"], optional["retries"], optional["continued"]) == (3, 1, True)
    assert "continued" not in report
    pod = cluster.terminal_pod(task["status"]["podName"])
    assert pod["status"]["phase"] == "Succeeded"
    assert ended_container(pod, "optional")["exitCode"] == 0
    logs = {name: cluster.logs(pod["metadata"]["name"], name) for name in ("flaky", "optional", "report")}
    assert [line for line in logs["flaky"].splitlines() if re.fullmatch(r"try \d", line)] == ["try 1", "try 2", "try 3"]
    assert logs["optional"].count("not today\n") == 2
    assert logs["report"] == "all the same\n"
    told = cluster.event("example-taskflow-failures", "StepFailed", '"optional"')
    assert told == 'step "optional" (3 of 4) failed, and the Task continues: exit code 3, after 1 retries'
