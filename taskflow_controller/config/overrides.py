"""The settings of a run: a resource's annotations win over its watch's fields, and these over the flags."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from taskflow_controller.config.watches import MAX_VERBOSITY, Watch
from taskflow_controller.durations import parse_duration
from taskflow_controller.kube.kinds import Object, ResourceKey

T = TypeVar("T")
logger = logging.getLogger(__name__)

PREFIX = "ansible.sdk.operatorframework.io/"
RECONCILE_PERIOD = f"{PREFIX}reconcile-period"
MAX_RUNNER_ARTIFACTS = f"{PREFIX}max-runner-artifacts"
VERBOSITY = f"{PREFIX}verbosity"
MAX_ARTIFACTS_BY_ANNOTATION = 100  # a user who may write a resource must not be able to fill the controller's disk
_MAX_TEXT = 40


@dataclass(frozen=True)
class Defaults:
    """The flags that a watch or a resource may override. Times are in seconds, 0 for none."""

    reconcile_period: float
    verbosity: int
    run_timeout: float = 0.0


@dataclass(frozen=True)
class RunSettings:
    """The settings of one resource's runs. Times are in seconds, 0 for none.

    Attributes:
        reconcile_period: after which time the resource gets a run although nothing changed.
        max_artifacts: how many runs' artifacts are kept.
        verbosity: Ansible's, 0 to 7.
        run_timeout: after which time a run is killed.
    """

    reconcile_period: float
    max_artifacts: int
    verbosity: int
    run_timeout: float


def run_settings(watch: Watch, obj: Object, defaults: Defaults) -> tuple[RunSettings, tuple[str, ...]]:
    """Return the settings of a resource's runs, and a warning for each annotation that can't be used.

    An annotation that can't be used counts as absent.

    Args:
        watch: the resource's watch.
        obj: the resource.
        defaults: the values of the flags.
    """
    warnings: list[str] = []
    annotations = _Annotations(obj, warnings)
    period = annotations.duration(RECONCILE_PERIOD)
    artifacts = annotations.integer(MAX_RUNNER_ARTIFACTS, MAX_ARTIFACTS_BY_ANNOTATION)
    verbosity = annotations.integer(VERBOSITY, MAX_VERBOSITY)
    settings = RunSettings(
        reconcile_period=_first(period, watch.reconcile_period, defaults.reconcile_period),
        max_artifacts=artifacts or watch.max_runner_artifacts,
        verbosity=_first(verbosity, watch.verbosity, defaults.verbosity),
        run_timeout=_first(watch.run_timeout, defaults.run_timeout),
    )
    return settings, tuple(warnings)


class Overrides:
    """Gives each run its settings, and logs each bad annotation once. Thread-safe."""

    def __init__(self, defaults: Defaults) -> None:
        self._defaults = defaults
        self._warned: dict[ResourceKey, tuple[str, ...]] = {}  # a dict's single operations are atomic

    def settings(self, watch: Watch, key: ResourceKey, obj: Object) -> RunSettings:
        """Return the settings of a resource's runs. Log a bad annotation if it is new."""
        settings, warnings = run_settings(watch, obj, self._defaults)
        known = self._warned.get(key, ())
        for warning in warnings:
            if warning not in known:
                logger.warning(warning, extra={"resource": str(key)})
        if warnings:
            self._warned[key] = warnings
        else:
            self.forget(key)
        return settings

    def of_watch(self, watch: Watch) -> RunSettings:
        """Return the settings of a run for several resources, in which no resource's annotations count."""
        return run_settings(watch, {}, self._defaults)[0]

    def forget(self, key: ResourceKey) -> None:
        """Drop the warnings that are kept for a resource which is gone."""
        self._warned.pop(key, None)


class _Annotations:
    """Reads an object's annotations. Adds to ``warnings`` a text for each that can't be used."""

    def __init__(self, obj: Object, warnings: list[str]) -> None:
        self._annotations: Mapping[str, str] = (obj.get("metadata") or {}).get("annotations") or {}
        self._warnings = warnings

    def duration(self, name: str) -> float | None:
        """Return a Go duration string in seconds, or None if it is absent or can't be used."""
        text = self._text(name)
        try:
            return None if text is None else parse_duration(text)
        except ValueError as exc:
            self._warn(name, str(exc))
            return None

    def integer(self, name: str, most: int) -> int | None:
        """Return a whole number from 0 to ``most``, or None if it is absent or can't be used."""
        text = self._text(name)
        if text is None:
            return None
        if text.isascii() and text.isdigit() and int(text) <= most:
            return int(text)
        self._warn(name, f"{text!r} is not a whole number, 0 to {most}")
        return None

    def _text(self, name: str) -> str | None:
        text = self._annotations.get(name)
        if text is not None and len(text) > _MAX_TEXT:  # don't log all of it: it may be a quarter of a megabyte
            self._warn(name, f"{text[:_MAX_TEXT]!r}... is longer than {_MAX_TEXT} characters")
            return None
        return text

    def _warn(self, name: str, problem: str) -> None:
        self._warnings.append(f"annotation {name} is ignored: {problem}")


def _first(*values: T | None) -> T:
    """Return the first value that is given; the last one always is."""
    return next(value for value in values if value is not None)
