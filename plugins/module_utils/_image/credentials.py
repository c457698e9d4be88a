# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Pull secrets: what they hold, and which of it is for an image. Pure."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import fnmatch
import json
import re
import typing as t

from .._contract import Object
from .name import DEFAULT_REGISTRY, LEGACY_DEFAULT_REGISTRY

# The types of a pull secret, and the key of the data that each one has.
DATA_KEYS = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}


@dataclasses.dataclass(frozen=True)
class Credential:
    """A user's name and password, which never show in a text made of it.

    ``secret`` is the name of the pull secret that it comes from; ``key`` is what it is for, such as
    registry.example.com:5000/team.
    """

    secret: str
    key: str
    username: str = dataclasses.field(repr=False)
    password: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Keyring:
    """What all pull secrets of a Pod hold.

    ``problems`` tells, each in a clause that names the secret, what of them is of no use and why.
    """

    credentials: tuple[Credential, ...] = ()
    secrets: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_secret(name: str, secret: Object) -> tuple[list[Credential], list[str]]:
    """Return the credentials of a Secret, as the API server returns it, and what is wrong with it.

    Both types of pull secret are read: kubernetes.io/dockerconfigjson, and kubernetes.io/dockercfg, in which the
    entries stand without "auths" around them.
    """
    kind = secret.get("type")
    if kind not in DATA_KEYS:
        return [], [f"{_called(name)} is of type {kind}, not {' or '.join(DATA_KEYS)}"]
    key = DATA_KEYS[kind]
    try:
        content = json.loads(base64.b64decode((secret.get("data") or {})[key]))
        entries = content.get("auths") or {} if kind == "kubernetes.io/dockerconfigjson" else content
        pairs = list(entries.items())
    except (KeyError, TypeError, ValueError, AttributeError):
        return [], [f"{_called(name)} holds no Docker configuration under {key}"]
    credentials, problems = [], []
    for place, entry in pairs:
        try:
            username, password = _user_of(entry)
        except ValueError as error:
            problems.append(f"{_called(name)} is of no use for {normalise_key(place)}: {error}")
        else:
            credentials.append(Credential(name, normalise_key(place), username, password))
    return credentials, problems


def _called(name: str) -> str:
    return f'pull secret "{name}"'


def _user_of(entry: t.Any) -> tuple[str, str]:
    """Return user name and password of one entry; ``auth``, where there is one, counts more than the two.

    Raises:
        ValueError: it holds neither; the message repeats nothing of it.
    """
    if not isinstance(entry, dict):
        raise ValueError("its entry is no JSON object")
    username, password = entry.get("username") or "", entry.get("password") or ""
    if entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
        except (TypeError, ValueError, binascii.Error):
            colon = ""
        if not colon:
            raise ValueError("its auth is not USER:PASSWORD in base64")
    if entry.get("identitytoken") and not password:
        raise ValueError("it holds an identity token only, which is not supported")
    if not isinstance(username, str) or not isinstance(password, str) or not username:
        raise ValueError("it holds no user name and password")
    return username, password


def normalise_key(key: str) -> str:
    """Return what an entry is for as HOST[:PORT][/PATH]: without a scheme, and without Docker's /v1/ or /v2/."""
    host, slash, path = re.split("[?#]", re.sub("^https?://", "", key))[0].partition("/")
    path = re.sub("^/v[12]/", "/", slash + path)
    return host.rpartition("@")[2] + (path if path != "/" else "")


def matching(credentials: t.Sequence[Credential], host: str, repository: str) -> list[Credential]:
    """Return the credentials to try for a repository of a registry, one after the other, the most specific first.

    The rule is the kubelet's (kubernetes/pkg/credentialprovider/keyring.go, BasicDockerKeyring): a key matches when
    its port is the same, its host has as many labels and each matches as a glob, and its path is a prefix of the
    image's; keys are tried in reverse order of their spelling, so that a longer path comes before a shorter. Where
    nothing matches an image of Docker Hub, what is for index.docker.io counts; that is the key which
    `docker login` and `kubectl create secret docker-registry` write.

    Args:
        credentials: of all pull secrets, in their order.
        host: who is asked: the image's registry, as in its name, or a mirror, which gets what is for itself alone.
        repository: the image's name without registry and tag.
    """
    ordered = sorted(credentials, key=lambda credential: credential.key, reverse=True)
    found = [credential for credential in ordered if _matches(credential.key, host, "/" + repository)]
    if not found and host == DEFAULT_REGISTRY:
        found = [credential for credential in ordered if credential.key == LEGACY_DEFAULT_REGISTRY]
    return found


def _matches(key: str, host: str, path: str) -> bool:
    key_host, slash, key_path = key.partition("/")
    (key_labels, key_port), (labels, port) = _split_host(key_host), _split_host(host)
    return (
        key_port == port
        and len(key_labels) == len(labels)
        and path.startswith(slash + key_path)
        and all(fnmatch.fnmatchcase(label, glob) for label, glob in zip(labels, key_labels, strict=True))
    )


def _split_host(host: str) -> tuple[list[str], str]:
    """Return a host's labels and its port; an IPv6 address in brackets is one label."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, ""
    return name.strip("[]").split("."), port
