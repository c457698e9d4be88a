"""The Pod that is built from a Task."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec, TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._pod import agent as _agent
from ansible_collections.taskflow.operator.plugins.module_utils._pod import pod as _pod
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import Attempt, label_value
from ansible_collections.taskflow.operator.plugins.module_utils._pod.spec import resolve
from hypothesis import given
from hypothesis import strategies as st
from support.tasks.factory import build, changed, container_of, flags_of, make_step, make_task, values_of, words_of
from support.tasks.kubelet import arguments

WORDS = st.lists(st.text(st.characters(exclude_characters="\0$", codec="utf-8")), min_size=1)


def mounts_of(pod, name):
    """Return where a container's mounts are, and whether each is writable."""
    return {m["mountPath"]: not m.get("readOnly") for m in container_of(pod, name)["volumeMounts"]}


# What runs.


@given(command=WORDS, args=WORDS)
def test_command_and_args_arrive_unchanged(command, args):
    assert words_of(build(make_task(make_step(command=command, args=args))), "a") == command + args


@pytest.mark.parametrize(
    ("step", "line"),
    [
        ({}, ["/run", "$$(HOME)", "cmd", "a$$b"]),
        ({"args": ["$(X)"]}, ["/run", "$$(HOME)", "$(X)"]),
        ({"args": []}, ["/run", "$$(HOME)", "cmd", "a$$b"]),
        ({"command": []}, ["/run", "$$(HOME)", "cmd", "a$$b"]),
        ({"command": ["c"]}, ["c"]),
        ({"command": ["c"], "args": ["x"]}, ["c", "x"]),
    ],
)
def test_command_and_args_replace_the_images_as_in_any_container(step, line):
    images = {"i": ImageConfig(("/run", "$(HOME)"), ("cmd", "a$b"))}
    assert words_of(build(make_task({"name": "a", "image": "i", **step}), images), "a") == line


def test_the_images_own_words_arrive_as_they_are():
    images = {"i": ImageConfig(("/run", "$(HOME)"), ("$$", "a$b"))}
    pod = build(make_task({"name": "a", "image": "i", "env": [{"name": "HOME", "value": "/root"}]}), images)
    assert arguments(container_of(pod, "a"), words_of(pod, "a")) == ["/run", "$(HOME)", "$$", "a$b"]


@pytest.mark.parametrize("where", ["steps", "sidecars"])
def test_an_image_that_runs_nothing_is_refused_with_the_field(where):
    silent = {"name": "s", "image": "i"}
    task = make_task(silent) if where == "steps" else make_task("a", sidecars=[silent])
    with pytest.raises(InvalidSpec, match="neither ENTRYPOINT nor CMD") as caught:
        build(task, {"i": ImageConfig()})
    assert caught.value.field == f"spec.{where}[0].command"


def test_an_image_that_was_not_looked_up_is_an_error_of_ours():
    with pytest.raises(ValueError, match="was not looked up"):
        build(make_task({"name": "a", "image": "i"}))


def test_only_images_without_command_and_script_are_looked_up_once():
    resolved = resolve(
        make_task(
            {"name": "a", "image": "x", "command": ["c"]},
            {"name": "b", "image": "y", "script": "true"},
            {"name": "c", "image": "z"},
            {"name": "d", "image": "z", "args": ["1"]},
            {"name": "e"},
            params=[{"name": "tag", "value": "2"}],
            stepTemplate={"image": "t:$(params.tag)"},
            sidecars=[{"name": "s", "image": "side"}],
        )
    )
    assert _pod.images_to_look_up(resolved) == ["z", "t:2", "side"]
    # The node starts native sidecars without the agent.
    assert _pod.images_to_look_up(resolved, native_sidecars=True) == ["z", "t:2"]


