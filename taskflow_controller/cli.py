"""The command line. A mistake of the user's is one message on stderr and exit code 2."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import TypeVar

from taskflow_controller import __version__, logs, process
from taskflow_controller.durations import parse_duration
from taskflow_controller.errors import ConfigError
from taskflow_controller.http_endpoint import bind_address
from taskflow_controller.playbooks import ROLES_PATH, roles_path
from taskflow_controller.watches import MAX_VERBOSITY

T = TypeVar("T")
PROGRAM = "taskflow-controller"
USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (argparse itself exits with 2 on a bad flag)."""
    options = _parser().parse_args(arguments)
    if options.command == "version":
        print(f"{PROGRAM} {__version__}")
        return 0
    logs.configure(options.log_level)
    # For this process as for all that it starts: a fork server takes the settings that it was started with.
    os.environ[ROLES_PATH] = roles_path(os.environ)
    try:
        return process.serve(_options(options), os.environ)
    except ConfigError as exc:
        print(f"{PROGRAM}: error: {exc}", file=sys.stderr)
        return USAGE_ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Runs playbooks for changed resources.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("version", help="print the version")
    run = commands.add_parser(
        "run",
        help="watch the resources of a watches file and run their playbooks",
    )
    _add_work_flags(run)
    _add_process_flags(run)
    return parser


def _add_work_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--watches-file", metavar="FILE", default="./watches.yaml", help="what to watch and to run (%(default)s)"
    )
    run.add_argument(
        "--max-concurrent-reconciles",
        metavar="N",
        type=_checked(_positive),
        default=os.cpu_count() or 1,
        help="runs at once (%(default)s)",
    )
    run.add_argument(
        "--reconcile-period",
        metavar="DURATION",
        type=_checked(parse_duration),
        default="10h",
        help="time after which a resource gets a run without a change; 0: never (%(default)s)",
    )
    run.add_argument(
        "--ansible-verbosity",
        metavar="0..7",
        type=int,
        choices=range(MAX_VERBOSITY + 1),
        default=0,
        help="as many v's for ansible-playbook (%(default)s)",
    )
    run.add_argument(
        "--run-timeout",
        metavar="DURATION",
        type=_checked(parse_duration),
        default="0",
        help="time after which a run is killed, where its watch has no runTimeout; 0: never (%(default)s)",
    )
    run.add_argument(
        "--runner-dir",
        metavar="DIR",
        default=os.path.join(tempfile.gettempdir(), PROGRAM),
        help="where runs keep their files, removed with the resource (%(default)s)",
    )


def _add_process_flags(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--health-probe-bind-address",
        metavar="ADDRESS",
        type=_checked(bind_address),
        default=":6789",
        help="where /healthz and /readyz are served; 0: nowhere (%(default)s)",
    )
    run.add_argument(
        "--metrics-bind-address",
        metavar="ADDRESS",
        type=_checked(bind_address),
        default=":8080",
        help="where Prometheus gets the metrics; 0: nowhere (%(default)s)",
    )
    run.add_argument(
        "--user-metrics-bind-address",
        metavar="ADDRESS",
        type=_checked(bind_address),
        default="127.0.0.1:5050",
        help="where playbooks POST metrics of their own (osdk_metric); 0: nowhere (%(default)s)",
    )
    run.add_argument("--leader-elect", action="store_true", help="let one replica of several work at a time")
    run.add_argument("--leader-election-id", metavar="ID", default=PROGRAM, help="name of the Lease (%(default)s)")
    run.add_argument(
        "--leader-election-namespace",
        metavar="NAMESPACE",
        default="",
        help="namespace of the Lease; empty: the Pod's own",
    )
    run.add_argument(
        "--graceful-shutdown-timeout",
        metavar="DURATION",
        type=_checked(parse_duration),
        default="30s",
        help="how long running playbooks may go on after SIGTERM (%(default)s)",
    )
    run.add_argument(
        "--kubeconfig",
        metavar="FILE",
        default="",
        help="for controller and playbooks; empty: the Pod's ServiceAccount, else the default kubeconfig",
    )
    run.add_argument(
        "--log-level", choices=logs.LEVELS, default="info", help="least severity that is logged (%(default)s)"
    )


def _options(flags: argparse.Namespace) -> process.Options:
    return process.Options(
        watches_file=flags.watches_file,
        max_concurrent=flags.max_concurrent_reconciles,
        reconcile_period=flags.reconcile_period,
        health_address=flags.health_probe_bind_address,
        metrics_address=flags.metrics_bind_address,
        user_metrics_address=flags.user_metrics_bind_address,
        leader_elect=flags.leader_elect,
        leader_election_id=flags.leader_election_id,
        leader_election_namespace=flags.leader_election_namespace,
        graceful_shutdown_timeout=flags.graceful_shutdown_timeout,
        verbosity=flags.ansible_verbosity,
        run_timeout=flags.run_timeout,
        runner_dir=flags.runner_dir,
        kubeconfig=flags.kubeconfig,
    )


def _checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    """Wrap a conversion that raises ValueError, so that argparse shows its text beside the flag's name."""

    def checked(text: str) -> T:
        try:
            return convert(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return checked


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number, 1 or more")
    return int(text)
