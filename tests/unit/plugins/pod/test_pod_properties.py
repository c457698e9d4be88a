"""What holds for the Pod of every valid Task."""

from __future__ import annotations

import base64
import copy
import gzip
import json

from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._pod.identity import Attempt
from ansible_collections.taskflow.operator.plugins.module_utils._pod.pod import images_to_look_up
from ansible_collections.taskflow.operator.plugins.module_utils._pod.spec import resolve
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tasks import factory
from support.tasks.factory import changed, container_of, make_task, values_of, words_of
from support.tasks.kubelet import arguments, environment

OWN_FIELDS = {"script", "timeout", "onError", "retries"}
MADE_BY_THE_OPERATOR = {"command", "args", "volumeMounts"}
FIRST = Attempt()
IMAGE = ImageConfig(("/run", "a$b", "$(HOME)"), ("cmd", "$$"))

# No $ that would begin a reference, or one of the kubelet's.
TEXT = st.text(st.characters(exclude_characters="\0$", codec="utf-8"), max_size=12)
VALUE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12) | st.sampled_from(
    ["$(HOME)", "$$(A)", "$", "$(params.p0)", "$(steps.s0.results.v)", "a\nb", "'\""]
)
PARAMS = st.lists(VALUE, min_size=1, max_size=3)


@st.composite
def words(draw, params, results):
    """Return words as they are written, each with what the process is to get."""
    known = [(f"$(params.p{i})", value) for i, value in enumerate(params)]
    known += [(f"$(steps.{step}.results.v)", ("result", step)) for step in results]
    known += [("$$(params.p0)", "$(params.p0)"), ("$(results.v.path)", ("path",))]
    pieces = st.lists(TEXT.map(lambda t: (t, t)) | st.sampled_from(known), max_size=3)
    return draw(st.lists(pieces, max_size=3))


def written(word):
    return "".join(w for w, _ in word)


NAMES = st.sampled_from(["A", "B", "HOME"])
MOUNTS = st.lists(
    st.builds(lambda p, r: {"name": "data", "mountPath": p, **r}, st.sampled_from(["/data", "/w", "/x/y"]),
              st.sampled_from([{}, {"readOnly": True}])),
    max_size=2,
    unique_by=lambda m: m["mountPath"],
)  # fmt: skip
PROBE = st.just({"tcpSocket": {"port": 1}})
CORE = {
    "workingDir": st.just("/w"),
    "imagePullPolicy": st.sampled_from(["Always", "Never"]),
    "resources": st.sampled_from([{"limits": {"cpu": "1"}}, {"requests": {"memory": "1Mi"}}]),
    "securityContext": st.just({"runAsUser": 7}),
    "ports": st.just([{"containerPort": 80}]),
    "tty": st.booleans(),
    "terminationMessagePath": st.just("/run/end"),
    "volumeMounts": MOUNTS,
    "readinessProbe": PROBE,
    "lifecycle": st.just({"preStop": {"exec": {"command": ["sync"]}}}),
}
STEP = {
    **CORE,
    "timeout": st.sampled_from(["1s", "1m30s"]),
    "onError": st.sampled_from(["continue", "stopAndFail"]),
    "retries": st.integers(0, 3),
}


@st.composite
def runs(draw, params, results):
    """Return what a container runs: the fields of the spec, and its words with what they come to."""
    kind = draw(st.sampled_from(["command", "script", "image", "args"]))
    line = draw(words(params, results))
    if kind == "command":
        line = [[("c", "c")], *line]
        cut = draw(st.integers(1, len(line)))
        return {"command": [written(w) for w in line[:cut]], "args": [written(w) for w in line[cut:]]}, line
    if kind == "script":
        return {"script": draw(TEXT.filter(bool)), "args": [written(w) for w in line]}, line
    entrypoint = [[(w, w)] for w in IMAGE.entrypoint]
    if kind == "args" and line:
        return {"args": [written(w) for w in line]}, entrypoint + line
    return {}, entrypoint + [[(w, w)] for w in IMAGE.cmd]


