"""Which parts of an image are read from its registry, what is believed and what is kept."""

from __future__ import annotations

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._image.cache import ImageCache
from ansible_collections.taskflow.operator.plugins.module_utils._image.name import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._image.registry import (
    Cause,
    RegistryFailure,
    read_image,
)
from support.registry.shelf import Shelf, digest_of

INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def cache(tmp_path) -> ImageCache:
    return ImageCache(str(tmp_path))


def test_a_tag_is_read_once_and_then_costs_one_head(shelf, cache):
    shelf.add_image("v1", Entrypoint=["/e"])
    for expected in (["head", "manifest", "blob"], ["head"]):
        shelf.asked.clear()
        assert read_image(shelf, "v1", "amd64", cache) == ImageConfig(("/e",))
        assert shelf.asked == expected
    shelf.add_image("v1", Entrypoint=["/new"])
    assert read_image(shelf, "v1", "amd64", cache).entrypoint == ("/new",)


def test_a_registry_that_tells_no_digest_is_asked_for_the_manifest(shelf, cache):
    shelf.tells_digests = False
    digest = shelf.add_image("v1", Cmd=["c"])
    assert read_image(shelf, "v1", "amd64", cache) == ImageConfig((), ("c",))
    assert cache.get(digest, "amd64") == ImageConfig((), ("c",))


def test_an_index_is_kept_for_each_architecture(shelf, cache):
    entries = [
        {"digest": shelf.add_image(Entrypoint=[arch]), "platform": {"os": "linux", "architecture": arch}}
        for arch in ("arm64", "amd64")
    ]
    digest = shelf.add({"mediaType": INDEX, "manifests": entries}, "v1")
    for arch in ("arm64", "amd64"):
        assert read_image(shelf, "v1", arch, cache).entrypoint == (arch,)
        assert cache.get(digest, arch).entrypoint == (arch,)
    with pytest.raises(RegistryFailure, match="it has no image for linux/s390x"):
        read_image(shelf, digest, "s390x", cache)


def test_what_a_registry_claims_a_digest_to_be_is_checked(shelf, cache):
    """A registry must not decide what the image of another one runs."""
    honest = shelf.add_image("v1", Entrypoint=["/good"])
    evil = Shelf()
    evil.content = {honest: b'{"config": {"digest": "x"}}', "x": b'{"config": {"Entrypoint": ["/evil"]}}'}
    with pytest.raises(RegistryFailure, match="does not have the digest"):
        read_image(evil, honest, "amd64", cache)
    evil.content["v1"] = evil.content[honest]
    evil.digest_of = lambda reference: honest
    assert read_image(evil, "v1", "amd64", cache).entrypoint == ("/evil",)
    assert cache.get(honest, "amd64") is None
    assert read_image(shelf, "v1", "amd64", cache).entrypoint == ("/good",)


def test_other_digests_are_checked_too(shelf, cache):
    shelf.add_image("v1")
    content = shelf.content["v1"]
    longer = digest_of(content, "sha512")
    shelf.content[longer] = content
    assert read_image(shelf, longer, "amd64", cache) == ImageConfig()
    shelf.content["sha512:" + "0" * 128] = content
    with pytest.raises(RegistryFailure, match="does not have the digest"):
        read_image(shelf, "sha512:" + "0" * 128, "amd64", cache)
    shelf.content["md5:" + "0" * 32] = content
    with pytest.raises(RegistryFailure, match="of an unknown kind, md5"):
        read_image(shelf, "md5:" + "0" * 32, "amd64", cache)


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b"<html>", "its manifest is no JSON"),
        (b"[]", "its manifest is no JSON object"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "its manifest names no configuration"),
        (b'{"manifests": 1}', "its manifests is no list"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_said_to_make_none(shelf, cache, manifest, words):
    shelf.add(manifest, "v1")
    with pytest.raises(RegistryFailure, match=words) as caught:
        read_image(shelf, "v1", "amd64", cache)
    assert caught.value.cause is Cause.OTHER