@pytest.mark.parametrize(("count", "fits"), [(128 * 1024 - 1, True), (128 * 1024, False)])
def test_an_argument_that_linux_does_not_take_is_refused(count, fits):
    word = "é" * (count // 2) + "x" * (count % 2)
    for task in (
        make_task(make_step(command=["c", word])),
        make_task(make_step(script="true", args=[word])),
        make_task(make_step(args=["$(params.x)"]), params=[{"name": "x", "value": word}]),
    ):
        if fits:
            assert word in words_of(build(task), "a")
        else:
            with pytest.raises(InvalidSpec, match=r"spec\.steps\[0\].*131072 bytes.*use a script"):
                build(task)


# Scripts.


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0$"), min_size=1, max_size=500), st.integers(1, 200))
def test_a_script_travels_in_pieces_of_the_init_containers_arguments(script, repeat):
    pod = build(make_task("first", make_step("s", script=script * repeat, args=["x y"])))
    args = pod["spec"]["initContainers"][0]["args"]
    pieces = [args[i + 1].removeprefix("2=") for i, word in enumerate(args) if word == "--script"]
    assert max(map(len, pieces)) <= _agent.SCRIPT_CHUNK
    assert gzip.decompress(base64.b64decode("".join(pieces))).decode() == script * repeat
    flags = container_of(pod, "s")["args"]
    assert flags[flags.index("--encodefile") :] == [
        "--encodefile", "/taskflow/scripts/2", "--script-dir", "/taskflow/run/2", "--", "x y",
    ]  # fmt: skip


def test_a_large_script_is_split_below_the_kernels_limit():
    chance = random.Random(1)
    noise = "".join(chr(chance.randrange(32, 0x7FF)) for _ in range(300_000))
    args = build(make_task(make_step(script=noise)))["spec"]["initContainers"][0]["args"]
    assert args.count("--script") > 1
    assert max(map(len, args)) < 128 * 1024


def test_scripts_are_installed_and_mounted_only_where_there_are_any():
    without = build(make_task("a"))
    assert "--scripts-dir" not in without["spec"]["initContainers"][0]["args"]
    assert "taskflow-scripts" not in [v["name"] for v in without["spec"]["volumes"]]
    having = build(make_task("a", make_step("b", script="true"), sidecars=[make_step("s", script="true")]))
    assert mounts_of(having, "taskflow-install")["/taskflow/scripts"]
    assert "/taskflow/scripts" not in mounts_of(having, "a")
    assert not mounts_of(having, "b")["/taskflow/scripts"]
    assert not mounts_of(having, "s")["/taskflow/scripts"]


# The agent's flags.


def test_handoff_decides_whether_a_step_waits_for_the_order():
    local, annotation = build(make_task("a", "b")), build(make_task("a", "b", handoff="Annotation"))
    assert [values_of(local, n, "--waitcontent") for n in "ab"] == [[], []]
    assert [values_of(annotation, n, "--waitcontent") for n in "ab"] == [["1"], ["2"]]
    for pod in (local, annotation):
        assert values_of(pod, "b", "--wait") == ["/etc/podinfo/order"]
        assert values_of(pod, "b", "--quit") == ["-1"]


@pytest.mark.parametrize("native", [False, True])
def test_only_the_api_server_knows_when_a_sidecar_is_ready(native):
    sidecars = [make_step("s", readinessProbe={"tcpSocket": {"port": 1}}), make_step("t")]
    pod = build(make_task("a", "b", sidecars=sidecars), native_sidecars=native)
    assert [values_of(pod, n, "--waitcontent") for n in "ab"] == [["1"], []]
    # That one has been started, and has not failed, the agents tell each other.
    pod = build(make_task("a", "b", sidecars=sidecars[1:]), native_sidecars=native)
    assert [values_of(pod, n, "--waitcontent") for n in "ab"] == [[], []]
    assert values_of(build(make_task("a", "b"), native_sidecars=native), "a", "--waitcontent") == []


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("handoff", ["Local", "Annotation"])
def test_the_first_step_awaits_all_others_and_each_later_one_its_predecessor(native, handoff):
    pod = build(make_task("a", "b", "c", sidecars=[make_step("s")], handoff=handoff), native_sidecars=native)
    assert values_of(pod, "a", "--await") == [f"/taskflow/run/{n}/ready" for n in (2, 3, 4)]
    assert values_of(pod, "a", "--after") == []
    assert [values_of(pod, n, "--after") for n in "bc"] == [["/taskflow/run/1/done"], ["/taskflow/run/2/done"]]
    assert [values_of(pod, n, "--await") for n in "bc"] == [[], []]
    assert [values_of(pod, n, "--ready") for n in "abcs"] == [[f"/taskflow/run/{n}/ready"] for n in (1, 2, 3, 4)]
    assert [values_of(pod, n, "--done") for n in "abcs"] == [[f"/taskflow/run/{n}/done"] for n in (1, 2, 3, 4)]
    assert [values_of(pod, n, "--sidecar") for n in "abcs"] == [["s=/taskflow/run/4/done"], [], [], []]


FAILURE_FLAGS = ("--timeout", "--on-error", "--retries", "--termination-log")


@pytest.mark.parametrize(
    ("fields", "flags"),
    [
        ({}, {}),
        ({"timeout": "90s"}, {"--timeout": "90"}),
        ({"timeout": "1m30s"}, {"--timeout": "90"}),
        ({"timeout": "250ms"}, {"--timeout": "0.25"}),
        ({"timeout": "100h0m1s"}, {"--timeout": "360001"}),
        ({"onError": "continue"}, {"--on-error": "continue"}),
        ({"onError": "stopAndFail"}, {}),
        ({"retries": 2}, {"--retries": "2"}),
        ({"retries": 0}, {}),
        (
            {"timeout": "1s", "onError": "continue", "retries": 1},
            {"--timeout": "1", "--on-error": "continue", "--retries": "1"},
        ),
        ({"terminationMessagePath": "/run/end"}, {"--termination-log": "/run/end"}),
        ({"terminationMessagePolicy": "FallbackToLogsOnError"}, {}),
    ],
)
def test_what_a_step_says_of_its_failures_becomes_flags(fields, flags):
    pod = build(make_task(make_step(**fields)))
    assert {f: v for f in FAILURE_FLAGS for v in values_of(pod, "a", f)} == flags
    assert not {"script", "timeout", "onError", "retries"} & container_of(pod, "a").keys()


def test_a_long_timeout_keeps_its_seconds():
    assert values_of(build(make_task(make_step(timeout="1000h0m1s"))), "a", "--timeout") == ["3600001"]


@pytest.mark.parametrize(("grace", "flag"), [(None, []), (0, ["0"]), (30, ["30"])])
def test_the_pods_grace_period_is_the_agents_too(grace, flag):
    template = {} if grace is None else {"terminationGracePeriodSeconds": grace}
    pod = build(make_task("a", sidecars=[make_step("s")], podTemplate=template))
    assert values_of(pod, "a", "--grace") == values_of(pod, "s", "--grace") == flag
    assert pod["spec"].get("terminationGracePeriodSeconds") == grace


@pytest.mark.parametrize(("steps", "sidecars", "limit"), [(1, 0, 4096), (2, 0, 4096), (3, 0, 3072), (64, 16, 151)])
@pytest.mark.parametrize("native", [False, True])
def test_the_kubelets_room_for_messages_is_shared(steps, sidecars, limit, native):
    task = make_task(
        *[f"s{n}" for n in range(steps)], sidecars=[make_step(f"t{n}", script="x") for n in range(sidecars)]
    )
    pod = build(task, native_sidecars=native)
    every = [f"s{n}" for n in range(steps)] + [f"t{n}" for n in range(sidecars)]
    assert {tuple(values_of(pod, name, "--termination-limit")) for name in every} == {(str(limit),)}


# Who sees what.


def test_the_authors_fields_survive():
    step = make_step(
        "b",
        env=[{"name": "A", "value": "1"}],
        envFrom=[{"configMapRef": {"name": "m"}}],
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        workingDir="/w",
        resources={"limits": {"cpu": "1"}},
        securityContext={"runAsUser": 7},
        imagePullPolicy="Never",
        readinessProbe={"tcpSocket": {"port": 1}},
        lifecycle={"preStop": {"exec": {"command": ["sync"]}}},
        tty=True,
    )
    pod = build(make_task("a", step, "c", volumes=[{"name": "data", "emptyDir": {}}]))
    built = container_of(pod, "b")
    for key in step.keys() - {"command", "volumeMounts"}:
        assert built[key] == step[key]
    assert {"name": "data", "mountPath": "/data"} in built["volumeMounts"]
    assert {"name": "data", "emptyDir": {}} in pod["spec"]["volumes"]
    assert built["command"] == ["/taskflow/bin/taskflow-agent"]


def test_only_the_own_run_directory_is_writable_and_others_are_seen_only_where_needed():
    writer = make_step("a", args=["$(results.v.path)"])
    reader = make_step("d", args=["$(steps.a.results.v)"])
    pod = build(make_task(writer, "b", "c", reader, sidecars=[make_step("s")]))
    common = {"/taskflow/bin": False, "/etc/podinfo": False}
    run = "/taskflow/run/"
    assert mounts_of(pod, "a") == {
        **common, run + "1": True, run + "2": False, run + "3": False, run + "4": False, run + "5": False,
    }  # fmt: skip
    assert mounts_of(pod, "b") == {**common, run + "2": True, run + "1": False}
    assert mounts_of(pod, "c") == {**common, run + "3": True, run + "2": False}
    assert mounts_of(pod, "d") == {**common, run + "4": True, run + "3": False, run + "1": False}
    assert mounts_of(pod, "s") == {**common, run + "5": True, **{f"{run}{n}": False for n in (1, 2, 3, 4)}}
    assert mounts_of(pod, "taskflow-install") == {"/taskflow/bin": True}


def test_every_mounted_volume_exists_and_the_steps_keep_their_order():
    pod = build(make_task("zeta", "alpha", make_step("mid", script="true")))
    assert [c["name"] for c in pod["spec"]["containers"]] == ["zeta", "alpha", "mid"]
    volumes = {v["name"] for v in pod["spec"]["volumes"]}
    every = pod["spec"]["initContainers"] + pod["spec"]["containers"]
    assert {m["name"] for c in every for m in c["volumeMounts"]} == volumes


# Sidecars.


def test_a_sidecar_runs_beside_the_steps_until_they_have_ended():
    pod = build(make_task("a", "b", sidecars=[make_step("s", args=["x"])]))
    assert [c["name"] for c in pod["spec"]["containers"]] == ["a", "b", "s"]
    assert flags_of(pod, "s")[0] == "sidecar"
    assert values_of(pod, "s", "--until") == ["/taskflow/run/1/done", "/taskflow/run/2/done"]
    assert values_of(pod, "s", "--quit") == ["-1"]
    assert words_of(pod, "s") == ["c", "x"]
    assert not {"--after", "--await", "--sidecar"} & set(flags_of(pod, "s"))


def test_a_native_sidecar_is_an_init_container_that_goes_on():
    sidecar = make_step(
        "s", args=["$(params.x)"], readinessProbe={"tcpSocket": {"port": 1}}, env=[{"name": "A", "value": "1"}]
    )
    task = make_task("a", "b", sidecars=[sidecar], params=[{"name": "x", "value": "$(A)"}])
    pod = build(task, native_sidecars=True)
    assert [c["name"] for c in pod["spec"]["containers"]] == ["a", "b"]
    assert [c["name"] for c in pod["spec"]["initContainers"]] == ["taskflow-install", "s"]
    built = container_of(pod, "s")
    started = {"command": built["command"], "args": built["args"], "volumeMounts": built["volumeMounts"]}
    assert built == {**sidecar, **started, "restartPolicy": "Always"}
    assert arguments(built, words_of(pod, "s")) == ["c", "$(A)"]
    assert values_of(pod, "a", "--await") == ["/taskflow/run/2/ready", "/taskflow/run/3/ready"]
    assert [mounts_of(pod, name).get("/taskflow/run/3") for name in "abs"] == [False, None, True]
    assert "restartPolicy" not in container_of(pod, "a")
    assert pod["spec"]["restartPolicy"] == "Never"


def test_a_native_sidecar_without_a_command_runs_what_its_image_does():
    sidecar = {"name": "s", "image": "web", "args": ["-v"]}
    pod = build(make_task("a", sidecars=[sidecar]), native_sidecars=True)
    assert container_of(pod, "s") == {**sidecar, "restartPolicy": "Always"}
    # Nobody tells the first step of it by files.
    assert values_of(pod, "a", "--await") == values_of(pod, "a", "--sidecar") == []
    assert "taskflow-run-2" not in [volume["name"] for volume in pod["spec"]["volumes"]]


@pytest.mark.parametrize("probe", [None, "startupProbe", "readinessProbe", "livenessProbe"])
@pytest.mark.parametrize("runs", [{"command": ["c"]}, {"script": "true"}])
def test_a_native_sidecar_that_has_ended_well_stays_unless_the_kubelet_probes_it(runs, probe):
    sidecar = make_step("s", **runs, **({probe: {"tcpSocket": {"port": 1}}} if probe else {}))
    pod = build(make_task("a", sidecars=[sidecar]), native_sidecars=True)
    assert values_of(pod, "s", "--on-success") == ([] if probe else ["stay"])
    # After a failure it waits until it is known whether a step has begun.
    assert values_of(pod, "a", "--begun") == ["/taskflow/run/1/begun"]
    assert values_of(pod, "s", "--hold") == ([] if probe else ["/taskflow/run/1/begun"])
    assert mounts_of(pod, "s").get("/taskflow/run/1") is (None if probe else False)
    assert values_of(build(make_task("a", sidecars=[sidecar])), "s", "--on-success") == []


def test_a_native_sidecars_script_is_run_by_the_agent():
    task = make_task("a", sidecars=[make_step("s", script="true", args=["x"])])
    pod = build(task, native_sidecars=True)
    built = container_of(pod, "s")
    assert (built["restartPolicy"], flags_of(pod, "s")[0], words_of(pod, "s")) == ("Always", "sidecar", ["x"])
    # The kubelet stops it, not the steps.
    assert not {"--until", "--wait"} & set(flags_of(pod, "s"))
    assert "script" not in built


def test_without_sidecars_it_does_not_matter_whether_they_would_be_native():
    assert build(make_task("a"), native_sidecars=True) == build(make_task("a"))


# The Pod itself.


def test_pod_metadata_and_owner():
    template = {"metadata": {"labels": {"team": "x"}, "annotations": {"own": "y"}}}
    metadata = build(make_task("a", generation=4, podTemplate=template), attempt=Attempt(3, 1))["metadata"]
    assert metadata["labels"] == {"team": "x", "type": "taskpod", "taskname": "demo"}
    assert len(metadata["annotations"].pop("api.practice.com/spec-hash")) == 16
    assert metadata["annotations"] == {
        "own": "y",
        "taskorder": "0",
        "api.practice.com/generation": "4",
        "api.practice.com/attempt": "3",
        "api.practice.com/retry": "1",
    }
    (owner,) = metadata["ownerReferences"]
    assert (owner["uid"], owner["kind"], owner["controller"]) == ("task-uid", "Task", True)
    assert "generateName" not in metadata


def test_an_agents_image_without_a_valid_name_is_no_fault_of_the_task():
    task = make_task("a")
    with pytest.raises(TaskError, match="the operator's TASKFLOW_AGENT_IMAGE: image 'Agent' is not") as caught:
        _pod.build_pod(task, resolve(task), "Agent", {})
    assert (caught.value.reason, caught.value.permanent) == ("BadAgentImage", False)


def test_a_pods_name_tells_task_spec_and_attempt_apart_and_nothing_else():
    def name(task, attempt=1):
        return build(task, attempt=Attempt(attempt))["metadata"]["name"]

    task, namesake = make_task("a"), make_task("a")
    namesake["metadata"]["uid"] = "another"
    assert name(task).startswith("task-pod-demo-")
    assert len({name(task), name(task, 2), name(changed(task, timeout="1s")), name(namesake)}) == 4
    for control in ({"cancel": True}, {"suspend": True}, {"ttlSecondsAfterFinished": 1}):
        assert name(changed(task, **control)) == name(task)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_names_fit_their_places(name):
    task = make_task("a")
    task["metadata"]["name"] = name
    metadata = build(task)["metadata"]
    assert len(metadata["labels"]["taskname"]) <= 63
    assert metadata["labels"]["taskname"][-1].isalnum()
    assert len(metadata["name"]) <= 63
    assert "." not in metadata["name"]
    assert metadata["name"].startswith("task-pod-")


def test_long_names_that_differ_get_labels_that_differ():
    assert label_value("a" * 70) != label_value("a" * 71)


@pytest.mark.parametrize(("context", "user"), [(None, None), ({"runAsUser": 7}, None), ({"runAsUser": 0}, 65532)])
def test_the_agent_is_never_installed_as_root(context, user):
    template = {"securityContext": context} if context else {}
    security = build(make_task("a", podTemplate=template))["spec"]["initContainers"][0]["securityContext"]
    assert (security["runAsNonRoot"], security.get("runAsUser")) == (True, user)


def test_a_service_account_brings_its_token_and_only_then():
    without = build(make_task("a"))["spec"]
    assert without["automountServiceAccountToken"] is False
    having = build(make_task("a", serviceAccountName="builder"))["spec"]
    assert having["serviceAccountName"] == "builder"
    assert "automountServiceAccountToken" not in having


@pytest.mark.parametrize(("timeout", "limit"), [(None, None), ("90s", 150), ("1.5s", 62), ("1h", 3660)])
def test_the_kubelet_ends_the_pod_some_time_after_the_tasks_timeout(timeout, limit):
    spec = {"timeout": timeout} if timeout else {}
    assert build(make_task("a", **spec))["spec"].get("activeDeadlineSeconds") == limit


def test_the_pod_template_is_passed_on_and_the_operators_own_fields_win():
    template = {
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "restartPolicy": "Always",
        "hostNetwork": True,
    }
    spec = build(make_task("a", podTemplate=template))["spec"]
    for key in ("imagePullSecrets", "nodeSelector", "tolerations", "hostNetwork"):
        assert spec[key] == template[key]
    assert spec["restartPolicy"] == "Never"
    assert "metadata" not in spec


def test_the_agents_image_is_the_init_containers():
    assert [c["image"] for c in build(make_task("a"))["spec"]["initContainers"]] == ["agent:1"]
