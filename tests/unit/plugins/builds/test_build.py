"""What a Build comes to: its Task, its Job, and their names."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from ansible_collections.taskflow.operator.plugins.module_utils._build import build as _build
from ansible_collections.taskflow.operator.plugins.module_utils._errors import InvalidSpec
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._kube.kind import BUILD
from support.tasks import factory

GIT_IMAGE = "git:1"


def make_build(name: str = "site", **spec: object) -> dict:
    """Return a Build as the API server would."""
    source = {"git": {"url": "https://git.example.com/site.git", "revision": "main"}}
    return {
        "apiVersion": BUILD.api_version,
        "kind": BUILD.name,
        "metadata": {"name": name, "namespace": "ci", "uid": "u-1", "generation": 1, "annotations": {}},
        "spec": {"source": source, "image": "tools:1", "command": ["make"], **spec},
    }


def make_job(build: dict) -> dict:
    """Return the Job of a Build."""
    return _build.build_job(build, factory.build(_build.as_task(build, GIT_IMAGE)))


def steps_of(build: dict) -> list[dict]:
    """Return the containers of the steps in a Build's Job."""
    return make_job(build)["spec"]["template"]["spec"]["containers"]


def with_git(**git: object) -> dict:
    """Return a Build with these fields of its source."""
    build = make_build()
    build["spec"]["source"]["git"].update(git)
    return build


def test_the_first_step_clones_and_the_others_are_the_builds_own():
    build = make_build(command=None, steps=[{"name": "test", "script": "make test"}, {"name": "x", "image": "other:2"}])
    containers = _build.as_task(build, GIT_IMAGE)["spec"]["steps"]
    assert [(step["name"], step.get("image")) for step in containers] == [
        ("clone", GIT_IMAGE),
        ("test", None),
        ("x", "other:2"),
    ]


def test_a_single_step_may_stand_in_the_spec_itself():
    build = make_build(command=["make"], args=["all"])
    clone, only = steps_of(build)
    assert (clone["image"], only["name"], only["image"]) == (GIT_IMAGE, "build", "tools:1")
    assert only["args"][-2:] == ["make", "all"]
    assert only["workingDir"] == "/workspace"
    assert {"name": "workspace", "mountPath": "/workspace"} in only["volumeMounts"]


def test_without_command_and_script_the_image_says_what_runs():
    build = make_build(command=None)
    task = _build.as_task(build, GIT_IMAGE)
    pod = factory.build(task, {"tools:1": ImageConfig(["/tool"], ["-v"])})
    assert pod["spec"]["containers"][1]["args"][-2:] == ["/tool", "-v"]


def test_each_own_step_is_told_the_revision_and_the_builds_variables():
    _, only = steps_of(make_build(env=[{"name": "MODE", "value": "fast"}]))
    values = {variable["name"]: variable["value"] for variable in only["env"]}
    assert values["MODE"] == "fast"
    assert values["BUILD_REVISION"].endswith(":clone/revision}")


@pytest.mark.parametrize(
    ("git", "words"),
    [
        ({"url": "https://h/r.git", "revision": "v1"}, ["https://h/r.git", "v1"]),
        ({"url": "https://h/$(params.x).git"}, ["https://h/$$(params.x).git", "main"]),
        ({"revision": "a$b"}, ["https://git.example.com/site.git", "a$$b"]),
    ],
)
def test_url_and_revision_are_arguments_in_which_nothing_is_a_reference(git, words):
    clone = steps_of(with_git(**git))[0]
    assert clone["args"][-3:-1] == words


def test_only_the_clone_sees_the_secret():
    clone, only = steps_of(with_git(secretRef={"name": "key"}))
    assert [m["name"] for m in clone["volumeMounts"]].count("build-git-secret") == 1
    assert "build-git-secret" not in [m["name"] for m in only["volumeMounts"]]
    volumes = make_job(with_git(secretRef={"name": "key"}))["spec"]["template"]["spec"]["volumes"]
    assert {"name": "build-git-secret", "secret": {"secretName": "key", "defaultMode": 0o444}} in volumes


@pytest.mark.parametrize(
    ("git", "field"),
    [
        ({"url": "--upload-pack=touch /x"}, "spec.source.git.url"),
        ({"url": "ext::sh -c x"}, "spec.source.git.url"),
        ({"url": "https://me:secret@h/r.git"}, "spec.source.git.url"),
        ({"url": "https://[h/r.git"}, "spec.source.git.url"),
        ({"revision": "--output=x"}, "spec.source.git.revision"),
    ],
)
def test_what_git_would_take_for_something_else_is_refused(git, field):
    with pytest.raises(InvalidSpec) as error:
        _build.as_task(with_git(**git), GIT_IMAGE)
    assert error.value.field == field
    assert "secret" not in error.value.message.replace("Secret", "").replace("secretRef", "")


