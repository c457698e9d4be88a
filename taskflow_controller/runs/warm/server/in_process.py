"""Makes Ansible's actions run their modules with ``modules``, if that makes no difference except in time.

It wraps methods of ActionBase, including those for temporary directories (``temporary``). Ansible still packs a module
and starts a new process for it in these cases: a connection other than local, become, async, another interpreter,
another language, modules that look for another Python, settings for debugging, and a project that overrides parts of
Ansible's own module_utils.
"""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ansible.module_utils
from ansible import constants
from ansible._internal._ansiballz._builder import ExtensionManager
from ansible.errors import AnsibleError
from ansible.executor.interpreter_discovery import InterpreterDiscoveryRequiredError
from ansible.executor.module_common import _BuiltModule, _get_shebang
from ansible.module_utils.common.json import Direction, get_module_encoder
from ansible.module_utils.common.text.converters import to_text
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from taskflow_controller.runs.warm.server import modules, temporary
from taskflow_controller.runs.warm.server.modules import PROFILE, AnotherPythonError, Call, Module

# Python and the loader of shared libraries read these when a process starts.
_START_UP_VARIABLES = ("PYTHON", "LD_")
_FREQUENT = ("command", "copy", "file", "ping", "setup", "slurp", "stat")
_CORE_UTILS = Path(ansible.module_utils.__file__).parent
_CORE = _CORE_UTILS.parent


_EXECUTE_MODULE = inspect.signature(ActionBase._execute_module)


class _Payload(bytes):
    """Stands for a packed module between the methods of ActionBase."""

    call: Call


def install(paths: Iterable[str]) -> None:
    """Wrap the methods for the whole process, and load modules in advance.

    Args:
        paths: the modules to load, besides the most frequent ones.
    """
    modules.notice_respawn()
    frequent = (f"{_CORE}/modules/{name}.py" for name in _FREQUENT)
    for path in {*paths, *frequent}:
        if module := modules.load(path, Path(path).stem):
            modules.preload(module)
    for name, wrapper in (
        ("_execute_module", _execute_module),
        ("_is_pipelining_enabled", _is_pipelining_enabled),
        ("_configure_module", _configure_module),
        ("_low_level_execute_command", _low_level_execute_command),
        ("_make_tmp_path", temporary.make),
        ("_remove_tmp_path", temporary.remove),
        ("_remote_chmod", temporary.change_mode),
    ):
        original = getattr(ActionBase, name)
        setattr(ActionBase, name, _wrapped(original, wrapper))


