"""The Pod that is built from a Task."""

from __future__ import annotations

import base64
import gzip
import random

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _pod
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from ansible_collections.taskflow.operator.plugins.module_utils._image import ImageConfig
from factory import make_task
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1)


def container(pod, name):
    return next(c for c in pod["spec"]["containers"] if c["name"] == name)


def command_of(pod, name):
    args = container(pod, name)["args"]
    return args[args.index("--command") + 1 :]


@given(command=WORDS, args=WORDS)
def test_command_and_args_arrive_unchanged(command, args):
    task = make_task({"name": "a", "image": "i", "command": command, "args": args})
    assert command_of(_pod.build_pod(task, "agent", {}), "a") == command + args


def test_args_replace_cmd_and_image_words_are_escaped_for_the_kubelet():
    images = {"i": ImageConfig(("/run", "$(HOME)"), ("cmd", "a$b"))}
    plain = _pod.build_pod(make_task({"name": "a", "image": "i"}), "agent", images)
    assert command_of(plain, "a") == ["/run", "$$(HOME)", "cmd", "a$$b"]
    with_args = _pod.build_pod(make_task({"name": "a", "image": "i", "args": ["$(X)"]}), "agent", images)
    assert command_of(with_args, "a") == ["/run", "$$(HOME)", "$(X)"]


def test_an_image_that_runs_nothing_is_refused_with_the_field():
    with pytest.raises(InvalidSpec, match=r"spec\.steps\[a\]\.command.*neither ENTRYPOINT nor CMD"):
        _pod.build_pod(make_task({"name": "a", "image": "i"}), "agent", {"i": ImageConfig()})


def test_only_images_without_command_and_script_are_looked_up_once():
    task = make_task(
        {"name": "a", "image": "x", "command": ["c"]},
        {"name": "b", "image": "y", "script": "true"},
        {"name": "c", "image": "z"},
        {"name": "d", "image": "z", "args": ["1"]},
    )
    assert _pod.images_to_look_up(task) == ["z"]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=2000), st.integers(min_value=1, max_value=200))
def test_a_script_travels_in_pieces_of_the_init_containers_arguments(script, repeat):
    task = make_task("first", {"name": "s", "image": "i", "script": script * repeat, "args": ["x y"]})
    pod = _pod.build_pod(task, "agent", {})
    args = pod["spec"]["initContainers"][0]["args"]
    pieces = [args[i + 1].removeprefix("2=") for i, word in enumerate(args) if word == "--script"]
    assert max(map(len, pieces)) <= _pod.SCRIPT_CHUNK
    assert gzip.decompress(base64.b64decode("".join(pieces))).decode() == script * repeat
    flags = container(pod, "s")["args"]
    assert flags[flags.index("--encodefile") :] == [
        "--encodefile", "/taskflow/scripts/2", "--script-dir", "/taskflow/run/2", "--", "x y",
    ]  # fmt: skip


def test_a_large_script_is_split_below_the_kernels_limit():
    chance = random.Random(1)
    noise = "".join(chr(chance.randrange(32, 0x7FF)) for _ in range(300_000))
    pod = _pod.build_pod(make_task({"name": "s", "image": "i", "script": noise}), "agent", {})
    args = pod["spec"]["initContainers"][0]["args"]
    assert args.count("--script") > 1
    assert max(map(len, args)) < 128 * 1024


