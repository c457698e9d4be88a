"""The end-to-end tests: a real cluster, and the operator deployed on it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import OPERATOR_NAMESPACE, Cluster
from support.builds import Source
from support.facts import facts
from support.registry.git_server import GitServer


@pytest.fixture(scope="session", autouse=True)
def operator() -> None:
    """Fail at once where there is no cluster with the operator."""
    if not os.environ.get("KUBECONFIG"):
        pytest.exit("KUBECONFIG is not set. Run: make test", returncode=2)
    cluster = Cluster(OPERATOR_NAMESPACE)
    cluster.run("rollout", "status", "deployment/taskflow-operator", "--timeout=120s")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A namespace of the test's own, which goes with everything in it."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster = Cluster(name)
    cluster.run("create", "namespace", name)
    cluster.wait(
        "the namespace's ServiceAccount",
        lambda: cluster.run("get", "serviceaccount", "default", check=False).returncode == 0,
    )
    yield cluster
    cluster.run("delete", "namespace", name, "--wait=false")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "site")


@pytest.fixture
def url(source: Source) -> Iterator[str]:
    """The repository, for everybody."""
    with GitServer(source.folder.parent, facts().gateway) as server:
        yield f"{server.url}/site"
