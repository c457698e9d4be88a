"""What the role taskflow_cluster tells of the cluster: cluster.json, beside the cluster's kubeconfig."""

from __future__ import annotations

import dataclasses
import json
import os
from functools import cache
from pathlib import Path

import pytest


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts; the README of the role explains them."""

    kubeconfig: str
    kubectl: str
    name: str
    engine: str
    docker_host: str
    nodes: tuple[str, ...]
    kubernetes: str
    programs: str
    gateway: str
    registry_push: str
    registry_pull: str
    registry_mirror: str


def has_facts() -> bool:
    """Tell whether the cluster that KUBECONFIG names is one of the role's."""
    return _path().exists()


@cache
def facts() -> Facts:
    """Return the facts of the cluster that KUBECONFIG names.

    Raises:
        FileNotFoundError: that cluster is none of the role's.
    """
    if not has_facts():
        raise FileNotFoundError(f"no {_path()}: bring the cluster up and set KUBECONFIG to its kubeconfig (make test)")
    told = json.loads(_path().read_text())
    known = {field.name: told[field.name] for field in dataclasses.fields(Facts)}
    return Facts(**{**known, "nodes": tuple(told["nodes"])})


def _path() -> Path:
    return Path(os.environ.get("KUBECONFIG", "")).parent / "cluster.json"


# For tests that reach into nodes, or that have servers on this host which Pods reach.
needs_own_cluster = pytest.mark.skipif(not has_facts(), reason="the cluster is none of the role taskflow_cluster")
