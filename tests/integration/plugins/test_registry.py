"""Looking images up in a real registry: the one of the throw-away cluster."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from ansible_collections.taskflow.operator.plugins.module_utils._errors import TaskError
from ansible_collections.taskflow.operator.plugins.module_utils._image import ImageConfig
from ansible_collections.taskflow.operator.plugins.module_utils._registry import Registries

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def url() -> str:
    """The registry's URL."""
    facts = json.loads((Path(os.environ["KUBECONFIG"]).parent / "cluster.json").read_text())
    return f"http://{facts['registry_push']}"


class Repository:
    """A repository of the test's own, to push to."""

    def __init__(self, url: str) -> None:
        self.name = f"test/{uuid.uuid4().hex}"
        self._base = f"{url}/v2/{self.name}"

    def push_blob(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        start = requests.post(f"{self._base}/blobs/uploads/", timeout=10)
        place = urljoin(start.url, start.headers["Location"])
        requests.put(place, params={"digest": digest}, data=content, timeout=10).raise_for_status()
        return {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(content)}

    def push_manifest(self, tag: str, manifest: dict[str, object]) -> dict[str, object]:
        content = json.dumps(manifest).encode()
        headers = {"Content-Type": str(manifest["mediaType"])}
        requests.put(f"{self._base}/manifests/{tag}", data=content, headers=headers, timeout=10).raise_for_status()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": manifest["mediaType"], "digest": digest, "size": len(content)}

    def push_image(self, tag: str, **config: list[str]) -> dict[str, object]:
        """Push an image without layers, and return what an index says of it."""
        blob = self.push_blob(json.dumps({"config": config}).encode())
        return self.push_manifest(tag, {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob, "layers": []})


@pytest.fixture
def repository(url: str) -> Repository:
    return Repository(url)


def look_up(url: str, image: str, architecture: str = "amd64") -> ImageConfig:
    return Registries({"docker.io": [url]}, architecture).config(image)


def test_tag_digest_and_the_default_tag(url, repository):
    pushed = repository.push_image("latest", Entrypoint=["/run", "a b"], Cmd=["c"])
    expected = ImageConfig(("/run", "a b"), ("c",))
    for reference in ("", ":latest", f"@{pushed['digest']}", f":old@{pushed['digest']}"):
        assert look_up(url, repository.name + reference) == expected


def test_an_index_leads_to_the_architectures_own_image(url, repository):
    platforms = []
    for architecture in ("arm64", "amd64"):
        entry = repository.push_image(architecture, Entrypoint=[f"/{architecture}"])
        platforms.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
    repository.push_manifest("v1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": platforms})
    for architecture in ("arm64", "amd64"):
        assert look_up(url, f"{repository.name}:v1", architecture).entrypoint == (f"/{architecture}",)
    with pytest.raises(TaskError, match="no image for linux/s390x"):
        look_up(url, f"{repository.name}:v1", "s390x")


def test_the_next_mirror_is_asked_when_one_does_not_answer(url, repository):
    repository.push_image("v1", Cmd=["x"])
    registries = Registries({"docker.io": [NOBODY, url]}, "amd64")
    assert registries.config(f"{repository.name}:v1") == ImageConfig((), ("x",))


def test_what_every_registry_said_is_told(url, repository):
    registries = Registries({"localhost:1": [NOBODY, url]}, "amd64")
    with pytest.raises(TaskError) as caught:
        registries.config(f"localhost:1/{repository.name}:v9")
    assert (caught.value.reason, caught.value.permanent) == ("ImageLookupFailed", False)
    host = url.removeprefix("http://")
    assert f"127.0.0.1:1: no connection; {host}: HTTP 404 Not Found; localhost:1: no connection" in caught.value.message
