"""The directory of each resource's runs, as ansible-runner wants it.

``<base>/<group>/<version>/<Kind>/<namespace>/<name>/`` with ``env/``, ``project/``, ``inventory/hosts`` and
``artifacts/<ident>``. An empty group or namespace is the folder ``_``: no Kubernetes name has an underscore.
A run of several resources has ``<base>/<group>/<version>/<Kind>/_batch/<number>/``, one of as many as there are such
runs at once, so that they keep no more artifacts, however many resources there are.
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
    """All runner directories, under one base directory that is this user's alone."""

    def __init__(self, base: str | os.PathLike[str]) -> None:
        """Make the base directory. Raises ConfigError if it can't be made, or others can write to it."""
        self.base = Path(base).absolute()
        self.discovery = self.base / ".discovery"
        """Where the runs keep what they learn of the API server, for the life of a controller."""
        self._lock = threading.Lock()  # one resource's removal takes away folders that another's are made in
        self.alone = False
        """Whether ``claim`` found that no other process uses the base directory."""
        self._batches: set[tuple[GroupVersionKind, int]] = set()  # those in use
        try:
            self.base.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.base.stat()
        except OSError as exc:
            raise ConfigError(f"--runner-dir {base}: {exc.strerror}") from exc
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"--runner-dir {base}: must be this user's, and writable by nobody else")

    def claim(self) -> bool:
        """Mark the base directory as used, until this process ends; return whether nobody else uses it now."""
        self._claim = os.open(self.base / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another has it, or it can't be told on this file system
            self.alone = False
        else:
            self.alone = True
            shutil.rmtree(self.discovery, ignore_errors=True)  # the cluster may be another one now
        with contextlib.suppress(OSError):
            fcntl.flock(self._claim, fcntl.LOCK_SH)
        return self.alone

    def path(self, key: ResourceKey) -> Path:
        """Return where the runs of a resource are. Raises ValueError for a name that is not a plain one."""
        gvk = key.gvk
        parts = (gvk.group or _EMPTY, gvk.version, gvk.kind, key.namespace or _EMPTY, key.name)
        for part in parts:
            if part in ("", ".", "..") or "/" in part or "\0" in part:
                raise ValueError(f"{part!r} can't be part of a path ({key})")
        return self.base.joinpath(*parts)

    def prepare(self, key: ResourceKey) -> Path:
        """Make and return a resource's directory, with an inventory of this host and interpreter."""
        return self._prepare(self.path(key))

    @contextlib.contextmanager
    def batch(self, gvk: GroupVersionKind) -> Iterator[Path]:
        """Make and yield a directory for a run of several resources of a kind; no other run has it meanwhile."""
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
        """Remove the directory of a resource, and the folders above it that are empty then."""
        path = self.path(key)
        shutil.rmtree(path, ignore_errors=True)
        with self._lock, contextlib.suppress(OSError):  # not empty: another resource is in it
            for parent in itertools.takewhile(lambda folder: folder != self.base, path.parents):
                parent.rmdir()
