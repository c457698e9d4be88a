"""The directories of runs, in the form that ansible-runner expects.

A resource has ``<base>/<group>/<version>/<Kind>/<namespace>/<name>/`` with ``env/``, ``project/``, ``inventory/hosts``
and ``artifacts/<ident>``. An empty group or namespace is the folder ``_``, because no Kubernetes name has an
underscore. A run for several resources uses ``<base>/<group>/<version>/<Kind>/_batch/<number>/``. There are as many of
these as such runs go on at once, so that the number of artifacts does not grow with the number of resources.
"""

import contextlib
import fcntl
import itertools
import os
import shlex
import shutil
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.kinds import GroupVersionKind, ResourceKey

TEMPORARY = "tmp"  # in a resource's directory, for the temporary files of a run
_EMPTY, _BATCH = "_", "_batch"


class Workspaces:
    """The directories of all runs, below a base directory that only this user can write to.

    Args:
        base: the base directory, which is made if it does not exist.

    Attributes:
        base: its absolute path.
        discovery: the folder for what runs learn about the API server's kinds, while the controller runs.
        alone: whether ``claim`` found that no other process uses the base directory.

    Raises:
        ConfigError: the base directory can't be made, or others can write to it.
    """

    def __init__(self, base: str | os.PathLike[str]) -> None:
        self.base = Path(base).absolute()
        self.discovery = self.base / ".discovery"
        self._lock = threading.Lock()  # removing one resource's directory removes folders that another's are made in
        self.alone = False
        self._batches: set[tuple[GroupVersionKind, int]] = set()  # those in use
        try:
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.base.stat()
        except OSError as exc:
            raise ConfigError(f"--runner-dir {base}: {exc.strerror}") from exc
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"--runner-dir {base}: must belong to this user, and nobody else may write to it")

    def claim(self) -> bool:
        """Mark the base directory as used until this process ends. Return whether no other process uses it now."""
        self._claim = os.open(self.base / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process has it, or this file system has no locks
            self.alone = False
        else:
            self.alone = True
            shutil.rmtree(self.discovery, ignore_errors=True)  # the cluster may be another one now
        with contextlib.suppress(OSError):
            fcntl.flock(self._claim, fcntl.LOCK_SH)
        return self.alone

    def path(self, key: ResourceKey) -> Path:
        """Return the directory of a resource's runs, which need not exist.

        Raises:
            ValueError: a part of the key can't be the name of a folder.
        """
        gvk = key.gvk
        parts = (gvk.group or _EMPTY, gvk.version, gvk.kind, key.namespace or _EMPTY, key.name)
        for part in parts:
            if part in ("", ".", "..") or "/" in part or "\0" in part:
                raise ValueError(f"{part!r} can't be part of a path ({key})")
        return self.base.joinpath(*parts)

    def prepare(self, key: ResourceKey) -> Path:
        """Make and return a resource's directory, with an inventory of this host and this Python.

        Raises:
            OSError: it can't be made.
        """
        return self._prepare(self.path(key))

    @contextlib.contextmanager
    def batch(self, gvk: GroupVersionKind) -> Iterator[Path]:
        """Make and yield a directory for a run for several resources of a kind. No other run gets it at the same time.

        Raises:
            OSError: it can't be made.
        """
        with self._lock:
            number = self._free_number(gvk)
            self._batches.add((gvk, number))
        try:
            yield self._prepare(self.path(ResourceKey(gvk, _BATCH, str(number))))
        finally:
            with self._lock:
                self._batches.discard((gvk, number))

    def _free_number(self, gvk: GroupVersionKind) -> int:
        number = 0
        while (gvk, number) in self._batches:
            number += 1
        return number

    def _prepare(self, path: Path) -> Path:
        with self._lock:
            for folder in ("env", "project", "inventory", "artifacts"):
                (path / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        interpreter = shlex.quote(sys.executable)
        temporary = shlex.quote(str(path / TEMPORARY))
        settings = f"ansible_python_interpreter={interpreter} ansible_remote_tmp={temporary}"
        hosts = f"localhost ansible_connection=local {settings}\n"
        (path / "inventory" / "hosts").write_text(hosts, encoding="utf-8")
        return path

    def keys(self, gvk: GroupVersionKind) -> list[ResourceKey]:
        """Return the resources of a kind that have a directory, whether they still exist or not."""
        found = self.base.joinpath(gvk.group or _EMPTY, gvk.version, gvk.kind).glob("*/*/")
        places = [(path.parent.name, path.name) for path in found]
        return [
            ResourceKey(gvk, "" if namespace == _EMPTY else namespace, name)
            for namespace, name in places
            if not namespace.startswith(_EMPTY) or namespace == _EMPTY
        ]

    def remove(self, key: ResourceKey) -> None:
        """Remove the directory of a resource, and the folders above it that are then empty."""
        path = self.path(key)
        shutil.rmtree(path, ignore_errors=True)
        with self._lock, contextlib.suppress(OSError):  # not empty: another resource is in it
            for parent in itertools.takewhile(lambda folder: folder != self.base, path.parents):
                parent.rmdir()
