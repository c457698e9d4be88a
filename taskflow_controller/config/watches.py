"""Loads and checks the watches file: the Operator SDK's watches.yaml with our own fields.

Our own fields are ``watchDependents``, ``batch``, ``apiProxy`` and ``runTimeout``. An unknown field gives a warning.
``watch_fields`` reads the single fields.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskflow_controller.config.located_yaml import LocatedDict, LocatedYamlError, load_located
from taskflow_controller.config.playbooks import Command, NotFoundError, find_playbook, find_role
from taskflow_controller.config.watch_fields import Entry
from taskflow_controller.errors import ConfigError
from taskflow_controller.kube.field_paths import FieldPath
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.kube.selectors import QUALIFIED_NAME

_VARIABLE = re.compile(r"\$(?:\{([^{}]*)\}|([*#$@!?0-9-])|([A-Za-z_][A-Za-z0-9_]*))")
DEFAULT_MAX_RUNNER_ARTIFACTS = 20
MAX_VERBOSITY = 7

_SUPPORTED = {
    "group", "version", "kind", "playbook", "role", "vars", "maxRunnerArtifacts", "reconcilePeriod",
    "manageStatus", "watchDependentResources", "snakeCaseParameters", "watchAnnotationsChanges",
    "watchClusterScopedResources", "markUnsafe", "blacklist", "selector", "finalizer",
    "watchDependents", "batch", "apiProxy", "runTimeout",
}  # fmt: skip
_KIND_FIELDS = {"group", "version", "kind"}
_DEPENDENT_FIELDS = {*_KIND_FIELDS, "labelSelector", "fields", "finalizer"}
_FINALIZER_FIELDS = {"name", "playbook", "role", "vars"}


@dataclass(frozen=True)
class DependentWatch:
    """A kind whose objects concern their controlling owner.

    Attributes:
        gvk: the kind.
        label_selector: in the form of the API server's query, "" for all objects.
        fields: an update counts if the value at one of them changed; None: if anything but the status changed.
        finalizer: what the playbook puts on such objects; it goes when their owner is gone. "" for nothing.
    """

    gvk: GroupVersionKind
    label_selector: str
    fields: tuple[FieldPath, ...] | None
    finalizer: str = ""


@dataclass(frozen=True)
class Finalizer:
    """A finalizer, which keeps a deleted resource until a last run has succeeded.

    Attributes:
        name: the finalizer's name.
        command: what that run runs; None for the watch's own command.
        vars: extra vars of that run, which win over all others.
    """

    name: str
    command: Command | None
    vars: Mapping[str, Any]


@dataclass(frozen=True)
class Watch:
    """One entry of the watches file.

    If ``reconcile_period``, ``run_timeout``, ``max_concurrent`` or ``verbosity`` is None, the flag's value counts.

    Attributes:
        gvk: the watched kind.
        command: what runs for each of its resources.
        vars: extra vars of each run.
        reconcile_period: seconds after which a resource gets a run although nothing changed; 0 for never.
        max_runner_artifacts: how many runs' artifacts are kept.
        snake_case_parameters: whether the names of a spec's fields become snake_case.
        watch_annotations_changes: whether a change of the annotations needs a run.
        dependents: other kinds whose changes need a run of their owner.
        max_concurrent: how many runs of the kind may go on at once.
        verbosity: Ansible's, 0 to 7.
        manage_status: whether the controller writes conditions into the status.
        watch_dependent_resources: whether the kinds that playbooks turn out to use are watched.
        watch_cluster_scoped_resources: whether the cluster-scoped ones among these are watched, too.
        mark_unsafe: whether Ansible must not evaluate templates in a resource's values.
        blacklist: kinds that playbooks may use but that are not watched.
        selector: a label selector in the form of the API server's query, "" for all resources.
        finalizer: what runs before a deleted resource may go; None for nothing.
        batch: how many resources one run may serve.
        api_proxy: False for runs that talk to the API server directly.
        run_timeout: seconds after which a run is killed; 0 for never.
    """

    gvk: GroupVersionKind
    command: Command
    vars: Mapping[str, Any]
    reconcile_period: float | None
    max_runner_artifacts: int
    snake_case_parameters: bool
    watch_annotations_changes: bool
    dependents: tuple[DependentWatch, ...]
    max_concurrent: int | None
    verbosity: int | None
    manage_status: bool = True
    watch_dependent_resources: bool = True
    watch_cluster_scoped_resources: bool = False
    mark_unsafe: bool = False
    blacklist: frozenset[GroupVersionKind] = frozenset()
    selector: str = ""
    finalizer: Finalizer | None = None
    batch: int = 1
    api_proxy: bool = True
    run_timeout: float | None = None

    def command_for(self, *, finalizing: bool) -> Command:
        """Return what runs for a resource or, if ``finalizing``, before a deleted resource may go."""
        own = self.finalizer.command if finalizing and self.finalizer else None
        return own or self.command

    def commands(self) -> tuple[Command, ...]:
        """Return all commands that may run for the watch's resources."""
        return tuple(dict.fromkeys([self.command, self.command_for(finalizing=True)]))


