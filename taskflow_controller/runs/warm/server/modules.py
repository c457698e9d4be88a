"""Runs a module in a fork of the process, instead of a new Python that unpacks and imports everything first.

Everything that the module does to its process (directory, environment, signals, exit) ends with the fork.
"""

import ast
import atexit
import contextlib
import importlib
import io
import multiprocessing.process
import os
import select
import signal
import sys
import threading
import traceback
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import ansible.module_utils
from ansible.executor.module_common import (
    NEW_STYLE_PYTHON_MODULE_RE,
    REPLACER,
    _extract_interpreter,
    _get_ansible_module_fqn,
    _is_binary,
)
from ansible.module_utils import _internal, basic
from ansible.module_utils._internal import _traceback
from ansible.module_utils._internal._ansiballz import _loader
from ansible.module_utils.common import respawn
from ansible.utils.display import Display

from taskflow_controller.runs.warm.server import singletons

PROFILE = "legacy"  # how arguments and results are serialised, except for experimental modules

_READ = 65536
_MAIN_PROCESS = multiprocessing.process.current_process()  # that of the fork server, which imports this
_NOTHING_TO_AUGMENT: dict[type, object] = {}


class AnotherPythonError(BaseException):
    """A module wants to run in another Python. It is not an Exception, because modules may catch those."""


@dataclass(frozen=True)
class Module:
    """A module's compiled code.

    Attributes:
        path: the module's file.
        name: its full name in Python.
        code: its compiled code.
        interpreter: that in the ``#!`` line, None if there is no such line.
        interpreter_arguments: those in the ``#!`` line.
        source: the content of the file.
    """

    path: str
    name: str
    code: types.CodeType
    interpreter: str | None
    interpreter_arguments: tuple[str, ...]
    source: bytes


@dataclass(frozen=True)
class Call:
    """A module with everything that one run of it needs.

    Attributes:
        module: the module.
        arguments: the JSON that AnsiballZ would pass to it.
        environment: variables that win over those of the process.
        folder: the working directory.
        utils: the project's own ``module_utils`` folders.
    """

    module: Module
    arguments: bytes
    environment: Mapping[str, str]
    folder: str
    utils: tuple[str, ...]


_cache: dict[str, tuple[tuple[int, int, int], Module | None]] = {}


def load(path: str, short_name: str) -> Module | None:
    """Return the module in a file as it is now, or None if Ansible must run it in a new process.

    That is a module that is not written in Python, is old-style, or looks for another Python itself (``respawn``).

    Args:
        path: the file.
        short_name: the module's name without its collection.

    Raises:
        OSError: the file can't be read.
    """
    status = os.stat(path)
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    cached = _cache.get(path)
    if cached is None or cached[0] != stamp:
        cached = _cache[path] = (stamp, _compile(path, short_name))
    return cached[1]


def _compile(path: str, short_name: str) -> Module | None:
    with open(path, "rb") as file:
        source = file.read()
    if _is_binary(source) or REPLACER in source or b"respawn" in source:
        return None
    if not NEW_STYLE_PYTHON_MODULE_RE.search(source):
        return None
    try:
        name = _get_ansible_module_fqn(path)
    except ValueError:
        name = f"ansible.legacy.{short_name}"
    try:
        code = compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None  # Ansible will report the error
    interpreter, arguments = _extract_interpreter(source)
    return Module(path, name, code, interpreter, tuple(arguments), source)


def notice_respawn() -> None:
    """Let ``execute`` notice that a module wants another Python. Call it before importing code that may ask for one."""
    respawn.respawn_module = _want_another_python


def _want_another_python(interpreter_path: str) -> NoReturn:
    raise AnotherPythonError(interpreter_path)


def preload(module: Module) -> None:
    """Import what a module will import, as far as possible."""
    package = module.name.rpartition(".")[0]
    for name in _imported(ast.parse(module.source), package):
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # of these, the modules


def execute(call: Call) -> tuple[int, bytes, bytes] | None:
    """Run a module, and return its exit code, stdout and stderr as a shell would see them.

    Return None if it wants to run in another Python, and so must be packed. An exception here, such as a task's
    timeout, kills the module.
    """
    output, error, notice = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(call, output[1], error[1], notice[1])
    for pipe in (output, error, notice):
        os.close(pipe[1])
    try:
        texts = _read_all((output[0], error[0]))
        status = os.waitpid(pid, 0)[1]
        os.set_blocking(notice[0], False)
        with contextlib.suppress(BlockingIOError):  # a daemon that the module has started holds it open
            if os.read(notice[0], 1):
                return None
    except BaseException:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        raise
    finally:
        for pipe in (output, error, notice):
            os.close(pipe[0])
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return 128 - code, texts[0], texts[1] + f"{signal.strsignal(-code)}\n".encode()
    return code, texts[0], texts[1]


def _read_all(descriptors: tuple[int, int]) -> tuple[bytes, bytes]:
    """Read both to their ends, including output of processes that the module has started, as Ansible does."""
    texts: dict[int, list[bytes]] = {descriptor: [] for descriptor in descriptors}
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    left = len(descriptors)
    while left:
        for descriptor, _event in poll.poll():
            if data := os.read(descriptor, _READ):
                texts[descriptor].append(data)
            else:
                poll.unregister(descriptor)
                left -= 1
    first, second = (b"".join(texts[descriptor]) for descriptor in descriptors)
    return first, second


def _become(call: Call, output: int, error: int, notice: int) -> NoReturn:
    """Turn this process into the module's, until it ends."""
    code = 1
    try:
        _open_streams(output, error)
        _forget_the_controller()
        os.environ.update(call.environment)
        singletons.reread_kubeconfig()
        os.chdir(call.folder)
        ansible.module_utils.__path__.extend(call.utils)
        basic._ANSIBLE_ARGS, basic._ANSIBLE_PROFILE = call.arguments, PROFILE
        code = _exit_code(call.module)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except AnotherPythonError:
        os.write(notice, b"!")
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _open_streams(output: int, error: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((null, 0), (output, 1), (error, 2)):
        os.dup2(descriptor, number)
        if descriptor > 2:
            os.close(descriptor)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")  # type: ignore[misc]
    for name, number in (("stdout", 1), ("stderr", 2)):
        buffer = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        stream = io.TextIOWrapper(buffer, "utf-8", line_buffering=number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _forget_the_controller() -> None:
    """Undo what makes this process an Ansible process, so that the module finds it like a new Python."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0)
    atexit._clear()
    processes: Any = multiprocessing.process
    processes._parent_process, processes._current_process = None, _MAIN_PROCESS
    Display()._final_q = None
    _internal.is_controller = False
    _internal.import_controller_module = lambda _name, /: None
    _internal.get_controller_serialize_map = lambda: _NOTHING_TO_AUGMENT
    _traceback._is_traceback_enabled = _traceback._is_module_traceback_enabled


def _exit_code(module: Module) -> int:
    """Execute the module's code as the main program, and return the exit code."""
    main = types.ModuleType("__main__")
    main.__dict__.update(
        __file__=module.path,
        __package__=module.name.rpartition(".")[0],
        _module_fqn=module.name,
        _modlib_path=module.path,
    )
    sys.modules["__main__"] = main
    sys.argv = [module.path]
    try:
        try:
            exec(module.code, main.__dict__)
            raise RuntimeError("New-style module did not handle its own exit.")
        except Exception as exc:
            _loader._handle_exception(exc, PROFILE)  # exits
    except SystemExit as exc:
        if exc.code is None or isinstance(exc.code, int):
            return (exc.code or 0) & 0xFF
        print(exc.code, file=sys.stderr)
    return 1
