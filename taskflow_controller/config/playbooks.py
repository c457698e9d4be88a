"""Finds a watch's playbook or role: by path, by name on Ansible's search paths, or in a collection."""

import configparser
import os
import re
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_COLLECTION_NAME = re.compile(r"[a-z_]\w*\.[a-z_]\w*(\.\w+)+")
_PLAYBOOK_SUFFIXES = (".yml", ".yaml")
ROLES_PATH = "ANSIBLE_ROLES_PATH"
_COLLECTIONS_KEYS = ("collections_path", "collections_paths")
_ANSIBLE_CFG = ("ansible.cfg", "~/.ansible.cfg", "/etc/ansible/ansible.cfg")


@dataclass(frozen=True)
class Command:
    """The playbook or the role that a run runs. One of the two is set.

    Attributes:
        playbook: an absolute path, or its name in a collection, such as ``ns.name.playbook``.
        role: the same for a role.
    """

    playbook: str | None = None
    role: str | None = None


class NotFoundError(Exception):
    """There is no such playbook or role. The text names the places that were searched."""


def find_playbook(name: str, environ: Mapping[str, str]) -> str:
    """Return the playbook as ``ansible-playbook`` takes it: an absolute path, or its name in a collection.

    Args:
        name: a path, relative to the working directory, or a name in a collection.
        environ: the environment of the runs.

    Raises:
        NotFoundError: there is no such playbook.
    """
    if os.path.isfile(name):
        return os.path.abspath(name)
    if not _COLLECTION_NAME.fullmatch(name) or name.endswith(_PLAYBOOK_SUFFIXES):
        raise NotFoundError(f"there is no playbook {os.path.abspath(name)}")
    namespace, collection, *rest = name.split(".")
    folders = list(_collection_folders(environ))
    for folder in folders:
        base = folder / namespace / collection / "playbooks" / Path(*rest)
        if any(base.with_name(base.name + suffix).is_file() for suffix in _PLAYBOOK_SUFFIXES):
            return name
    raise NotFoundError(f"no collection has the playbook {name}; searched: {_joined(folders)}")


def find_role(name: str, environ: Mapping[str, str]) -> str:
    """Return the role as a play's ``roles`` takes it: an absolute path, or its name in a collection.

    The first of these that exists: the collection's role, the role in an entry of the roles path or in the entry's
    ``roles`` folder, the role in ``./roles``, the name itself as a path.

    Args:
        name: a path, relative to the working directory, a role's name, or a name in a collection.
        environ: the environment of the runs.

    Raises:
        NotFoundError: there is no such role.
    """
    if _COLLECTION_NAME.fullmatch(name):
        namespace, collection, role = name.split(".", 2)
        for folder in _collection_folders(environ):
            if (folder / namespace / collection / "roles" / role).is_dir():
                return name
    candidates = [*_role_candidates(name, environ), Path("roles") / name, Path(name)]
    for candidate in candidates:
        if candidate.is_dir():
            return str(candidate.absolute())
    raise NotFoundError(f"there is no role {name}; searched: {_joined(candidates)}")


def roles_path(environ: Mapping[str, str]) -> str:
    """Return the ``ANSIBLE_ROLES_PATH`` of the runs: the configured folders, and ``./roles``.

    A playbook written for the Operator SDK is in ``./playbooks``, but imports its roles from ``./roles``.
    """
    folders = [*_roles_folders(environ), Path("roles").absolute()]
    return os.pathsep.join(dict.fromkeys(map(str, folders)))


def _role_candidates(name: str, environ: Mapping[str, str]) -> Iterator[Path]:
    for entry in _roles_folders(environ):
        yield entry / name
        yield entry / "roles" / name


def _roles_folders(environ: Mapping[str, str]) -> list[Path]:
    default = "~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles"
    return _search_path(environ, ROLES_PATH, ("roles_path",), default)


def _collection_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    default = "~/.ansible/collections:/usr/share/ansible/collections"
    entries = _search_path(environ, "ANSIBLE_COLLECTIONS_PATH", _COLLECTIONS_KEYS, default)
    for entry in [*entries, Path(sysconfig.get_path("purelib"))]:
        yield entry if entry.name == "ansible_collections" else entry / "ansible_collections"


def _search_path(environ: Mapping[str, str], variable: str, keys: tuple[str, ...], default: str) -> list[Path]:
    text = environ.get(variable) or _from_ansible_cfg(environ, keys) or default
    return [Path(entry).expanduser() for entry in text.split(os.pathsep) if entry]


def _from_ansible_cfg(environ: Mapping[str, str], keys: tuple[str, ...]) -> str | None:
    """Return the first of ``keys`` that the ansible.cfg of a run sets, with its paths made absolute."""
    candidates = [environ.get("ANSIBLE_CONFIG", ""), *_ANSIBLE_CFG]
    for candidate in map(os.path.expanduser, filter(None, candidates)):
        if not os.path.isfile(candidate):
            continue
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(candidate, encoding="utf-8")
        except configparser.Error:
            return None  # Ansible will describe what is wrong with it
        folder = os.path.dirname(os.path.abspath(candidate))
        for key in keys:
            if value := parser.get("defaults", key, fallback=None):
                entries = (os.path.expanduser(entry) for entry in value.split(os.pathsep) if entry)
                return os.pathsep.join(os.path.join(folder, entry) for entry in entries)
        return None
    return None


def _joined(paths: list[Path]) -> str:
    return ", ".join(str(path.absolute()) for path in paths)