@dataclass(frozen=True)
class WatchesFile:
    """The watches in the file, and warnings about its content."""

    watches: tuple[Watch, ...]
    warnings: tuple[str, ...]


def load_watches(path: str | os.PathLike[str], environ: Mapping[str, str]) -> WatchesFile:
    """Read the watches file.

    Args:
        path: the file.
        environ: its variables are expanded in the file; some of them override settings of a watch.

    Raises:
        ConfigError: the file can't be used. The text names the file, line and field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"watches file {path}: can't be read: {reason}") from exc
    try:
        document = load_located(expand_environment(text, environ))
    except LocatedYamlError as exc:
        raise ConfigError(f"{path}:{exc.line}: {exc}") from exc
    if not isinstance(document, list) or not document:
        raise ConfigError(f"{path}: must be a list of watches, with at least one")
    warnings: list[str] = []
    watches: dict[GroupVersionKind, Watch] = {}
    for number, item in enumerate(document, start=1):
        if not isinstance(item, LocatedDict):
            raise ConfigError(f"{path}: entry {number} must be a mapping, not {item!r}")
        entry = Entry(str(path), f"entry {number}", item)
        watch = _watch(entry, environ, warnings)
        if watch.gvk in watches:
            raise entry.error("kind", f"{watch.gvk} is already watched by an earlier entry")
        watches[watch.gvk] = watch
    return WatchesFile(tuple(watches.values()), tuple(warnings))


def expand_environment(text: str, environ: Mapping[str, str]) -> str:
    """Return a text with ``$X`` and ``${X}`` expanded. One that is not set becomes, or stays, a literal ``${X}``."""

    def value(match: re.Match[str]) -> str:
        name = next(group for group in match.groups() if group is not None)
        return environ.get(name, f"${{{name}}}")

    return _VARIABLE.sub(value, text)


def _watch(entry: Entry, environ: Mapping[str, str], warnings: list[str]) -> Watch:
    odd: list[str] = []  # ignored: a warning needs the entry's name, which must be read first
    gvk = _gvk(entry.spelled(_SUPPORTED, odd))
    entry = entry.named(str(gvk)).spelled(_SUPPORTED, warnings)
    command = _command(entry, environ)
    if command is None:
        raise entry.error("playbook", "is required (or a role)")
    artifacts = entry.integer("maxRunnerArtifacts", 0, least=0)
    watch = Watch(
        gvk=gvk,
        command=command,
        vars=entry.variables("vars"),
        reconcile_period=entry.duration("reconcilePeriod"),
        max_runner_artifacts=artifacts or DEFAULT_MAX_RUNNER_ARTIFACTS,
        snake_case_parameters=entry.boolean("snakeCaseParameters", True),
        watch_annotations_changes=entry.boolean("watchAnnotationsChanges", False),
        dependents=_dependents(entry, warnings),
        max_concurrent=_max_concurrent(environ, gvk, warnings),
        verbosity=_override(environ, _variable("ANSIBLE_VERBOSITY", gvk), 0, MAX_VERBOSITY),
        manage_status=entry.boolean("manageStatus", True),
        watch_dependent_resources=entry.boolean("watchDependentResources", True),
        watch_cluster_scoped_resources=entry.boolean("watchClusterScopedResources", False),
        mark_unsafe=entry.boolean("markUnsafe", False),
        blacklist=_blacklist(entry, warnings),
        selector=entry.selector("selector"),
        finalizer=_finalizer(entry, environ, warnings),
        batch=entry.integer("batch", 1, least=1),
        api_proxy=entry.boolean("apiProxy", True),
        run_timeout=entry.duration("runTimeout"),
    )
    return watch


def _gvk(entry: Entry) -> GroupVersionKind:
    group, version, kind = entry.string("group"), entry.string("version"), entry.string("kind")
    for field, value in (("version", version), ("kind", kind)):
        if not value:
            raise entry.error(field, "is required")
    if not group and "/" in version:
        raise entry.error("version", f"must be the version alone, without its group, not {version!r}")
    return GroupVersionKind(group, version, kind)


def _command(entry: Entry, environ: Mapping[str, str]) -> Command | None:
    """Return what an entry runs, or None if it names nothing. If it names both, the playbook wins over the role."""
    playbook, role = entry.string("playbook"), entry.string("role")
    field = "playbook" if playbook else "role"
    try:
        if playbook:
            return Command(playbook=find_playbook(playbook, environ))
        if role:
            return Command(role=find_role(role, environ))
    except NotFoundError as exc:
        raise entry.error(field, str(exc)) from exc
    return None


def _finalizer(entry: Entry, environ: Mapping[str, str], warnings: list[str]) -> Finalizer | None:
    content = entry.content.get("finalizer")
    if content is None:
        return None
    if not isinstance(content, LocatedDict):
        raise entry.error("finalizer", f"must be a mapping, not {content!r}")
    finalizer = Entry(entry.path, f"{entry.name}: finalizer", content).spelled(_FINALIZER_FIELDS, warnings)
    name = _finalizer_name(finalizer, "name")
    if not name:
        raise finalizer.error("name", "is required")
    return Finalizer(name, _command(finalizer, environ), finalizer.variables("vars"))


def _finalizer_name(entry: Entry, field: str) -> str:
    """Return a finalizer's name, or "" if the field is not given."""
    name = entry.string(field)
    if name and not QUALIFIED_NAME.fullmatch(name):
        raise entry.error(field, f"must be a name such as example.com/finalizer, not {name!r}")
    return name


