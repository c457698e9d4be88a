# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Names of container images, and what an image runs by itself. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
import typing as t

from .._errors import TaskError

DEFAULT_REGISTRY = "docker.io"
# What Docker Hub was called in image names of old.
LEGACY_DEFAULT_REGISTRY = "index.docker.io"
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


# A registry is a host name or an IPv6 address, with or without a port: nothing else may get into a URL.
_REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])"
    r"(?::[0-9]+)?"
)
# The grammar of distribution/reference: a name in lower case, then :tag, then @digest, either of which may be missing.
_NAME = re.compile(
    r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9+._-]+:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)


def parse_image(image: str) -> ImageName:
    """Split an image reference as container runtimes do: docker.io and library/ are implied, and the tag latest.

    Raises:
        TaskError: InvalidImageName, permanent.
    """
    first, slash, rest = image.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    registry, remainder = (first, rest) if has_registry else (DEFAULT_REGISTRY, image)
    if registry == LEGACY_DEFAULT_REGISTRY:
        registry = DEFAULT_REGISTRY
    match = _NAME.fullmatch(remainder)
    if not match or not _REGISTRY.fullmatch(registry):
        raise TaskError(
            "InvalidImageName",
            f"image {image!r} is not an image reference: write [REGISTRY/]NAME[:TAG][@DIGEST], the name in lower case",
            permanent=True,
        )
    repository = match["name"]
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = "library/" + repository
    return ImageName(registry, repository, match["digest"] or match["tag"] or "latest")


def endpoint_urls(registry: str, mirrors: t.Mapping[str, t.Sequence[str]]) -> list[str]:
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
    """Return the digest of the image for a platform from an OCI index or Docker manifest list; None without one.

    Raises:
        ValueError: the index is not made as one.
    """
    for entry in _list(index, "manifests"):
        manifest = _object(entry, "an entry of its index")
        platform = _object(manifest.get("platform") or {}, "a platform in its index")
        if platform.get("os") == os and platform.get("architecture") == architecture:
            return str(manifest.get("digest"))
    return None


def config_digest(manifest: t.Mapping[str, t.Any]) -> str:
    """Return the digest of an image's configuration from its manifest.

    Raises:
        ValueError: the manifest names none, as those of Docker's schema 1 and of things that are no image.
    """
    config = manifest.get("config")
    digest = config.get("digest") if isinstance(config, dict) else None
    if not isinstance(digest, str):
        raise ValueError("its manifest names no configuration")
    return digest


def image_config(blob: t.Mapping[str, t.Any]) -> ImageConfig:
    """Read ENTRYPOINT and CMD from an image's configuration (OCI image specification, config.md).

    Raises:
        ValueError: one of them is no list of words.
    """
    config = _object(blob.get("config") or {}, "its configuration")
    return ImageConfig(_words(config, "Entrypoint"), _words(config, "Cmd"))


def parse_object(data: bytes, what: str) -> dict[str, t.Any]:
    """Read a JSON object.

    Raises:
        ValueError: it is none; ``what`` says in the message what it should have been.
    """
    try:
        value = json.loads(data)
    except ValueError:
        raise ValueError(f"{what} is no JSON") from None
    return _object(value, what)


def _object(value: t.Any, what: str) -> dict[str, t.Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object")
    return value


def _list(parent: t.Mapping[str, t.Any], key: str) -> list[t.Any]:
    value = parent.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"its {key} is no list")
    return value


def _words(config: t.Mapping[str, t.Any], key: str) -> tuple[str, ...]:
    words = _list(config, key)
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"its {key} is no list of strings")
    return tuple(words)
