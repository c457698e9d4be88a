"""The extra vars of a run. They follow the Operator SDK, so that its playbooks run unchanged."""

import re
from collections.abc import Mapping
from typing import Any

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import Object, namespace_and_name

_UNSAFE = "__ansible_unsafe"
_MARKS = {_UNSAFE, "__ansible_vault"}  # Ansible's JSON reader takes a mapping with one of these for something else
_OWN_TO_ANSIBLE = "ansible_"
_LETTER_DIGITS_PAIR = re.compile(r"([a-zA-Z])([0-9]+)([a-zA-Z][0-9]+)")
_ACRONYMS = ("HTTP", "URL", "IP")


def extra_vars(watch: Watch, obj: Object, *, finalizing: bool = False) -> dict[str, Any]:
    """Return the extra vars of a run for one resource.

    Later ones win: the keys of spec (in snake case unless the watch says no), ``ansible_operator_meta``,
    ``_<group>_<kind>`` (the object), ``_<group>_<kind>_spec`` (its spec), the watch's ``vars``, the finalizer's.
    The first four come from anyone who may write the resource. With ``mark_unsafe`` they are as ``marked`` returns
    them, and a spec can't set Ansible's own variables, such as the interpreter.

    Args:
        watch: the resource's watch.
        obj: the resource.
        finalizing: whether it is the finalizer's run.
    """
    spec = obj.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    namespace, name = namespace_and_name(obj)
    object_name = re.sub(r"[.-]", "_", f"_{watch.gvk.group}_{watch.gvk.kind.lower()}")
    variables = snake_case_keys(spec) if watch.snake_case_parameters else dict(spec)
    if watch.mark_unsafe:
        variables = {key: value for key, value in variables.items() if not key.startswith(_OWN_TO_ANSIBLE)}
    variables["ansible_operator_meta"] = {"name": name, "namespace": namespace}
    variables[object_name] = obj
    variables[f"{object_name}_spec"] = spec
    if watch.mark_unsafe:
        variables = marked(variables)
    finalizer_vars = watch.finalizer.vars if finalizing and watch.finalizer else {}
    return {**variables, **watch.vars, **finalizer_vars}


def marked(value: Any) -> Any:
    """Return a value with every string in it, at any depth, marked as one that Ansible must not template.

    A key that Ansible would take for a mark is left out. With it, Ansible would read the whole file differently and
    ignore all marks.
    """
    if isinstance(value, str):
        return {_UNSAFE: value}
    if isinstance(value, Mapping):
        return {key: marked(item) for key, item in value.items() if key not in _MARKS}
    if isinstance(value, list):
        return [marked(item) for item in value]
    return value


def snake_case_keys(value: Any) -> Any:
    """Return a value with all keys of all mappings in it, at any depth, in snake case."""
    if isinstance(value, Mapping):
        return {snake_case(key): snake_case_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [snake_case_keys(item) for item in value]
    return value


def snake_case(key: str) -> str:
    """Convert a key to snake case as the Operator SDK does, including its oddities.

    ``HTTP``, ``URL`` and ``IP`` (and their plurals) count as words; a key that begins with a capital gets a
    leading underscore, unless one of those three comes first.
    """
    key = _LETTER_DIGITS_PAIR.sub(r"\1 \2 \3", key).strip(" ")
    if not key:
        return key
    begins_with_capital = _is_upper(key[0])
    if key.upper() != key:
        for acronym in _ACRONYMS:
            key = _set_apart(key, acronym)
    words = _words(key)
    prefix = "_" if begins_with_capital and words[0].upper() not in _ACRONYMS else ""
    return prefix + "_".join(words).lower()


def _set_apart(key: str, acronym: str) -> str:
    """Put underscores around the first ``acronym`` in ``key``. A plural s becomes part of it."""
    before, found, after = key.partition(acronym)
    if not found:
        return key
    if after.startswith("s"):
        found, after = found + "S", after[1:]
    lead = "_" if before or not after else ""
    trail = "_" if after else ""
    return f"{before}{lead}{found}{trail}{after}"


def _words(key: str) -> list[str]:
    """Split a key at spaces, dashes, underscores and changes of case. A sequence of capitals is one word."""
    words, word = [], ""
    for char, following in zip(key, [*key[1:], ""], strict=True):
        if char in " _-":
            words.append(word)
            word = ""
        elif word and _is_upper(char) and _is_lower(following):
            words.append(word)
            word = char
        elif word and _is_lower(char) and _is_upper(following):
            words.append(word + char)
            word = ""
        else:
            word += char
    return [*words, word]


def _is_upper(char: str) -> bool:
    return "A" <= char <= "Z"


def _is_lower(char: str) -> bool:
    return "a" <= char <= "z"
