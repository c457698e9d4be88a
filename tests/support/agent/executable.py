"""Where the tests have programs from: the containers in which the roles build them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "roles/taskflow_agent/files"
PULLED = "docker.io/library/debian:bookworm-slim"
MADE = "localhost/taskflow/debian:bookworm"  # by the role taskflow_cluster, where none can be pulled


def engine() -> str:
    """Return docker or podman, whichever builds."""
    found = subprocess.run([SCRIPTS / "container.sh", "engine"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def base_image() -> str:
    """Return the image of Debian 12 to build in: BASE_IMAGE, or the one that the engine has."""
    if name := os.environ.get("BASE_IMAGE"):
        return name
    found = subprocess.run([engine(), "image", "inspect", MADE], capture_output=True, check=False)
    return MADE if found.returncode == 0 else PULLED


def build() -> str:
    """Have the executable of the sources as they are, and return its path."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskflow/agent"
    return _run(SCRIPTS / "build-executable.sh", cache)


def have_busybox(folder: Path) -> Path:
    """Return the path of a static busybox, taken from where the stand-in images take it."""
    container = SCRIPTS / "container.sh"
    image = _run(container, "builder", "stand-ins", ROOT / "dev/roles/taskflow_cluster/files/images")
    (folder / "in").mkdir()
    _run(container, "run", image, folder / "in", folder, "--", "cp", "/bin/busybox", "/work/out/")
    return folder / "busybox"


def _run(*command: str | Path) -> str:
    environment = {**os.environ, "BASE_IMAGE": base_image()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
