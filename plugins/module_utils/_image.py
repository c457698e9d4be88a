# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Names of container images, and what an image runs by itself. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ._errors import TaskError

DEFAULT_REGISTRY = "docker.io"
# Docker Hub answers under another name than its images carry.
HUB_HOST = "registry-1.docker.io"


@dataclasses.dataclass(frozen=True)
class ImageConfig:
    """What an image runs when its container says nothing else."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class ImageName:
    """An image reference in its parts. ``reference`` is a tag, or a digest such as sha256:0123."""

    registry: str
    repository: str
    reference: str


# The grammar of distribution/reference: a name in lower case, then :tag, then @digest, either of which may be missing.
_NAME = re.compile(
    r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]{32,}))?"
)


def parse_image(image: str) -> ImageName:
    """Split an image reference as container runtimes do: docker.io and library/ are implied, and the tag latest.

    Raises:
        TaskError: InvalidImageName, permanent.
    """
    first, slash, rest = image.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, remainder = (first, rest) if has_registry else (DEFAULT_REGISTRY, image)
    match = _NAME.fullmatch(remainder)
    if not match:
        raise TaskError(
            "InvalidImageName",
            f"image {image!r} is not an image reference: write [REGISTRY/]NAME[:TAG][@DIGEST], the name in lower case",
            permanent=True,
        )
    repository = match["name"]
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = "library/" + repository
    return ImageName(registry, repository, match["digest"] or match["tag"] or "latest")


def endpoints(registry: str, mirrors: t.Mapping[str, t.Sequence[str]]) -> list[str]:
    """Return the URLs to ask for a registry's images, best first: its mirrors, then the registry itself."""
    host = HUB_HOST if registry == DEFAULT_REGISTRY else registry
    own = "https://" + host
    return [*(url.rstrip("/") for url in mirrors.get(registry, ())), own]


def parse_mirrors(entries: t.Iterable[str]) -> dict[str, list[str]]:
    """Read mirrors, each written as REGISTRY=URL; a registry may come again, and an empty entry is nothing.

    Raises:
        TaskError: BadMirror: an entry is not of that form.
    """
    mirrors: dict[str, list[str]] = {}
    for entry in filter(None, (entry.strip() for entry in entries)):
        registry, equals, url = entry.partition("=")
        if not equals or not registry or not url.startswith(("http://", "https://")):
            raise TaskError("BadMirror", f"registry mirror {entry!r} is not of the form REGISTRY=http(s)://HOST")
        mirrors.setdefault(registry, []).append(url)
    return mirrors


def choose_manifest(index: t.Mapping[str, t.Any], os: str, architecture: str) -> str | None:
    """Return the digest of the image for a platform from an OCI index or Docker manifest list; None without one."""
    for manifest in index.get("manifests") or []:
        platform = manifest.get("platform") or {}
        if platform.get("os") == os and platform.get("architecture") == architecture:
            return str(manifest["digest"])
    return None


def image_config(blob: t.Mapping[str, t.Any]) -> ImageConfig:
    """Read ENTRYPOINT and CMD from an image's configuration (OCI image specification, config.md)."""
    config = blob.get("config") or {}
    return ImageConfig(tuple(config.get("Entrypoint") or ()), tuple(config.get("Cmd") or ()))
