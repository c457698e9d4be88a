"""Image references, mirrors and image configurations."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils import _image
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "registry", "repository", "reference"),
    [
        ("busybox", "docker.io", "library/busybox", "latest"),
        ("busybox:1.28", "docker.io", "library/busybox", "1.28"),
        ("devopscube/kubernetes-job-demo:latest", "docker.io", "devopscube/kubernetes-job-demo", "latest"),
        ("docker.io/busybox", "docker.io", "library/busybox", "latest"),
        ("localhost/x", "localhost", "x", "latest"),
        ("localhost:5000/x/y:v1", "localhost:5000", "x/y", "v1"),
        ("registry.example.com/a/b/c", "registry.example.com", "a/b/c", "latest"),
        (f"busybox@{DIGEST}", "docker.io", "library/busybox", DIGEST),
        (f"quay.example/a:v1@{DIGEST}", "quay.example", "a", DIGEST),
    ],
)
def test_references_are_read_as_container_runtimes_do(text, registry, repository, reference):
    assert _image.parse_image(text) == _image.ImageName(registry, repository, reference)


@pytest.mark.parametrize("text", ["", "UPPER", "a b", "x:", "x@sha256:12", "http://x/y", "x//y", "-x", "<image>"])
def test_what_is_no_reference_is_refused_for_good(text):
    with pytest.raises(TaskError) as caught:
        _image.parse_image(text)
    assert (caught.value.reason, caught.value.permanent) == ("InvalidImageName", True)


def test_mirrors_are_asked_before_the_registry_itself():
    mirrors = _image.parse_mirrors(
        ["docker.io=http://10.0.0.1:5000/", " docker.io=https://two", "quay.io=https://q", ""]
    )
    assert _image.endpoints("docker.io", mirrors) == [
        "http://10.0.0.1:5000",
        "https://two",
        "https://registry-1.docker.io",
    ]
    assert _image.endpoints("other:5000", mirrors) == ["https://other:5000"]


@pytest.mark.parametrize("text", ["docker.io", "docker.io=mirror", "=http://x"])
def test_bad_mirrors_are_named(text):
    with pytest.raises(TaskError, match="is not of the form"):
        _image.parse_mirrors([text])


def test_the_manifest_of_the_platform_is_chosen():
    index = {
        "manifests": [
            {"digest": "a", "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": "b", "platform": {"os": "windows", "architecture": "amd64"}},
            {"digest": "c", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "d"},
        ]
    }
    assert _image.choose_manifest(index, "linux", "amd64") == "c"
    assert _image.choose_manifest(index, "linux", "s390x") is None


def test_an_image_configuration_may_lack_both():
    assert _image.image_config({"config": {"Entrypoint": ["/e"], "Cmd": None}}) == _image.ImageConfig(("/e",), ())
    assert _image.image_config({}) == _image.ImageConfig()
