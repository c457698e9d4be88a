"""The command line. A user's mistake gives one message on stderr and exit code 2."""

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Mapping, Sequence

from taskflow_controller import __version__, flags, legacy_flags, process
from taskflow_controller.compose import compose
from taskflow_controller.config.playbooks import ROLES_PATH, roles_path
from taskflow_controller.errors import ConfigError
from taskflow_controller.options import PROGRAM, Options
from taskflow_controller.serve import logs

logger = logging.getLogger(__name__)

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: those after the program's name; None for those of this process.

    Raises:
        SystemExit: a flag is wrong (exit code 2), or ``--help`` was given; argparse has printed the text.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.command == "version":
        print(f"{PROGRAM} {__version__}")
        return 0
    legacy = legacy_flags.judge(arguments)
    if legacy.error:
        parser.error(legacy.error)
    options = Options(**{field.name: getattr(given, field.name) for field in dataclasses.fields(Options)})
    logs.configure(options.log_level)
    name, warning = legacy_flags.leader_election_id(options.leader_election_id, arguments, os.environ)
    for text in (*legacy.warnings, *filter(None, [warning])):
        logger.warning(text)
    # For this process and all that it starts: a fork server keeps the settings that it was started with.
    os.environ.update(ansible_environment(options, os.environ))
    try:
        return process.serve(compose(dataclasses.replace(options, leader_election_id=name), os.environ))
    except ConfigError as exc:
        print(f"{PROGRAM}: error: {exc}", file=sys.stderr)
        return USAGE_ERROR


def ansible_environment(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that tell Ansible where to look for roles and collections.

    Args:
        options: its paths win over the environment.
        environ: the environment of this process.
    """
    roles, collections = options.ansible_roles_path, options.ansible_collections_path
    found = {"ANSIBLE_COLLECTIONS_PATH": collections} if collections else {}
    return {**found, ROLES_PATH: roles_path({**environ, ROLES_PATH: roles} if roles else environ)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Runs playbooks for changed resources.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("version", help="print the version")
    run = commands.add_parser(
        "run",
        help="watch the resources of a watches file and run their playbooks",
        allow_abbrev=False,
    )
    flags.add_flags(run)
    legacy_flags.add_flags(run)
    return parser
