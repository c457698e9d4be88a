# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Private to the collection: its interface may change without notice.
"""Fill in $(params.x), $(results.x.path) and $(steps.a.results.x). Pure.

A value never becomes part of a program: it is an argument, an environment variable or a plain field. A script, or the
text of a ``sh -c``, may hold the path of a result, which is ours, but no value.
"""

from __future__ import annotations

import json
import re
import typing as t

from .._contract import Object
from .._errors import InvalidSpec
from .._kube.shapes import TaskSpec

Words = t.Sequence[t.Any]

# $$ comes first: it escapes what follows, as in the kubelet's own expansion of $(NAME).
_REFERENCE = re.compile(r"\$\$|\$\((?P<root>params|results|steps)\.(?P<rest>[^()\s]*)\)")
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_-]*"
_RESULT_PATH = re.compile(rf"({_NAME})\.path")
_STEP_RESULT = re.compile(rf"([a-z0-9][a-z0-9-]*)\.results\.({_NAME})")
_ESCAPABLE = re.compile(r"\((?:params|results|steps)\.")


class _Interpreter(t.NamedTuple):
    """A program that runs the text after an option.

    Attributes:
        names: a pattern for the end of its path.
        text: a pattern for that option.
        with_value: a pattern for options that take the next word.
    """

    names: str
    text: str
    with_value: str


_INTERPRETERS = (
    _Interpreter(
        r"(?:a|ba|da|fi|k|mk|z)?sh|su|pwsh",
        r"-[A-Za-z]*c[A-Za-z]*|--command",
        r"[-+][A-Za-z]*[oO][A-Za-z]*|--(?:rcfile|init-file)",
    ),
    _Interpreter(r"python[0-9.]*", r"-[A-Za-z]*c", r"-[A-Za-z]*[WX]"),
    _Interpreter(r"perl|ruby|node|nodejs", r"-[A-Za-z]*[eEp]|--eval|--print", r"-[Ir]|--require"),
    _Interpreter(r"php", r"-r|--run", r"-[cd]"),
)
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
# $(NAME), which the kubelet replaces by the variable's value.
_VARIABLE = re.compile(r"\$\$|\$\(([^()\s]+)\)")


class Step(t.NamedTuple):
    """What a step's references may lead to.

    Attributes:
        name: the step's name.
        results_dir: where it writes its results.
        results: the results that it writes, by name.
    """

    name: str
    results_dir: str
    results: frozenset[str]


class Scope(t.NamedTuple):
    """What the references of one step (or of none) lead to.

    Attributes:
        params: the values of the parameters.
        own: the step itself; None outside of a step.
        earlier: the steps before it, by name.
        mark: what marks a result in an argument, for the agent to fill in: {MARK:STEP/NAME}.
        tainted: the variables of the container that hold values of parameters or results.
    """

    params: t.Mapping[str, str]
    own: Step | None = None
    earlier: t.Mapping[str, Step] = {}
    mark: str = ""
    tainted: frozenset[str] = frozenset()


def param_values(spec: TaskSpec) -> dict[str, str]:
    """Return the value of each parameter.

    Raises:
        InvalidSpec: one has neither a value nor a default.
    """
    values = {}
    for index, param in enumerate(spec.get("params") or []):
        value = next((param[key] for key in ("value", "default") if param.get(key) is not None), None)
        if value is None:
            raise InvalidSpec(
                f"spec.params[{index}].value", f"is missing, and the parameter {param['name']!r} has no default"
            )
        values[param["name"]] = value
    return values


def written_results(container: t.Any) -> frozenset[str]:
    """Return the names of the results that a step writes: those whose $(results.NAME.path) it has somewhere."""
    if isinstance(container, dict):
        return frozenset[str]().union(*map(written_results, container.values()))
    if isinstance(container, list):
        return frozenset[str]().union(*map(written_results, container))
    names = set()
    for match in _REFERENCE.finditer(container) if isinstance(container, str) else ():
        path = _RESULT_PATH.fullmatch(match["rest"] or "")
        if match["root"] == "results" and path:
            names.add(path[1])
    return frozenset(names)


def read_results(container: t.Any, mark: str) -> frozenset[str]:
    """Return the names of the steps whose results a filled-in container still waits for."""
    if isinstance(container, dict):
        return frozenset[str]().union(*(read_results(value, mark) for value in container.values()))
    if isinstance(container, list):
        return frozenset[str]().union(*(read_results(value, mark) for value in container))
    if not isinstance(container, str):
        return frozenset()
    return frozenset(re.findall(rf"\{{{re.escape(mark)}:([^/}}]*)/[^}}]*\}}", container))