@st.composite
def tasks(draw):
    """Return a valid Task, and what each of its containers is to run."""
    params = draw(PARAMS)
    names = draw(st.permutations(["zeta", "alpha", "mid", "last"]))[: draw(st.integers(1, 4))]
    lines, steps, sidecars = {}, [], []
    for number, name in enumerate(names):
        # The first one writes a result that later ones may read.
        results = names[:1] if number else []
        fields, lines[name] = draw(runs(params, results))
        env = [{"name": n, "value": draw(TEXT)} for n in draw(st.lists(NAMES, max_size=2, unique=True))]
        if number == 0:
            env.append({"name": "OUT", "value": "$(results.v.path)"})
        steps.append(
            {"name": name, "image": "i", "env": env, **fields, **draw(st.fixed_dictionaries({}, optional=STEP))}
        )
    for name in draw(st.sampled_from([[], ["web"], ["web", "db"]])):
        fields, lines[name] = draw(runs(params, []).filter(lambda r: "$(results." not in json.dumps(r[0])))
        sidecars.append({"name": name, "image": "i", **fields, **draw(st.fixed_dictionaries({}, optional=CORE))})
    spec = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "stepTemplate": st.fixed_dictionaries(
                    {}, optional={"image": st.just("t"), "volumeMounts": MOUNTS, "tty": st.booleans()}
                ),
                "handoff": st.sampled_from(["Local", "Annotation"]),
                "resourcePolicy": st.sampled_from(["Sum", "Max"]),
                "timeout": st.just("1h"),
                "retries": st.integers(0, 2),
                "serviceAccountName": st.just("builder"),
                "podTemplate": st.sampled_from(
                    [{"terminationGracePeriodSeconds": 5}, {"metadata": {"labels": {"a": "b"}}, "hostNetwork": True}]
                ),
            },
        )
    )
    task = make_task(
        *steps,
        **spec,
        params=[{"name": f"p{i}", "value": value} for i, value in enumerate(params)],
        sidecars=sidecars,
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    return task, lines


def build(task, native=False, attempt=FIRST):
    return factory.build(task, {"i": IMAGE, "t": IMAGE}, attempt=attempt, native_sidecars=native)


def every_container(pod):
    return pod["spec"]["initContainers"] + pod["spec"]["containers"]


QUICK = settings(max_examples=30, deadline=None)


@QUICK
@given(tasks(), st.booleans(), st.integers(1, 9))
def test_the_pod_is_one_that_the_api_server_can_take(made, native, attempt):
    task, _ = made
    before = copy.deepcopy(task)
    pod = build(task, native, Attempt(attempt, attempt - 1))
    assert json.loads(json.dumps(pod)) == pod
    assert build(copy.deepcopy(task), native, Attempt(attempt, attempt - 1)) == pod
    assert task == before
    names = [c["name"] for c in every_container(pod)]
    assert len(names) == len(set(names))
    volumes = [v["name"] for v in pod["spec"]["volumes"]]
    assert len(volumes) == len(set(volumes))
    for container in every_container(pod):
        mounts = container.get("volumeMounts") or []
        assert {m["name"] for m in mounts} <= set(volumes)
        assert len({m["mountPath"] for m in mounts}) == len(mounts)
        assert not OWN_FIELDS & container.keys()
    wanted = images_to_look_up(resolve(task), native)
    images = dict.fromkeys(wanted, IMAGE)
    assert factory.build(task, images, attempt=Attempt(attempt, attempt - 1), native_sidecars=native) == pod


@QUICK
@given(tasks(), st.booleans())
def test_nothing_that_the_author_wrote_is_lost(made, native):
    task, _ = made
    pod = build(task, native)
    largest_only = task["spec"].get("resourcePolicy") == "Max"
    template = task["spec"].get("stepTemplate") or {}
    for kind in ("steps", "sidecars"):
        for author in task["spec"][kind]:
            container = container_of(pod, author["name"])
            left = MADE_BY_THE_OPERATOR | OWN_FIELDS | {"env"}
            left |= {"resources"} if largest_only and kind == "steps" else set()
            for key in author.keys() - left:
                assert container[key] == author[key]
            mounts = {m["mountPath"]: m for m in container.get("volumeMounts") or []}
            for mount in author.get("volumeMounts") or []:
                assert mount.items() <= mounts[mount["mountPath"]].items()
            assert [v["name"] for v in container.get("env") or []] == [v["name"] for v in author.get("env") or []]
            if kind == "steps":
                for key in template.keys() - author.keys() - left:
                    assert container[key] == template[key]
                assert {m["mountPath"] for m in template.get("volumeMounts") or []} <= mounts.keys()
    assert {"name": "data", "emptyDir": {}} in pod["spec"]["volumes"]


@QUICK
@given(tasks(), st.booleans())
def test_every_word_arrives_byte_for_byte(made, native):
    task, lines = made
    pod, mark = build(task, native), resolve(task).mark
    numbers = {s["name"]: n for n, s in enumerate(task["spec"]["steps"], start=1)}
    for name, line in lines.items():
        container = container_of(pod, name)
        by_agent = container["command"] == ["/taskflow/bin/taskflow-agent"] if "command" in container else False
        if by_agent:
            got = arguments(container, words_of(pod, name))
        elif "command" in container:
            got = arguments(container, [*container["command"], *(container.get("args") or [])])
        else:  # a native sidecar has its image's own ENTRYPOINT, and perhaps its CMD
            got = [*IMAGE.entrypoint, *(arguments(container, container.get("args") or []) or IMAGE.cmd)]

        def comes_to(value, name=name):
            if isinstance(value, str):
                return value
            if value[0] == "path":
                return f"/taskflow/run/{numbers[name]}/results/v"
            return f"{{{mark}:{value[1]}/v}}"

        assert got == ["".join(comes_to(value) for _, value in word) for word in line]
    for author in task["spec"]["steps"]:
        plain = {v["name"]: v["value"] for v in author["env"] if v["name"] != "OUT"}
        assert plain.items() <= environment(container_of(pod, author["name"])).items()


@QUICK
@given(tasks(), st.booleans())
def test_only_the_own_run_directory_is_writable(made, native):
    task, _ = made
    pod = build(task, native)
    owners = [s["name"] for s in task["spec"]["steps"] + task["spec"]["sidecars"]]
    for number, name in enumerate(owners, start=1):
        mounts = container_of(pod, name).get("volumeMounts") or []
        own = [m for m in mounts if m["name"].startswith("taskflow-") or m["name"] == "podinfo"]
        if own:
            assert [m["name"] for m in own if not m.get("readOnly")] == [f"taskflow-run-{number}"]
            assert all(m["mountPath"].startswith(("/taskflow/", "/etc/podinfo")) for m in own)


@QUICK
@given(tasks(), st.booleans())
def test_every_file_that_an_agent_looks_for_is_mounted(made, native):
    task, _ = made
    pod = build(task, native)
    for container in every_container(pod)[1:]:
        name = container["name"]
        if container.get("command") != ["/taskflow/bin/taskflow-agent"]:
            continue
        places = [m["mountPath"] + "/" for m in container["volumeMounts"]]
        flags = ("--ready", "--done", "--begun", "--hold", "--after", "--await", "--until")
        files = [f for flag in flags for f in values_of(pod, name, flag)]
        named = values_of(pod, name, "--results-of") + values_of(pod, name, "--sidecar")
        files += [f.partition("=")[2] for f in named]
        files += values_of(pod, name, "--wait") + values_of(pod, name, "--results-dir")
        assert all(any(f.startswith(place) for place in places) for f in files)


@QUICK
@given(tasks())
def test_every_script_is_installed_as_it_was_written(made):
    task, _ = made
    args = build(task)["spec"]["initContainers"][0]["args"]
    pieces = [args[i + 1].split("=", 1) for i, word in enumerate(args) if word == "--script"]
    every = task["spec"]["steps"] + task["spec"]["sidecars"]
    scripts = {str(n): c["script"] for n, c in enumerate(every, start=1) if "script" in c}
    assert {n: gzip.decompress(base64.b64decode(text)).decode() for n, text in pieces} == scripts


CONTROLS = st.fixed_dictionaries(
    {}, optional={"cancel": st.booleans(), "suspend": st.booleans(), "ttlSecondsAfterFinished": st.integers(0, 9)}
)


@settings(max_examples=15, deadline=None)
@given(tasks(), CONTROLS)
def test_a_control_field_changes_neither_the_name_nor_what_runs(made, control):
    task, _ = made
    first, second = build(task), build(changed(task, **control))
    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert first["spec"] == second["spec"]


@settings(max_examples=15, deadline=None)
@given(tasks(), st.sampled_from([{"timeout": "2h"}, {"retries": 7}, {"podTemplate": {"hostNetwork": False}}]))
def test_any_other_change_is_another_pod(made, change):
    task, _ = made
    names = [build(t, attempt=Attempt(n))["metadata"]["name"] for t in (task, changed(task, **change)) for n in (1, 2)]
    assert len(set(names)) == 4
