"""The flags of ``run``: the Operator SDK's and a few of our own. The ``dest`` of each is a field of Options."""

import argparse
import os
import shlex
import tempfile
from collections.abc import Callable
from typing import TypeVar

from taskflow_controller.config.watches import MAX_VERBOSITY
from taskflow_controller.durations import parse_duration
from taskflow_controller.options import PROGRAM
from taskflow_controller.runs.log_events import LEVELS as EVENT_LEVELS
from taskflow_controller.serve.http_endpoint import bind_address
from taskflow_controller.serve.logs import LEVELS as LOG_LEVELS

T = TypeVar("T")

_TRUE = {"1", "t", "T", "true", "TRUE", "True"}
_FALSE = {"0", "f", "F", "false", "FALSE", "False"}


def add_flags(run: argparse.ArgumentParser) -> None:
    """Add all flags to the parser of ``run``, in groups."""
    _add_work(run.add_argument_group("what is watched"))
    _add_ansible(run.add_argument_group("how Ansible runs"))
    _add_endpoints(run.add_argument_group("what is served"))
    _add_leader_election(run.add_argument_group("leader election"))
    _add_process(run.add_argument_group("the process"))


def _add_work(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--watches-file", metavar="FILE", default="./watches.yaml", help="what to watch and what to run (%(default)s)"
    )
    group.add_argument(
        "--max-concurrent-reconciles",
        metavar="N",
        dest="max_concurrent",
        type=checked(_positive),
        default=os.cpu_count() or 1,
        help="how many runs of one kind may go on at once; default: the number of CPUs (%(default)s)",
    )
    group.add_argument(
        "--max-concurrent-total",
        metavar="N",
        dest="max_total",
        type=checked(_positive),
        help="how many runs of all kinds may go on at once; default: twice the number of CPUs, or the limit of one "
        "kind if that is higher",
    )
    group.add_argument(
        "--reconcile-period",
        metavar="DURATION",
        type=checked(parse_duration),
        default="10h",
        help="time after which a resource gets a run although nothing changed; 0: never (%(default)s)",
    )
    _add_boolean(
        group,
        "--inject-owner-ref",
        True,
        "give each object that a playbook creates an ownerReference to the run's resource (true)",
    )


def _add_ansible(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ansible-verbosity",
        metavar=f"0..{MAX_VERBOSITY}",
        type=int,
        choices=range(MAX_VERBOSITY + 1),
        default=0,
        help="how many v's ansible-playbook gets (%(default)s)",
    )
    group.add_argument(
        "--ansible-args",
        metavar="TEXT",
        type=checked(_arguments),
        default="",
        help="more arguments for ansible-playbook, quoted as for a shell: '--vault-password-file /etc/vault/pass'",
    )
    group.add_argument(
        "--ansible-roles-path",
        metavar="PATH",
        default="",
        help="sets ANSIBLE_ROLES_PATH, where Ansible looks for roles",
    )
    group.add_argument(
        "--ansible-collections-path",
        metavar="PATH",
        default="",
        help="sets ANSIBLE_COLLECTIONS_PATH, where Ansible looks for collections",
    )
    group.add_argument(
        "--ansible-log-events",
        metavar="|".join(EVENT_LEVELS),
        type=str.lower,
        choices=EVENT_LEVELS,
        default="tasks",
        help="which of Ansible's events become log lines (%(default)s)",
    )
    group.add_argument(
        "--run-timeout",
        metavar="DURATION",
        type=checked(parse_duration),
        default="0",
        help="time after which a run is killed, unless its watch has a runTimeout; 0: none (%(default)s)",
    )
    _add_boolean(group, "--cold", False, "start a new ansible-playbook for each run, many times slower (false)")
    group.add_argument(
        "--runner-dir",
        metavar="DIR",
        default=os.path.join(tempfile.gettempdir(), PROGRAM),
        help="where runs keep their files; those of a resource are removed with it (%(default)s)",
    )


def _add_endpoints(group: argparse._ArgumentGroup) -> None:
    for flag, dest, default, text in (
        ("--health-probe-bind-address", "health_address", ":6789", "where /healthz and /readyz are served"),
        ("--metrics-bind-address", "metrics_address", ":8080", "where Prometheus reads the metrics"),
        (
            "--user-metrics-bind-address",
            "user_metrics_address",
            "127.0.0.1:5050",
            "where playbooks POST their own metrics (osdk_metric)",
        ),
    ):
        group.add_argument(
            flag,
            metavar="ADDRESS",
            dest=dest,
            type=checked(bind_address),
            default=default,
            help=f"{text}; 0: nowhere (%(default)s)",
        )


def _add_leader_election(group: argparse._ArgumentGroup) -> None:
    _add_boolean(group, "--leader-elect", False, "let only one of several replicas work at a time (false)")
    group.add_argument("--leader-election-id", metavar="ID", default=PROGRAM, help="name of the Lease (%(default)s)")
    group.add_argument(
        "--leader-election-namespace",
        metavar="NAMESPACE",
        default="",
        help="namespace of the Lease; empty: the Pod's own",
    )
    group.add_argument(
        "--leader-elect-lease-duration",
        metavar="DURATION",
        dest="lease_duration",
        type=checked(_whole_seconds),
        default="15s",
        help="how long a lease that is not renewed keeps others from leading (%(default)s)",
    )
    group.add_argument(
        "--leader-elect-renew-deadline",
        metavar="DURATION",
        dest="renew_deadline",
        type=checked(_whole_seconds),
        default="10s",
        help="how long a leader works on without renewing its lease (%(default)s)",
    )


def _add_process(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--graceful-shutdown-timeout",
        metavar="DURATION",
        type=checked(parse_duration),
        default="30s",
        help="how long running playbooks may go on after SIGTERM (%(default)s)",
    )
    group.add_argument(
        "--kubeconfig",
        metavar="FILE",
        default="",
        help="kubeconfig of the controller and the playbooks; empty: the Pod's ServiceAccount, else the default "
        "kubeconfig",
    )
    group.add_argument(
        "--log-level", choices=LOG_LEVELS, default="info", help="lowest severity that is logged (%(default)s)"
    )


def checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap a conversion that raises ValueError, so that argparse shows the error's text next to the flag's name."""

    def checked_(text: str) -> T:
        try:
            return convert(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return checked_


def boolean(text: str) -> bool:
    """Return the value of a boolean, in the spellings that Go's ``strconv.ParseBool`` accepts.

    Raises:
        ValueError: the text is neither true nor false.
    """
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return text in _TRUE


def _add_boolean(group: argparse._ArgumentGroup, flag: str, default: bool, text: str) -> None:
    group.add_argument(
        flag, metavar="true|false", nargs="?", const=True, default=default, type=checked(boolean), help=text
    )


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number, 1 or more")
    return int(text)


def _whole_seconds(text: str) -> int:
    seconds = parse_duration(text)
    if seconds != int(seconds):
        raise ValueError(f"{text!r} is not a whole number of seconds, which a Lease needs")
    return int(seconds)


def _arguments(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as exc:
        raise ValueError(f"{text!r} can't be split into arguments: {exc}") from exc
    return text