def fill_container(container: t.Mapping[str, t.Any], path: str, scope: Scope) -> Object:
    """Return a step's or sidecar's container with its references filled in.

    In command, args and env a parameter's value is escaped, so that the kubelet, which expands $(NAME) there, hands it
    on byte for byte.

    Raises:
        InvalidSpec: a reference that leads nowhere, or stands where a value would become part of a program.
    """
    filled: Object = {}
    scope = scope._replace(tainted=_tainted_variables(container))
    for key, value in container.items():
        here = f"{path}.{key}"
        if key == "name":
            filled[key] = value
        elif key == "script":
            filled[key] = _fill(value, here, _script_value(scope), unescape=True)
        elif key in ("command", "args"):
            filled[key] = value
        elif key == "env":
            filled[key] = [_fill_variable(item, f"{here}[{i}]", scope) for i, item in enumerate(value)]
        elif key in _PROBES:
            filled[key] = _fill_probe(value, here, scope)
        else:
            filled[key] = fill_plain(value, here, scope)
    filled.update(_fill_words(container, path, scope))
    return filled


def fill_plain(value: t.Any, path: str, scope: Scope) -> t.Any:
    """Return a value with the references in all of its strings filled in as they are.

    Raises:
        InvalidSpec: as in fill_container; also for the result of a step, which is known only in the Pod.
    """
    if isinstance(value, dict):
        if isinstance(value.get("command"), list):
            refuse_inline(value["command"], f"{path}.command", scope.tainted)
        return {key: fill_plain(item, f"{path}.{key}", scope) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_plain(item, f"{path}[{index}]", scope) for index, item in enumerate(value)]
    return _fill(value, path, _plain_value(scope), unescape=True) if isinstance(value, str) else value


def _fill_words(container: t.Mapping[str, t.Any], path: str, scope: Scope) -> Object:
    command, args = container.get("command") or [], container.get("args") or []
    line = [*command, *args] if command else []
    for index in _inline_texts(line):
        where = f"command[{index}]" if index < len(command) else f"args[{index - len(command)}]"
        _refuse_values(line[index], f"{path}.{where}", scope.tainted)
    value_of = _argument_value(scope)
    filled = {}
    for key, words in (("command", container.get("command")), ("args", container.get("args"))):
        if words is not None:
            filled[key] = [
                _fill(word, f"{path}.{key}[{i}]", value_of) if isinstance(word, str) else word
                for i, word in enumerate(words)
            ]
    return filled


def _fill_probe(probe: t.Any, path: str, scope: Scope) -> t.Any:
    """Return a probe filled in; the kubelet expands $(NAME) in its command as in a container's."""
    filled = fill_plain(probe, path, scope)
    command = (probe.get("exec") or {}).get("command") if isinstance(probe, dict) else None
    if isinstance(command, list):
        escaped = scope._replace(params={name: value.replace("$", "$$") for name, value in scope.params.items()})
        value_of = _plain_value(escaped)
        filled["exec"]["command"] = [
            _fill(word, f"{path}.exec.command[{i}]", value_of) if isinstance(word, str) else word
            for i, word in enumerate(command)
        ]
    return filled


def _fill_variable(variable: Object, path: str, scope: Scope) -> Object:
    filled: Object = fill_plain({key: item for key, item in variable.items() if key != "value"}, path, scope)
    value = variable.get("value")
    if value is None:
        return filled
    if not isinstance(value, str):
        raise InvalidSpec(f"{path}.value", f"must be a string, not {json.dumps(value)}: put it in quotes")
    return {**filled, "value": _fill(value, f"{path}.value", _argument_value(scope))}


Values = t.Callable[[str, str, str], str]


def _fill(text: str, path: str, value_of: Values, unescape: bool = False) -> str:
    """Return the text with every reference replaced by what ``value_of`` (path, root, rest) returns for it.

    In command, args and env the kubelet takes a $ off $$(NAME); elsewhere (``unescape``) it is taken off here.
    """

    def replace(match: re.Match[str]) -> str:
        if match["root"] is None:
            return "$" if unescape and _ESCAPABLE.match(text, match.end()) else "$$"
        return value_of(path, match["root"], match["rest"])

    return _REFERENCE.sub(replace, text)


def _argument_value(scope: Scope) -> Values:
    def value(path: str, root: str, rest: str) -> str:
        if root == "params":
            return _param(scope, path, rest).replace("$", "$$")
        if root == "results":
            return _result_path(scope, path, rest)
        return _step_result(scope, path, rest)

    return value


def _script_value(scope: Scope) -> Values:
    def value(path: str, root: str, rest: str) -> str:
        if root == "results":
            return _result_path(scope, path, rest)
        raise _part_of_a_program(path, f"$({root}.{rest})")

    return value


