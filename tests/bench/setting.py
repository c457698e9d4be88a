"""Where the parts of the bench measure: a folder of their own, the cluster, a private control plane."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from measurement import NotMeasuredError
from raw_api import RawApi

ROOT = Path(__file__).resolve().parents[2]
CORES = 2  # what the targets are for

if TYPE_CHECKING:
    from support.api.control_plane import ControlPlane


class Setting:
    """Made once for a run of the bench; ``close`` ends what it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # By name and value, for the plot: how a part's numbers went over time.
        self.series: dict[str, list[dict[str, float]]] = {}

    @cached_property
    def cluster(self) -> RawApi:
        """The API server of a real cluster with the operator on it."""
        kubeconfig = os.environ.get("KUBECONFIG", "")
        if not os.path.exists(kubeconfig):
            raise NotMeasuredError("there is no cluster with the operator: run make up")
        api = RawApi(kubeconfig)
        try:
            api.get("/apis/api.practice.com/v1alpha1")
        except Exception as exc:
            raise NotMeasuredError(f"there is no cluster with the operator: run make up ({exc})") from exc
        return api

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """A namespace in the cluster, which goes with all that is in it."""
        name = f"bench-{uuid.uuid4().hex[:8]}"
        self.cluster.create("/api/v1/namespaces", {"metadata": {"name": name}})
        try:
            yield name
        finally:
            self.cluster.delete(f"/api/v1/namespaces/{name}")

    @cached_property
    def control_plane(self) -> ControlPlane:
        """An etcd and an API server with nothing behind them."""
        from support.api.control_plane import ControlPlane

        folder = self.folder / "control-plane"
        folder.mkdir()
        try:
            return ControlPlane(folder)
        except FileNotFoundError as exc:
            raise NotMeasuredError(str(exc)) from exc

    def close(self) -> None:
        """End what was started."""
        if "control_plane" in self.__dict__:
            self.control_plane.stop()


def use_few_cores() -> int:
    """Keep this process, and all that it starts, on as many cores as the targets are for; return how many it got."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    os.sched_setaffinity(0, cores)
    return len(cores)
