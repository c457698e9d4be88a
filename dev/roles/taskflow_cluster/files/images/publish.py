"""Publish directories as one-layer images in a registry that speaks plain HTTP.

stdin: {"registry": "host:port", "rootfs": "/directory", "images": [{"name": "a/b:tag", "rootfs": "x", "config": {}}]}
The same files make the same digest, so an image that is there already is not sent again.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import os
import sys
import tarfile
import urllib.parse
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def archive(root: Path) -> bytes:
    """A tar of the directory, without anything that differs from one build to the next."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, arcname=path.name, filter=plain)
    return buffer.getvalue()


class Registry:
    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=30)

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, names)
        response = self.connection.getresponse()
        response.read()
        return response

    def has_manifest(self, repository: str, tag: str, wanted: str) -> bool:
        response = self.request("HEAD", f"/v2/{repository}/manifests/{tag}", Accept=MANIFEST)
        return response.status == 200 and response.headers["Docker-Content-Digest"] == wanted

    def push_blob(self, repository: str, data: bytes) -> None:
        name = digest(data)
        if self.request("HEAD", f"/v2/{repository}/blobs/{name}").status == 200:
            return
        location = self.request("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
        parts = urllib.parse.urlsplit(location)
        query = f"{parts.query}&digest={name}" if parts.query else f"digest={name}"
        response = self.request("PUT", f"{parts.path}?{query}", data, Content_Type="application/octet-stream")
        if response.status != 201:
            raise SystemExit(f"{repository}: the registry refused a blob with status {response.status}.")

    def push_manifest(self, repository: str, tag: str, data: bytes) -> None:
        response = self.request("PUT", f"/v2/{repository}/manifests/{tag}", data, Content_Type=MANIFEST)
        if response.status != 201:
            raise SystemExit(f"{repository}:{tag}: the registry refused the manifest with status {response.status}.")


def publish(registry: Registry, image: dict, rootfs: Path) -> bool:
    repository, tag = image["name"].split(":")
    tar = archive(rootfs / image["rootfs"])
    layer = gzip.compress(tar, compresslevel=6, mtime=0)
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[os.uname().machine],
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": image["config"],
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": digest(config)},
            "layers": [{"mediaType": LAYER, "size": len(layer), "digest": digest(layer)}],
        }
    ).encode()
    if registry.has_manifest(repository, tag, digest(manifest)):
        return False
    registry.push_blob(repository, config)
    registry.push_blob(repository, layer)
    registry.push_manifest(repository, tag, manifest)
    return True


def main() -> None:
    request = json.load(sys.stdin)
    registry = Registry(request["registry"])
    rootfs = Path(request["rootfs"])
    changed = [image["name"] for image in request["images"] if publish(registry, image, rootfs)]
    json.dump({"changed": changed}, sys.stdout)


if __name__ == "__main__":
    main()