def test_the_authors_fields_survive_and_only_the_own_run_directory_is_writable():
    step = {
        "name": "b",
        "image": "i",
        "command": ["c"],
        "env": [{"name": "A", "value": "1"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "workingDir": "/w",
        "resources": {"limits": {"cpu": "1"}},
        "securityContext": {"runAsUser": 7},
        "imagePullPolicy": "Never",
    }
    pod = _pod.build_pod(make_task("a", step, "c", volumes=[{"name": "data", "emptyDir": {}}]), "agent", {})
    built = container(pod, "b")
    for key in ("env", "workingDir", "resources", "securityContext", "imagePullPolicy"):
        assert built[key] == step[key]
    assert {"name": "data", "mountPath": "/data"} in built["volumeMounts"]
    writable = [m["mountPath"] for m in built["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/data", "/taskflow/run/2"]
    assert {"name": "data", "emptyDir": {}} in pod["spec"]["volumes"]


def test_every_mounted_volume_exists_and_the_steps_keep_their_order():
    pod = _pod.build_pod(make_task("zeta", "alpha", {"name": "mid", "image": "i", "script": "true"}), "agent", {})
    assert [c["name"] for c in pod["spec"]["containers"]] == ["zeta", "alpha", "mid"]
    volumes = {v["name"] for v in pod["spec"]["volumes"]}
    every = pod["spec"]["initContainers"] + pod["spec"]["containers"]
    assert {m["name"] for c in every for m in c["volumeMounts"]} == volumes


def test_handoff_decides_whether_a_step_waits_for_the_order():
    local = _pod.build_pod(make_task("a", "b"), "agent", {})
    annotation = _pod.build_pod(make_task("a", "b", handoff="Annotation"), "agent", {})
    assert "--waitcontent" not in container(local, "b")["args"]
    args = container(annotation, "b")["args"]
    assert args[args.index("--waitcontent") + 1] == "2"


def test_the_first_step_awaits_all_others_and_each_later_one_its_predecessor():
    pod = _pod.build_pod(make_task("a", "b", "c"), "agent", {})
    first, last = container(pod, "a")["args"], container(pod, "c")["args"]
    awaited = [first[i + 1] for i, word in enumerate(first) if word == "--await"]
    assert awaited == ["/taskflow/run/2/ready", "/taskflow/run/3/ready"]
    assert last[last.index("--after") + 1] == "/taskflow/run/2/done"


def test_pod_metadata_and_owner():
    task = make_task("a", generation=4, podTemplate={"metadata": {"labels": {"team": "x", "type": "mine"}}})
    metadata = _pod.build_pod(task, "agent", {}, attempt=2)["metadata"]
    assert metadata["generateName"] == "task-pod-demo-"
    assert metadata["labels"] == {"team": "x", "type": "taskpod", "taskname": "demo"}
    assert metadata["annotations"]["taskorder"] == "0"
    assert metadata["annotations"]["api.practice.com/generation"] == "4"
    assert metadata["annotations"]["api.practice.com/attempt"] == "2"
    assert metadata["ownerReferences"][0]["uid"] == "task-uid"


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True))
def test_names_fit_their_places(name):
    assert len(_pod.label_value(name)) <= 63
    assert len(_pod.generate_name(name)) + _pod.SUFFIX_LENGTH <= 63
    assert "." not in _pod.generate_name(name)


def test_long_names_that_differ_get_labels_that_differ():
    assert _pod.label_value("a" * 70) != _pod.label_value("a" * 71)


@pytest.mark.parametrize(("context", "user"), [(None, None), ({"runAsUser": 7}, None), ({"runAsUser": 0}, 65532)])
def test_the_agent_is_never_installed_as_root(context, user):
    template = {"securityContext": context} if context else {}
    pod = _pod.build_pod(make_task("a", podTemplate=template), "agent", {})
    security = pod["spec"]["initContainers"][0]["securityContext"]
    assert (security["runAsNonRoot"], security.get("runAsUser")) == (True, user)


def test_a_service_account_brings_its_token_and_only_then():
    without = _pod.build_pod(make_task("a"), "agent", {})["spec"]
    assert without["automountServiceAccountToken"] is False
    having = _pod.build_pod(make_task("a", serviceAccountName="builder"), "agent", {})["spec"]
    assert having["serviceAccountName"] == "builder"
    assert "automountServiceAccountToken" not in having


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"volumes": [{"name": "podinfo", "emptyDir": {}}]}, r"spec\.volumes\[0\]\.name"),
        ({"volumes": [{"name": "ok"}, {"name": "taskflow-x"}]}, r"spec\.volumes\[1\]\.name"),
    ],
)
def test_reserved_volumes_are_refused(spec, field):
    with pytest.raises(InvalidSpec, match=field):
        _pod.build_pod(make_task("a", **spec), "agent", {})


@pytest.mark.parametrize("path", ["/taskflow", "/taskflow/bin", "/etc", "/etc/podinfo/", "/"])
def test_mounts_over_the_operators_paths_are_refused(path):
    step = {"name": "a", "image": "i", "command": ["c"], "volumeMounts": [{"name": "v", "mountPath": path}]}
    with pytest.raises(InvalidSpec, match=r"spec\.steps\[0\]\.volumeMounts\[0\]\.mountPath"):
        _pod.build_pod(make_task(step), "agent", {})


@pytest.mark.parametrize("path", ["/taskflows", "/etc/podinformation", "/data"])
def test_neighbouring_paths_are_not(path):
    step = {"name": "a", "image": "i", "command": ["c"], "volumeMounts": [{"name": "v", "mountPath": path}]}
    assert _pod.build_pod(make_task(step), "agent", {})


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        (["a", "a"], r"spec\.steps\[1\]\.name"),
        ([{"name": "a", "image": "i", "command": ["c"], "script": "s"}], r"spec\.steps\[0\]\.command"),
        (["taskflow-install"], r"spec\.steps\[0\]\.name"),
        ([{"name": "a", "image": "i", "command": ["c", None]}], r"spec\.steps\[0\]\.command\[1\].*not null"),
    ],
)
def test_what_the_schema_may_not_know_is_refused_here(steps, field):
    with pytest.raises(InvalidSpec, match=field):
        _pod.build_pod(make_task(*steps), "agent", {})