def test_a_reserved_volume_is_refused():
    with pytest.raises(InvalidSpec, match=r"spec.volumes\[1\].name: 'workspace' is reserved"):
        _build.as_task(make_build(volumes=[{"name": "a"}, {"name": "workspace"}]), GIT_IMAGE)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"command": None, "steps": [{"name": "a", "command": ["x"], "script": "y"}]}, "spec.steps[0].command"),
        ({"command": None, "steps": [{"name": "clone", "command": ["x"]}]}, "spec.steps[0].name"),
        ({"script": "y"}, "spec.command"),
        ({"command": ["a", None]}, "spec.command[1]"),
    ],
)
def test_an_error_names_the_field_that_its_author_wrote(spec, field):
    build = make_build(**spec)
    with pytest.raises(InvalidSpec) as error:
        factory.build(_build.as_task(build, GIT_IMAGE))
    mended = _build.own_field(error.value, build)
    assert mended.field == field
    assert mended.message.startswith(f"{field}: ")


def test_the_job_carries_what_tells_whose_it_is():
    build = make_build(backoffLimit=2, activeDeadlineSeconds=60)
    build["spec"]["podTemplate"] = {"metadata": {"labels": {"team": "a"}, "annotations": {"x": "y"}}}
    job = make_job(build)
    assert job["metadata"]["name"] == _build.job_name(build)
    assert job["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert (job["spec"]["backoffLimit"], job["spec"]["activeDeadlineSeconds"]) == (2, 60)
    template = job["spec"]["template"]
    assert template["metadata"]["labels"] == {"team": "a", "build.taskflow/build": "site"}
    assert template["metadata"]["annotations"] == {
        "x": "y",
        "taskorder": "0",
        "operator-sdk/primary-resource": "ci/site",
        "operator-sdk/primary-resource-type": "Build.ci.zt.vapi.cc",
    }
    assert template["spec"]["restartPolicy"] == "Never"


def test_the_name_follows_the_wanted_state():
    build = make_build()
    name = _build.job_name(build)
    assert name.startswith("site-")
    assert _build.job_name(copy.deepcopy(build)) == name
    for control in ({"suspend": True}, {"ttlSecondsAfterFinished": 5}):
        assert _build.job_name(make_build(**control)) == name
    assert _build.job_name(make_build(image="tools:2")) != name
    build["metadata"]["annotations"] = {"build.taskflow/request": "again"}
    assert _build.job_name(build) != name


def defaults_in(schema: dict) -> dict:
    """Return what a schema fills in, as it would stand in an object."""
    found = {}
    items = {"[]": schema["items"]} if "items" in schema else {}
    for name, field in {**schema.get("properties", {}), **items}.items():
        if "default" in field:
            found[name] = field["default"]
        elif inner := defaults_in(field):
            found[name] = inner
    return found


def test_what_the_schema_fills_in_makes_no_other_state():
    crd = yaml.safe_load((Path(__file__).parents[4] / "crd" / "build.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    given = {key: value for key, value in defaults_in(schema).items() if key not in _build.CONTROL_FIELDS}
    assert given == _build.DEFAULTS
    bare = make_build()
    del bare["spec"]["source"]["git"]["revision"]
    filled = copy.deepcopy(bare)
    filled["spec"]["backoffLimit"] = given["backoffLimit"]
    filled["spec"]["source"]["git"].update(given["source"]["git"])
    assert _build.job_name(filled) == _build.job_name(bare)
    filled["spec"]["backoffLimit"] = 1
    assert _build.job_name(filled) != _build.job_name(bare)


def test_a_long_name_leaves_room_for_the_pods_names():
    name = _build.job_name(make_build("a" * 60 + ".b" * 40))
    assert len(name) <= 63 - len("-abcde")
    assert "." not in name


def test_builds_whose_names_begin_alike_have_jobs_of_their_own():
    builds = [make_build("a.b"), make_build("a-b")]
    for number, build in enumerate(builds):
        build["metadata"]["uid"] = f"u-{number}"
    assert _build.job_name(builds[0]) != _build.job_name(builds[1])


@pytest.mark.parametrize("name", ["GIT_CONFIG_COUNT", "BUILD_REVISION"])
def test_a_step_may_set_what_the_build_sets_for_it(name):
    step = {"name": "x", "command": ["x"], "env": [{"name": name, "value": "own"}]}
    _, only = steps_of(make_build(command=None, steps=[step]))
    assert [v["value"] for v in only["env"] if v["name"] == name][-1] == "own"


def test_the_clones_own_variables_hold_whatever_the_builds_are():
    clone, _ = steps_of(
        make_build(env=[{"name": "HOME", "value": "/root"}, {"name": "HTTPS_PROXY", "value": "http://p"}])
    )
    values = {variable["name"]: variable["value"] for variable in clone["env"]}
    assert (values["HOME"], values["HTTPS_PROXY"]) == ("/build/home", "http://p")