def _blacklist(entry: Entry, warnings: list[str]) -> frozenset[GroupVersionKind]:
    return frozenset(_gvk(item.spelled(_KIND_FIELDS, warnings)) for item in entry.entries("blacklist"))


def _dependents(entry: Entry, warnings: list[str]) -> tuple[DependentWatch, ...]:
    dependents = []
    for found in entry.entries("watchDependents"):
        item = found.spelled(_DEPENDENT_FIELDS, warnings)
        fields = item.paths("fields")
        dependents.append(
            DependentWatch(
                gvk=_gvk(item),
                label_selector=item.selector("labelSelector"),
                fields=fields or None,
                finalizer=_finalizer_name(item, "finalizer"),
            )
        )
    return tuple(dependents)


def _max_concurrent(environ: Mapping[str, str], gvk: GroupVersionKind, warnings: list[str]) -> int | None:
    variable, old = (_variable(prefix, gvk) for prefix in ("MAX_CONCURRENT_RECONCILES", "WORKER"))
    if variable not in environ and old in environ:
        warnings.append(f"environment variable {old}: is deprecated, use {variable}")
        variable = old
    return _override(environ, variable, 1, None)


def _variable(prefix: str, gvk: GroupVersionKind) -> str:
    return f"{prefix}_{gvk.kind}_{gvk.group}".upper().replace(".", "_")


def _override(environ: Mapping[str, str], variable: str, least: int, most: int | None) -> int | None:
    """Return the number in an environment variable, or None if it is not set. Raises ConfigError."""
    text = environ.get(variable)
    if text is None:
        return None
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"{least} to {most}"
        raise ConfigError(f"environment variable {variable}: must be a whole number, {bounds}, not {text!r}")
    return value
