"""Make importable what the tests test and share: the only place that changes ``sys.path``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ROOT / "build" / "collections"
CLUSTER_FILES = ROOT / "dev" / "roles" / "taskflow_cluster" / "files"
IMPORTABLE = (
    ROOT,  # the controller, and the scripts
    COLLECTIONS,  # the checkout as the collection that it is
    ROOT / "roles" / "taskflow_agent" / "files" / "agent",
    CLUSTER_FILES / "engine",
    CLUSTER_FILES / "programs",
    ROOT / "tests",  # what the tests share, as ``support``
    ROOT / "tests" / "bench",
)


def link_collection() -> None:
    """Link the checkout as ansible_collections/taskflow/operator below build/collections."""
    link = COLLECTIONS / "ansible_collections" / "taskflow" / "operator"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.exists():
        link.symlink_to(ROOT)


def use_engine_of_cluster() -> None:
    """Build in containers of the engine that runs the cluster of KUBECONFIG, unless the environment names another."""
    with contextlib.suppress(OSError):
        told = json.loads((Path(os.environ.get("KUBECONFIG", "")).parent / "cluster.json").read_text())
        if told["docker_host"]:
            os.environ.setdefault("DOCKER_HOST", told["docker_host"])


link_collection()
use_engine_of_cluster()
sys.path[:0] = map(str, IMPORTABLE)

# No example has to be quick: the machine may be busy. The examples are the same each time, so that a test fails because
# of a change, not because of the draw. `make faults` looks for others, and for many more.
settings.register_profile("taskflow", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, derandomize=False, max_examples=2000)
settings.load_profile("taskflow")
