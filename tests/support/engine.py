"""docker or podman, whichever runs the cluster."""

from __future__ import annotations

import os
import shlex
import subprocess

from .facts import facts


class CommandError(RuntimeError):
    """A command failed; the message has what was run and what it said."""


def engine(*words: str, stdin: str | None = None, timeout: float = 240.0) -> str:
    """Run docker or podman, and return what it printed."""
    command = [facts().engine, *words]
    environment = {**os.environ, **({"DOCKER_HOST": facts().docker_host} if facts().docker_host else {})}
    try:
        result = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{shlex.join(command)}: not done in {timeout:g} s") from error
    if result.returncode != 0:
        said = (result.stderr + result.stdout).strip()
        raise CommandError(f"{shlex.join(command)}: exit code {result.returncode}: {said}")
    return result.stdout
