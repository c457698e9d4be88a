"""The parts of a project that are read or loaded before the runs: the parsed YAML, and the files with code."""

import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.playbook import Playbook
from ansible.playbook.block import Block
from ansible.playbook.play import Play
from ansible.plugins import loader as plugin_loader
from ansible.utils.collection_loader import AnsibleCollectionConfig
from ansible.utils.collection_loader._collection_finder import (
    _get_collection_name_from_path,
    _get_collection_playbook_path,
)
from ansible.vars.manager import VariableManager

from taskflow_controller.runs.warm.server.stamps import Stamps

# The folders of installed packages, which do not change while a controller runs.
_INSTALLED = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_OWN = str(Path(__file__).parents[3]) + os.sep


class FileCache:
    """The parsed files of playbooks and roles, as Ansible's DataLoader keeps them.

    It keeps only the parsed text. Each run makes its own plays and tasks from it, because they may depend on the run's
    variables.
    """

    def __init__(self) -> None:
        self._parsed: dict[str, Any] = {}
        self._stamps = Stamps()
        self._actions: set[tuple[str, tuple[str, ...]]] = set()

    def read(self, playbooks: Sequence[str], roles: Sequence[str]) -> list[str]:
        """Read playbooks and roles with all that they import.

        Args:
            playbooks: paths, or names in collections.
            roles: the same.

        Returns:
            A text for each that could not be read. The run will report the error.
        """
        problems = []
        for name, load in (*((name, _load_playbook) for name in playbooks), *((name, _load_role) for name in roles)):
            loader = DataLoader()
            inventory = InventoryManager(loader=loader, sources=["localhost,"])
            variables = VariableManager(loader=loader, inventory=inventory)
            try:
                for play in load(name, variables, loader):
                    self._note_actions(play.compile())
            except Exception as exc:
                problems.append(f"{name}: {exc}")
            self._parsed.update(loader._FILE_CACHE)
        self._stamps.note(self._parsed)
        AnsibleCollectionConfig.default_collection = None
        return problems

    def modules(self) -> set[str]:
        """Return the paths of the modules that the tasks use."""
        found = set()
        for action, collections in self._actions:
            for name in (action, f"ansible.legacy.{action.rpartition('.')[2]}"):
                context = plugin_loader.module_loader.find_plugin_with_context(name, collection_list=list(collections))
                if context.resolved and context.plugin_resolved_path:
                    found.add(context.plugin_resolved_path)
                    break
        return found

    def use(self) -> None:
        """Make every DataLoader of this process begin with the parsed files that have not changed since."""
        changed = self._stamps.changed()
        fresh = {path: parsed for path, parsed in self._parsed.items() if path not in changed}
        original = DataLoader.__init__

        def prefilled(loader: Any) -> None:
            original(loader)
            loader._FILE_CACHE.update(fresh)

        DataLoader.__init__ = prefilled

    def _note_actions(self, blocks: Sequence[Any]) -> None:
        for block in blocks:
            for task in (*block.block, *block.rescue, *block.always):
                if isinstance(task, Block):
                    self._note_actions([task])
                else:
                    self._actions.add((task.action, tuple(task.collections or ())))


def _load_playbook(name: str, variables: Any, loader: Any) -> Sequence[Any]:
    resource = _get_collection_playbook_path(name)
    path = resource[1] if resource else name
    AnsibleCollectionConfig.default_collection = resource[2] if resource else _get_collection_name_from_path(name)
    plays: Sequence[Any] = Playbook.load(path, variable_manager=variables, loader=loader).get_plays()
    return plays


def _load_role(name: str, variables: Any, loader: Any) -> Sequence[Any]:
    play = {"hosts": "localhost", "roles": [name]}
    return [Play.load(play, variable_manager=variables, loader=loader)]


def code_files() -> Iterator[str]:
    """Return the project's Python files that this process has loaded, and the metadata files of its collections."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and not path.startswith((*_INSTALLED, _OWN)):
            yield path
        if name.count(".") == 2 and name.startswith("ansible_collections."):
            for folder in getattr(module, "__path__", ()):
                if not folder.startswith(_INSTALLED):
                    yield os.path.join(folder, "meta", "runtime.yml")


def plugin_folders(folder: str) -> Iterator[str]:
    """Return the folders whose content the plugin loaders remember.

    Args:
        folder: the folder of the playbooks, "" for none.
    """
    for _name, loader in plugin_loader.get_all_plugin_loaders():
        if folder and loader.subdir:
            yield os.path.join(folder, loader.subdir)
        for path in loader._get_paths(subdirs=False):
            if not path.startswith(_INSTALLED):
                yield path
