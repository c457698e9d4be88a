"""Prepares a fork server's process, so that a run can begin at once."""

import contextlib
import functools
import importlib
import io
import os
import re
import shutil
import signal
import ssl
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ansible.cli as ansible_cli
from ansible import constants
from ansible.cli.playbook import PlaybookCLI
from ansible.executor.task_queue_manager import TaskQueueManager
from ansible.plugins import loader as plugin_loader
from ansible.plugins import strategy
from ansible.utils import display as ansible_display
from ansible.utils.collection_loader import AnsibleCollectionConfig

from taskflow_controller.runs.warm.server import child, in_process, inline, singletons
from taskflow_controller.runs.warm.server.files import FileCache, code_files, plugin_folders
from taskflow_controller.runs.warm.server.stamps import Stamps
from taskflow_controller.runs.warm.spec import Spec

_EVENT_DATA = re.compile(r"\x1b\[K.*?\x1b\[K")  # what ansible-runner's callback adds to the output
_CALLBACK = "awx_display"  # ansible-runner's

# The packages that modules for Kubernetes need, and that take longest to import.
_PRELOADED = ("kubernetes.client", "kubernetes.config", "kubernetes.dynamic", "kubernetes.watch", "yaml", "requests")


class Warm:
    """A process that has warmed up.

    Args:
        cli: Ansible's command line.
        known: the parsed files.
        code: the files that a child can't read again.
        warnings: those from the warm-up.
    """

    def __init__(self, cli: type[PlaybookCLI], known: FileCache, code: Stamps, warnings: list[str]) -> None:
        self._cli, self._known, self._code, self.warnings = cli, known, code, warnings

    def stale(self) -> bool:
        """Return whether a file has changed that only a new server can load."""
        return bool(self._code.changed())

    def run(self, request: dict[str, Any], output: int) -> int:
        """Perform a run in this process, a forked child, and return its exit code.

        Args:
            request: ``argv``, ``cwd`` and ``env`` of the run.
            output: the descriptor for stdout and stderr.
        """
        self._known.use()
        return child.run(self._cli, request, output)


def warm_up(spec: Spec, directory: Path) -> Warm:
    """Load, rehearse and read what runs will need.

    Args:
        spec: which runs.
        directory: a folder for temporary files.

    Raises:
        Exception: any error; the server must not serve after it.
    """
    os.chdir(spec.cwd)
    plugin_loader.init_plugin_loader()
    ansible_cli.init_plugin_loader = lambda *_: None  # it is done; a second call would add a second finder
    _parse_documentation_once()
    _register_plugins(spec.folder)
    code = Stamps()
    code.note(filter(None, [constants.CONFIG_FILE]))
    cli = _cli_with(_parser())
    with singletons.replaced(ansible_display, "logger", None):  # write nothing to the user's log file
        for name in _PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        _begin_handshake()
        known = FileCache()
        cli(["ansible-playbook", "none"]).parse()
        with contextlib.redirect_stderr(io.StringIO()), _plugin_folders_unchanged():
            warnings = known.read(spec.playbooks, spec.roles)
            in_process.install(known.modules())
        singletons.reset()
        _rehearse(cli, directory / "rehearsal")
    _let_plugins_be_overridden()
    code.note(code_files())
    code.note(plugin_folders(spec.folder))
    singletons.reset()
    return Warm(cli, known, code, warnings)


