"""Resets the state that Ansible keeps in modules and classes, so that a run begins as in a new process."""

import os
import secrets
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible import context
from ansible.parsing.vault import VaultSecretsContext
from ansible.utils import vars as ansible_vars
from ansible.utils.context_objects import CLIArgs, GlobalCLIArgs
from ansible.utils.display import Display


def reset() -> None:
    """Forget the command line, its variables, the vault's secrets, and which warnings were shown."""
    GlobalCLIArgs._Singleton__instance = None
    context.CLIARGS = CLIArgs({})
    for function, name in (
        (ansible_vars.load_extra_vars, "extra_vars"),
        (ansible_vars.load_options_vars, "options_vars"),
    ):
        if hasattr(function, name):
            delattr(function, name)
    VaultSecretsContext._current = None
    ansible_vars.random_int = f"{secrets.randbelow(2**32):08x}"  # part of the uuids of plays and tasks
    ansible_vars.cur_id = 0
    display = Display()
    for shown in (display._warns, display._deprecations, display._errors):
        shown.clear()
    display.verbosity = 0


def reread_kubeconfig() -> None:
    """Make the Kubernetes client use the current KUBECONFIG, which it reads only once, when it is imported."""
    path = os.environ.get("KUBECONFIG", "~/.kube/config")
    for name in ("kubernetes.config", "kubernetes.config.kube_config"):
        module: Any = sys.modules.get(name)
        if module:
            module.KUBE_CONFIG_DEFAULT_LOCATION = path


@contextmanager
def class_unchanged(cls: type) -> Iterator[None]:
    """Undo what the block does to a class. (Each load of ansible-runner's callback wraps Display's methods.)"""
    before = dict(vars(cls))
    try:
        yield
    finally:
        for name in set(vars(cls)) - set(before):
            delattr(cls, name)
        for name, value in before.items():
            if vars(cls).get(name) is not value:
                setattr(cls, name, value)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of a module or class during the block.

    Args:
        owner: the module or class.
        name: the attribute's name.
        value: its value during the block.
    """
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def forget_module(module: types.ModuleType) -> None:
    """Make Python execute a module again at its next import."""
    for name in [name for name, loaded in sys.modules.items() if loaded is module]:
        del sys.modules[name]