def _wrapped(original: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapper(self, original, *args, **kwargs)

    return method


def _execute_module(
    self: Any, original: Any, module_name: Any = None, module_args: Any = None, *args: Any, **kwargs: Any
) -> Any:
    given = _EXECUTE_MODULE.bind_partial(self, module_name, module_args, *args, **kwargs).arguments
    task_vars, wrap_async = given.get("task_vars") or {}, bool(given.get("wrap_async"))
    self._taskflow_module = _module_for(self, module_name or self._task.action, task_vars, wrap_async)
    try:
        return original(self, module_name, module_args, *args, **kwargs)
    except AnotherPythonError:
        self._taskflow_module = None
        return original(self, module_name, module_args, *args, **kwargs)
    finally:
        self._taskflow_module = None


def _is_pipelining_enabled(self: Any, original: Any, *args: Any, **kwargs: Any) -> Any:
    # As with pipelining, no file is copied and no temporary directory is made.
    return True if _chosen(self) else original(self, *args, **kwargs)


def _configure_module(self: Any, original: Any, module_name: Any, module_args: Any, task_vars: Any) -> Any:
    module = _chosen(self)
    environment: dict[str, Any] = {}
    if module:
        self._compute_environment_string(environment)
    if module is None or any(name.startswith(_START_UP_VARIABLES) for name in environment):
        self._taskflow_module = None
        return original(self, module_name, module_args, task_vars)
    encoder = get_module_encoder(PROFILE, Direction.CONTROLLER_TO_MODULE)
    try:
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": module_args}, cls=encoder).encode()
    except TypeError as exc:
        raise AnsibleError(f"Failed to serialize arguments for the {module_name!r} module.") from exc
    payload = _Payload(b"#")
    payload.call = Call(
        module,
        arguments,
        {str(name): str(value) for name, value in environment.items()},
        self._loader.get_basedir(),
        tuple(_utils_folders(self)),
    )
    built = _BuiltModule(
        b_module_data=payload, module_style="new", shebang=f"#!{sys.executable}", serialization_profile=PROFILE
    )
    return built, module.path


def _low_level_execute_command(
    self: Any, original: Any, cmd: Any, sudoable: Any = True, in_data: Any = None, **rest: Any
) -> Any:
    if not isinstance(in_data, _Payload):
        return original(self, cmd, sudoable=sudoable, in_data=in_data, **rest)
    Display().vvv(f"RUN {in_data.call.module.path} in process", host=self._play_context.remote_addr)
    ended = modules.execute(in_data.call)
    if ended is None:
        raise AnotherPythonError
    code, *texts = ended
    stdout, stderr = (to_text(text, errors="surrogate_then_replace") for text in texts)
    return {
        "rc": code,
        "stdout": stdout,
        "stdout_lines": stdout.splitlines(),
        "stderr": stderr,
        "stderr_lines": stderr.splitlines(),
    }


def _chosen(action: Any) -> Module | None:
    module: Module | None = getattr(action, "_taskflow_module", None)
    return module


def _module_for(action: Any, name: str, task_vars: Mapping[str, Any], wrap_async: bool) -> Module | None:
    """Return the module to run in process, or None if Ansible must run it itself."""
    connection, task = action._connection, action._task
    if not temporary.is_ansibles(connection, "connection", "local") or connection.become:
        return None
    if wrap_async or task.async_val:
        return None
    short_name = name.rpartition(".")[2]
    if _debugging(task_vars) or _overrides_core(action):
        return None
    found = action._shared_loader_obj.module_loader.find_plugin_with_context(name, "", collection_list=task.collections)
    if not found.resolved or not found.plugin_resolved_path:
        return None
    module = modules.load(found.plugin_resolved_path, short_name)
    return module if module and _is_ours(action, module, task_vars) else None


def _debugging(task_vars: Mapping[str, Any]) -> bool:
    """Return whether a setting keeps or changes how modules are packed."""
    config = constants.config
    return bool(
        constants.DEFAULT_KEEP_REMOTE_FILES
        or config.get_config_value("_MODULE_METADATA")
        or config.get_config_value("PYTHON_MODULE_RLIMIT_NOFILE", variables=task_vars)
        or ExtensionManager.create(task_vars=task_vars).extension_names
    )


def _is_ours(action: Any, module: Module, task_vars: Mapping[str, Any]) -> bool:
    """Return whether Ansible would run the module with the interpreter that this process runs in."""
    if module.interpreter_arguments:
        return False
    if delegate := action._task.delegate_to:
        task_vars = (task_vars.get("ansible_delegated_vars") or {}).get(delegate, task_vars)
    try:
        _shebang, interpreter = _get_shebang(
            module.interpreter or "/usr/bin/python",
            task_vars,
            action._templar,
            remote_is_local=bool(getattr(action._connection, "_remote_is_local", False)),
        )
    except InterpreterDiscoveryRequiredError:
        return False
    return _same_python(str(interpreter), sys.executable)


@functools.cache
def _same_python(one: str, other: str) -> bool:
    """Return whether both are the same program of the same virtual environment."""
    return os.path.dirname(one) == os.path.dirname(other) and os.path.realpath(one) == os.path.realpath(other)


def _utils_folders(action: Any) -> list[str]:
    loader = action._shared_loader_obj.module_utils_loader
    return [path for path in loader._get_paths(subdirs=False) if os.path.isdir(path) and Path(path) != _CORE_UTILS]


def _overrides_core(action: Any) -> bool:
    """Return whether the project has a part of module_utils with the same name as one of Ansible's own."""
    for folder in _utils_folders(action):
        for entry in os.scandir(folder):
            name = entry.name.removesuffix(".py")
            if name not in ("__init__", "__pycache__") and _is_core(name):
                return True
    return False


@functools.cache
def _is_core(name: str) -> bool:
    return (_CORE_UTILS / name).is_dir() or (_CORE_UTILS / f"{name}.py").is_file()