def _begin_handshake() -> None:
    """Begin a TLS handshake with nobody, so that OpenSSL looks up its algorithms, which it does once per process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="nobody").do_handshake()


def _register_plugins(folder: str) -> None:
    """Register a playbook folder's own plugins first, because a plugin that is already loaded can't be overridden."""
    if folder:
        plugin_loader.add_all_plugin_dirs(folder)
        AnsibleCollectionConfig.playbook_paths = [folder]


@contextlib.contextmanager
def _plugin_folders_unchanged() -> Iterator[None]:
    """Forget the plugin folders of the roles that the block reads: they count only in runs that use the role."""
    loaders = [loader for _name, loader in plugin_loader.get_all_plugin_loaders()]
    before = [list(loader._extra_dirs) for loader in loaders]
    try:
        yield
    finally:
        for loader, folders in zip(loaders, before, strict=True):
            if loader._extra_dirs != folders:
                loader._extra_dirs[:] = folders
                loader._clear_caches()


def _parse_documentation_once() -> None:
    """Make the loader remember plugins without options, too, because it parses their documentation at each use."""
    parsed: set[tuple[str, str, str]] = set()
    original = plugin_loader.PluginLoader._load_config_defs

    def load(self: Any, name: str, module: Any, path: str) -> None:
        if (self.class_name, name, path) not in parsed:
            original(self, name, module, path)
            parsed.add((self.class_name, name, path))

    plugin_loader.PluginLoader._load_config_defs = load


def _let_plugins_be_overridden() -> None:
    """Let a role's own plugin replace one that is loaded now.

    By itself the loader takes the module with the plugin's name from ``sys.modules``, whatever file it is from.
    """
    loaded = set(sys.modules)
    original = plugin_loader.PluginLoader._load_module_source

    def load(self: Any, *, python_module_name: str, path: str) -> Any:
        module = sys.modules.get(python_module_name)
        if module and python_module_name in loaded and getattr(module, "__file__", path) != path:
            loaded.discard(python_module_name)
            del sys.modules[python_module_name]
        return original(self, python_module_name=python_module_name, path=path)

    plugin_loader.PluginLoader._load_module_source = load


def _parser() -> Any:
    cli = PlaybookCLI(["ansible-playbook"])
    cli.init_parser()
    return cli.parser


def _cli_with(parser: Any) -> type[PlaybookCLI]:
    class WarmPlaybookCLI(PlaybookCLI):  # type: ignore[misc]
        def init_parser(self) -> None:
            self.parser = parser

    return WarmPlaybookCLI


def _rehearse(cli: type[PlaybookCLI], directory: Path) -> None:
    """Run a throwaway play in this very process. Raises RuntimeError, with the play's output, if it fails."""
    shutil.copytree(Path(__file__).parent / "rehearsal", directory)
    (directory / "job_events").mkdir()
    interpreter = f"ansible_python_interpreter={sys.executable}"
    (directory / "inventory").mkdir()
    (directory / "inventory" / "hosts").write_text(
        f"localhost ansible_connection=local {interpreter}\n", encoding="utf-8"
    )
    (directory / "vars.json").write_text('{"given": {"list": [1]}}', encoding="utf-8")
    arguments = ["-i", f"{directory}/inventory", "-e", f"@{directory}/vars.json", str(directory / "play.yml")]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), _rehearsing():
        code = cli(["ansible-playbook", *arguments]).run()
    if code:
        text = _EVENT_DATA.sub("", output.getvalue())
        raise RuntimeError(f"the rehearsal failed with exit code {code}:\n{text}")


@contextlib.contextmanager
def _rehearsing() -> Iterator[None]:
    """Undo everything that a rehearsal does except loading, and hide it from callbacks."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    queue_manager = functools.partialmethod(TaskQueueManager.__init__, run_additional_callbacks=False)
    try:
        with (
            singletons.class_unchanged(ansible_display.Display),
            singletons.replaced(strategy, "WorkerProcess", inline.InlineWorker),
            singletons.replaced(TaskQueueManager, "__init__", queue_manager),
            singletons.replaced(constants, "DEFAULT_VAULT_PASSWORD_FILE", None),
            singletons.replaced(constants, "DEFAULT_VAULT_IDENTITY_LIST", []),
            singletons.replaced(ansible_cli._agent_launch, "launch_ssh_agent", lambda: None),
        ):
            yield
    finally:
        for number, handler in signals.items():
            signal.signal(number, handler)
        for module in _loaded_callback():
            singletons.forget_module(module)


def _loaded_callback() -> Sequence[Any]:
    """Remove ansible-runner's callback from the loader, because it keeps its run's artifact directory."""
    cache = plugin_loader.callback_loader._module_cache
    paths = [path for path in cache if Path(path).stem == _CALLBACK]
    return [cache.pop(path) for path in paths]
