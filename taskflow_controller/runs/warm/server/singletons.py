"""Ansible keeps much of a run's state in modules and classes: reset it, as in a process of its own."""

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
    """Forget the command line, the variables from it, the vault's secrets, and which warnings were shown."""
    GlobalCLIArgs._Singleton__instance = None
    context.CLIARGS = CLIArgs({})
    for function, name in (
        (ansible_vars.load_extra_vars, "extra_vars"),
        (ansible_vars.load_options_vars, "options_vars"),
    ):
        if hasattr(function, name):
            delattr(function, name)
    VaultSecretsContext._current = None
    ansible_vars.random_int = f"{secrets.randbelow(2**32):08x}"  # uuids of plays and tasks are made of both
    ansible_vars.cur_id = 0
    display = Display()
    for shown in (display._warns, display._deprecations, display._errors):
        shown.clear()
    display.verbosity = 0


def reread_kubeconfig() -> None:
    """Let the Kubernetes client know KUBECONFIG as it is now; it looks once, when it is imported."""
    path = os.environ.get("KUBECONFIG", "~/.kube/config")
    for name in ("kubernetes.config", "kubernetes.config.kube_config"):
        module: Any = sys.modules.get(name)
        if module:
            module.KUBE_CONFIG_DEFAULT_LOCATION = path


@contextmanager
def class_unchanged(cls: type) -> Iterator[None]:
    """Undo what is done to a class meanwhile (ansible-runner's callback wraps Display's methods, once per load)."""
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
    """Have an attribute of a module or class be ``value`` meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def forget_module(module: types.ModuleType) -> None:
    """Have a module executed anew when it is imported next."""
    for name in [name for name, loaded in sys.modules.items() if loaded is module]:
        del sys.modules[name]
