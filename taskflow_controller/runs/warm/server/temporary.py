"""Makes and removes the temporary directories of Ansible's actions without the shells that Ansible starts for this.

Most actions that pass files to a module have such a directory: copy, template, and all of kubernetes.core's. Ansible
still handles them itself for a connection or shell other than its own local ones, for another user, and if its
commands are shown.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ansible
from ansible import constants
from ansible.utils.display import Display

_PLUGINS = Path(ansible.__file__).parent / "plugins"
_SHOWS_COMMANDS = 3  # verbosity


def is_ansibles(plugin: Any, kind: str, name: str) -> bool:
    """Return whether a plugin is Ansible's own, not a project's with the same name.

    Args:
        plugin: the plugin.
        kind: its type, such as ``connection``.
        name: the name of Ansible's own.
    """
    return is_ansibles_path(getattr(plugin, "_original_path", ""), kind, name)


def is_ansibles_path(path: str, kind: str, name: str) -> bool:
    """Return whether a plugin's file is that of Ansible's own plugin."""
    return Path(path) == _PLUGINS / kind / f"{name}.py"


def make(action: Any, original: Any, remote_user: Any = None) -> str:
    """Replace ActionBase._make_tmp_path: make the directory of an action, and return its path."""
    if not _is_plain(action) or action._is_become_unprivileged():
        return str(original(action, remote_user))
    shell = action._connection._shell
    path = os.path.join(constants.DEFAULT_LOCAL_TMP, shell._generate_temp_dir_name())
    try:
        os.makedirs(constants.DEFAULT_LOCAL_TMP, mode=0o700, exist_ok=True)
        os.mkdir(path, mode=0o700)
    except OSError:  # Ansible will report it
        return str(original(action, remote_user))
    action._cleanup_remote_tmp = True
    shell.tmpdir = os.path.join(path, "")
    return str(shell.tmpdir)


def remove(action: Any, original: Any, tmp_path: Any, force: bool = False) -> None:
    """Replace ActionBase._remove_tmp_path: remove a directory that ``make`` has made."""
    path = tmp_path or action._connection._shell.tmpdir
    wanted = path and (force or action._should_remove_tmp_path(path))
    if not (wanted and _is_plain(action) and _is_made_here(path)):
        original(action, tmp_path, force)
        return
    try:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
    except OSError:
        original(action, tmp_path, force)
    else:
        action._connection._shell.tmpdir = None


def change_mode(action: Any, original: Any, paths: Sequence[str], mode: str, sudoable: bool = False) -> Any:
    """Replace ActionBase._remote_chmod if it gives the owner all rights, as it mostly does."""
    if mode != "u+rwx" or sudoable or not _is_plain(action):
        return original(action, paths, mode, sudoable)
    try:
        for path in paths:
            os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) | stat.S_IRWXU)
    except OSError:
        return original(action, paths, mode, sudoable)
    return {"rc": 0, "stdout": "", "stdout_lines": [], "stderr": "", "stderr_lines": []}


def _is_plain(action: Any) -> bool:
    """Return whether a shell would do the same as this process."""
    connection = action._connection
    return (
        is_ansibles(connection, "connection", "local")
        and is_ansibles(connection._shell, "shell", "sh")
        and os.path.isabs(constants.DEFAULT_LOCAL_TMP)
        and Display().verbosity < _SHOWS_COMMANDS
    )


def _is_made_here(path: str) -> bool:
    path = path.rstrip("/")
    return os.path.dirname(path) == constants.DEFAULT_LOCAL_TMP and not os.path.islink(path)
