# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Read an image's configuration from its registry."""

from __future__ import annotations

import json
import platform
import typing as t
from urllib.parse import urlsplit

from . import _image
from ._errors import TaskError

try:
    import dxf
    import dxf.exceptions
    import requests

    HAS_DXF = True
except ImportError:
    HAS_DXF = False

# Names of the Go port, which images use, for what the kernel calls its machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
# Seconds to connect, and between two reads.
TIMEOUT = 10


def local_architecture() -> str:
    """Return this machine's architecture as images name it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


class Registries:
    """Looks images up in their registries, anonymously.

    Args:
        mirrors: for a registry's name, the URLs to ask before it, as the nodes' container runtime does.
        architecture: whose image is read where a reference names several.
    """

    def __init__(self, mirrors: t.Mapping[str, t.Sequence[str]], architecture: str) -> None:
        self.mirrors = mirrors
        self.architecture = architecture

    def config(self, image: str) -> _image.ImageConfig:
        """Return what an image runs by itself.

        Raises:
            TaskError: ImageLookupFailed, with what each registry that was asked said.
        """
        name = _image.parse_image(image)
        failures = []
        for url in _image.endpoints(name.registry, self.mirrors):
            try:
                return self._fetch(url, name)
            except (dxf.exceptions.DXFError, requests.RequestException, ValueError, KeyError) as error:
                failures.append(f"{urlsplit(url).netloc}: {_explain(error)}")
        raise TaskError(
            "ImageLookupFailed",
            f"the ENTRYPOINT of image {image} could not be read: {'; '.join(failures)}. "
            "Check the image's name, or give the step a command",
        )

    def _fetch(self, url: str, name: _image.ImageName) -> _image.ImageConfig:
        parts = urlsplit(url)
        registry = dxf.DXF(
            parts.netloc, name.repository, _authenticate, insecure=parts.scheme == "http", timeout=TIMEOUT
        )
        manifest = json.loads(registry.get_manifest_and_response(name.reference)[0])
        if "manifests" in manifest or manifest.get("mediaType") in INDEX_TYPES:
            digest = _image.choose_manifest(manifest, "linux", self.architecture)
            if digest is None:
                raise ValueError(f"it has no image for linux/{self.architecture}")
            manifest = json.loads(registry.get_manifest_and_response(digest)[0])
        blob = b"".join(registry.pull_blob(manifest["config"]["digest"]))
        return _image.image_config(json.loads(blob))


def _authenticate(registry: t.Any, response: t.Any) -> None:
    registry.authenticate(response=response)


def _explain(error: Exception) -> str:
    """Return what went wrong at a registry, in a few words."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP {response.status_code} {response.reason}"
    if isinstance(error, dxf.exceptions.DXFUnauthorizedError):
        return "HTTP 401 Unauthorized"
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} s"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, KeyError):
        return f"its manifest lacks {error}"
    return str(error) or type(error).__name__
