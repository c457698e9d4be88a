"""The Operator SDK's flags and variables that have another name or no meaning here, accepted with a warning."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskflow_controller.flags import boolean, checked
from taskflow_controller.serve.http_endpoint import bind_address

OPERATOR_NAME = "OPERATOR_NAME"

_RENAMED = {
    "--metrics-addr": "--metrics-bind-address",
    "--enable-leader-election": "--leader-elect",
    "--zap-log-level": "--log-level",
}
_IGNORED = {
    "--leader-elect-resource-lock": "the lock is always a Lease",
    "--proxy-port": "the proxy picks a free port",
    "--enable-http2": "only HTTP/1.1 is served",
    "--zap-devel": "log lines are always JSON",
    "--zap-encoder": "log lines are always JSON",
    "--zap-stacktrace-level": "a traceback is logged only for a bug in the controller",
    "--zap-time-encoding": "times are always ISO 8601",
}
_REFUSED = {
    "--config": "a manager's configuration file is not read: give its values as flags",
    "--metrics-secure": "metrics are served without TLS: bind them to 127.0.0.1 and put a proxy in front of them",
}
_ZAP_LEVELS = {"debug": "debug", "info": "info", "error": "error", "panic": "error"}


def add_flags(run: argparse.ArgumentParser) -> None:
    """Add the old flags to the parser of ``run``; ``--help`` does not show them."""
    hidden: dict[str, Any] = {"default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    run.add_argument("--metrics-addr", dest="metrics_address", type=checked(bind_address), **hidden)
    run.add_argument(
        "--enable-leader-election", dest="leader_elect", nargs="?", const=True, type=checked(boolean), **hidden
    )
    run.add_argument("--zap-log-level", dest="log_level", type=checked(_zap_level), **hidden)
    for flag in (*_IGNORED, *_REFUSED):
        run.add_argument(flag, dest=f"legacy{flag}", nargs="?", **hidden)


@dataclass(frozen=True)
class Legacy:
    """The consequences of the old flags among the arguments.

    Attributes:
        error: why the command line is refused, None if it is not.
        warnings: a text for each old flag that is accepted.
    """

    error: str | None
    warnings: tuple[str, ...]


def judge(arguments: Sequence[str]) -> Legacy:
    """Return the consequences of the old flags in a command line that argparse has accepted."""
    given = {argument.partition("=")[0]: argument.partition("=")[2] for argument in arguments}
    return Legacy(next(_errors(given), None), tuple(_warnings(given)))


def leader_election_id(default: str, arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the Lease's name, and a warning if the deprecated ``OPERATOR_NAME`` gives it.

    Args:
        default: the name without ``OPERATOR_NAME``.
        arguments: the command line; its ``--leader-election-id`` wins.
        environ: the environment.
    """
    name = environ.get(OPERATOR_NAME)
    if not name or any(argument.partition("=")[0] == "--leader-election-id" for argument in arguments):
        return default, None
    return name, f"{OPERATOR_NAME} is deprecated: use --leader-election-id"


def _errors(given: Mapping[str, str]) -> Iterator[str]:
    for old, new in _RENAMED.items():
        if old in given and new in given:
            yield f"{old} and {new} are the same: give only the latter"
    for flag, why in _REFUSED.items():
        if flag in given and given[flag] not in ("false", "False"):
            yield f"{flag}: {why}"


def _warnings(given: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{old} is deprecated: use {new}" for old, new in _RENAMED.items() if old in given)
    yield from (f"{flag} is ignored: {why}" for flag, why in _IGNORED.items() if flag in given)


def _zap_level(text: str) -> str:
    if text.isdigit():
        return "debug"
    if text not in _ZAP_LEVELS:
        raise ValueError(f"{text!r} is not a level: debug, info, error or a number")
    return _ZAP_LEVELS[text]
