"""Image references, mirrors and image configurations."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import name as _image

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("busybox", "docker.io", "library/busybox", "latest"),
        ("busybox:1.28", "docker.io", "library/busybox", "1.28"),
        ("devopscube/kubernetes-job-demo:latest", "docker.io", "devopscube/kubernetes-job-demo", "latest"),
        ("docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("docker.io/library/busybox:1", "docker.io", "library/busybox", "1"),
        ("index.docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("index.docker.io/devopscube/x", "docker.io", "devopscube/x", "latest"),
        ("Registry/x", "Registry", "x", "latest"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000", "x", "latest"),
        ("[::1]:5000/x", "[::1]:5000", "x", "latest"),
        ("localhost/x", "localhost", "x", "latest"),
        ("localhost:5000/x/y:v1", "localhost:5000", "x/y", "v1"),
        ("registry.example.com/a/b/c", "registry.example.com", "a/b/c", "latest"),
        (f"busybox@{DIGEST}", "docker.io", "library/busybox", DIGEST),
        (f"quay.example/a:v1@{DIGEST}", "quay.example", "a", DIGEST),
    ],
)
def test_references_are_read_as_container_runtimes_do(text, registry, repository, reference):
    assert _image.parse_image(text) == _image.ImageName(registry, repository, reference)


@pytest.mark.parametrize(
    "text",
    [
        *["", "UPPER", "a b", "x:", "x@sha256:12", "http://x/y", "x//y", "-x", "<image>", "x:\u00e9"],
        *[
            "user:word@host.example/x",
            "a b.example/x",
            "host.example?/x",
            "host.example:/x",
            "host.example#/x",
            "::1/x",
        ],
    ],
)
def test_what_is_no_reference_is_refused_for_good(text):
    with pytest.raises(TaskError) as caught:
        _image.parse_image(text)
    assert (caught.value.reason, caught.value.permanent) == ("InvalidImageName", True)


def test_mirrors_are_asked_before_the_registry_itself():
    mirrors = _image.parse_mirrors(
        ["docker.io=http://10.0.0.1:5000/", " docker.io=https://two", "quay.io=https://q", ""]
    )
    assert _image.endpoint_urls("docker.io", mirrors) == [
        "http://10.0.0.1:5000",
        "https://two",
        "https://registry-1.docker.io",
    ]
    assert _image.endpoint_urls("other:5000", mirrors) == ["https://other:5000"]


@pytest.mark.parametrize("text", ["docker.io", "docker.io=mirror", "=http://x"])
def test_bad_mirrors_are_named(text):
    with pytest.raises(TaskError, match="is not of the form"):
        _image.parse_mirrors([text])


def test_the_manifest_of_the_platform_is_chosen():
    index = {
        "manifests": [
            {"digest": "z", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "a", "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": "b", "platform": {"os": "windows", "architecture": "amd64"}},
            {"digest": "c", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "d"},
        ]
    }
    assert _image.choose_manifest(index, "linux", "amd64") == "c"
    assert _image.choose_manifest(index, "linux", "arm64") == "a"
    assert _image.choose_manifest(index, "linux", "s390x") is None
    assert _image.choose_manifest({"manifests": None}, "linux", "amd64") is None


@pytest.mark.parametrize("index", [{"manifests": "x"}, {"manifests": ["x"]}, {"manifests": [{"platform": "linux"}]}])
def test_an_index_that_is_none_is_said_to_be(index):
    with pytest.raises(ValueError, match="is no"):
        _image.choose_manifest(index, "linux", "amd64")


def test_the_configuration_of_a_manifest_is_found():
    assert _image.config_digest({"config": {"digest": DIGEST}}) == DIGEST


@pytest.mark.parametrize("manifest", [{}, {"config": None}, {"config": "x"}, {"config": {}}, {"config": {"digest": 1}}])
def test_a_manifest_without_configuration_is_said_to_have_none(manifest):
    with pytest.raises(ValueError, match="names no configuration"):
        _image.config_digest(manifest)


def test_an_image_configuration_may_lack_both():
    assert _image.image_config({"config": {"Entrypoint": ["/e"], "Cmd": None}}) == _image.ImageConfig(("/e",), ())
    assert _image.image_config({}) == _image.ImageConfig()
    assert _image.image_config({"config": None}) == _image.ImageConfig()


@pytest.mark.parametrize(
    ("blob", "words"),
    [
        ({"config": "x"}, "its configuration is no JSON object"),
        ({"config": {"Entrypoint": "/bin/sh -c x"}}, "its Entrypoint is no list"),
        ({"config": {"Cmd": ["a", 1]}}, "its Cmd is no list of strings"),
    ],
)
def test_an_image_configuration_of_another_form_is_refused(blob, words):
    with pytest.raises(ValueError, match=words):
        _image.image_config(blob)


@pytest.mark.parametrize("data", [b"", b"<html>", b"[]", b"1", b"\xff"])
def test_what_is_no_json_object_is_refused(data):
    with pytest.raises(ValueError, match="its manifest is no JSON"):
        _image.parse_object(data, "its manifest")
