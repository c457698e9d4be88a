# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Read what an image runs from a registry: from its manifest, or the one for the platform in its index."""

from __future__ import annotations

import enum
import hashlib
import importlib.util
import platform
import typing as t

from .name import ImageConfig, choose_manifest, config_digest, image_config, parse_object

if t.TYPE_CHECKING:
    from .cache import ImageCache

# Looked for only: importing it costs more than a look-up that the cache answers.
HAS_DXF = importlib.util.find_spec("dxf") is not None

# Names of the Go port, which images use, for what the kernel calls its machine.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
# Seconds that all look-ups of one Task may take together.
DEADLINE = 5.0
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)


def local_architecture() -> str:
    """Return this machine's architecture as images name it."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


class Cause(enum.Enum):
    """What kind of failure it is, for whoever has to tell what to do about it."""

    DENIED = "credentials are missing or wrong"
    MISSING = "no such image"
    BUSY = "too many requests"
    UNTRUSTED = "the certificate is not trusted"
    TIMEOUT = "no answer"
    UNREACHABLE = "no connection"
    PENDING = "another process is asking"
    OTHER = "anything else"


class RegistryFailure(Exception):
    """A registry's endpoint did not tell what an image runs.

    Args:
        cause: the kind of failure.
        words: what it said, to be read after its name and a colon.
        retry_after: in how many seconds it may be asked again, where that is known.
    """

    def __init__(self, cause: Cause, words: str, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.cause = cause
        self.words = words
        self.retry_after = retry_after


class Source(t.Protocol):
    """A repository of a registry. Each method raises RegistryFailure."""

    def digest_of(self, reference: str) -> str | None:
        """Return the digest that a tag stands for; None where the registry does not tell."""

    def manifest(self, reference: str) -> bytes:
        """Return the manifest or index under a tag or digest."""

    def blob(self, digest: str) -> bytes:
        """Return a blob, checked against its digest."""


def read_image(source: Source, reference: str, architecture: str, cache: ImageCache) -> ImageConfig:
    """Return what an image runs by itself, and keep it in the cache.

    A tag costs one request when its image is in the cache: a HEAD, which registries do not count against a rate limit
    on pulls.

    Args:
        source: the image's repository.
        reference: a tag or a digest.
        architecture: whose image is read where the reference names several.
        cache: what is known already.

    Raises:
        RegistryFailure: it can't be read, or is no image for the architecture.
    """
    if not _is_digest(reference):
        digest = source.digest_of(reference)
        known = cache.get(digest, architecture) if digest else None
        if known is not None:
            return known
    content = _manifest(source, reference)
    try:
        config = _config(source, content, architecture)
    except ValueError as error:
        raise RegistryFailure(Cause.OTHER, str(error)) from error
    # The digest of what was read, not the one that the registry claims.
    cache.put("sha256:" + hashlib.sha256(content).hexdigest(), architecture, config)
    return config


def _config(source: Source, content: bytes, architecture: str) -> ImageConfig:
    manifest = parse_object(content, "its manifest")
    if "manifests" in manifest or manifest.get("mediaType") in INDEX_TYPES:
        digest = choose_manifest(manifest, "linux", architecture)
        if digest is None:
            raise ValueError(f"it has no image for linux/{architecture}")
        manifest = parse_object(_manifest(source, digest), "its manifest")
    blob = source.blob(config_digest(manifest))
    return image_config(parse_object(blob, "its image's configuration"))


def _is_digest(reference: str) -> bool:
    return ":" in reference


def _manifest(source: Source, reference: str) -> bytes:
    """Return a manifest; one that is asked for by its digest must have it."""
    content = source.manifest(reference)
    algorithm, _colon, digest = reference.rpartition(":")
    if algorithm and algorithm not in ("sha256", "sha512"):
        raise RegistryFailure(Cause.OTHER, f"its manifest's digest is of an unknown kind, {algorithm}")
    if algorithm and hashlib.new(algorithm, content).hexdigest() != digest.lower():
        raise RegistryFailure(Cause.OTHER, "its manifest does not have the digest that was asked for")
    return content