def _plain_value(scope: Scope) -> Values:
    def value(path: str, root: str, rest: str) -> str:
        if root == "params":
            return _param(scope, path, rest)
        if root == "results":
            return _result_path(scope, path, rest)
        raise InvalidSpec(path, f"$(steps.{rest}) is known only in the Pod: use it in command, args or env of a step")

    return value


def _param(scope: Scope, path: str, name: str) -> str:
    if name not in scope.params:
        raise InvalidSpec(path, f"$(params.{name}) leads nowhere: {_known('spec.params has', scope.params)}")
    return scope.params[name]


def _result_path(scope: Scope, path: str, rest: str) -> str:
    match = _RESULT_PATH.fullmatch(rest)
    if not match:
        raise InvalidSpec(path, f"$(results.{rest}) leads nowhere: write $(results.NAME.path), the file for a result")
    if scope.own is None:
        raise InvalidSpec(path, f"$(results.{rest}): only a step writes results")
    return f"{scope.own.results_dir}/{match[1]}"


def _step_result(scope: Scope, path: str, rest: str) -> str:
    match = _STEP_RESULT.fullmatch(rest)
    if not match:
        raise InvalidSpec(path, f"$(steps.{rest}) leads nowhere: write $(steps.STEP.results.NAME)")
    name, result = match.groups()
    if scope.own is None:
        raise InvalidSpec(path, f"$(steps.{rest}) is known only to later steps")
    if name not in scope.earlier:
        raise InvalidSpec(
            path, f"$(steps.{rest}) leads nowhere: {_known('the steps before this one are', scope.earlier)}"
        )
    if result not in scope.earlier[name].results:
        known = _known(f"step {name!r} writes", scope.earlier[name].results)
        raise InvalidSpec(path, f"$(steps.{rest}) leads nowhere: {known}")
    return f"{{{scope.mark}:{name}/{result}}}"


def _known(words: str, names: t.Iterable[str]) -> str:
    return f"{words} {', '.join(sorted(names)) or 'none'}"


def refuse_inline(words: Words, path: str, tainted: t.Collection[str] = ()) -> None:
    """Refuse references to values in the text of a program's command line, such as [sh, -c, TEXT].

    Raises:
        InvalidSpec: it names the word below ``path``.
    """
    for index in _inline_texts(words):
        _refuse_values(words[index], f"{path}[{index}]", tainted)


def _inline_texts(words: Words) -> list[int]:
    """Return which words are the text of a program, as in sh -c TEXT, wherever that program stands."""
    found = (
        _text_after(words, start + 1, interpreter)
        for start, word in enumerate(words)
        for interpreter in _INTERPRETERS
        if re.fullmatch(interpreter.names, str(word).rpartition("/")[2])
    )
    return [index for index in found if index is not None]


def _text_after(words: Words, start: int, interpreter: _Interpreter) -> int | None:
    """Return which word after an interpreter's name is its text, or has it; None if there is none."""
    seen = skip = False
    for index in range(start, len(words)):
        word = str(words[index])
        if skip:
            skip = False
        elif word == "--":
            return index + 1 if seen and index + 1 < len(words) else None
        elif not word.startswith(("-", "+")) or word == "-":
            return index if seen else None
        elif _REFERENCE.search(word) and not seen:
            # As in --eval=TEXT: what is attached to an option may be the text.
            return index
        else:
            seen = seen or bool(re.fullmatch(interpreter.text, word))
            skip = bool(re.fullmatch(interpreter.with_value, word))
    return None


def _refuse_values(text: t.Any, path: str, tainted: t.Collection[str]) -> None:
    if not isinstance(text, str):
        return
    for match in _REFERENCE.finditer(text):
        if match["root"] in ("params", "steps"):
            raise _part_of_a_program(path, match[0])
    for match in _VARIABLE.finditer(text):
        if match[1] in tainted:
            raise _part_of_a_program(path, f"{match[0]}, which the kubelet fills in,")


def _tainted_variables(container: t.Mapping[str, t.Any]) -> frozenset[str]:
    """Return the variables whose values come from parameters or results, also through other variables."""
    found: set[str] = set()
    for variable in container.get("env") or []:
        value = str(variable.get("value") or "")
        direct = any(match["root"] in ("params", "steps") for match in _REFERENCE.finditer(value))
        if direct or any(match[1] in found for match in _VARIABLE.finditer(value)):
            found.add(str(variable.get("name")))
    return frozenset(found)


def _part_of_a_program(path: str, reference: str) -> InvalidSpec:
    return InvalidSpec(
        path,
        f"{reference} would become part of a program's text, where its value could do anything: "
        'give it as an argument and use "$1", or in env and use "$NAME"',
    )
