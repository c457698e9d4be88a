"""A watch that has failed for long is told, one that fails for a moment is not."""

import pytest
from kubernetes.client.exceptions import ApiException

from taskflow_controller.kube import informers
from taskflow_controller.kube.informers import ResourceInformer, stuck_watches
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.kube.store import Store

WIDGET = GroupVersionKind("example.com", "v1", "Widget")


class Clock:
    """The module's time, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_stuck_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(informers, "time", clock)
    failing, fine = (
        ResourceInformer(None, WIDGET, on_change=lambda change: None, store=Store(), namespace=namespace)
        for namespace in ("a", "b")
    )
    failing._failed(ApiException(status=403, reason="Forbidden"))
    clock.now += 50
    failing._failed(ApiException(status=500, reason="Internal Server Error"))
    assert stuck_watches([failing, fine]) is None, "not yet"
    clock.now += 30
    problem = "cannot watch Widget (example.com/v1) in a for 80 s: HTTP 500: Internal Server Error"
    assert stuck_watches([failing, fine]) == problem
    failing._succeeded()
    assert stuck_watches([failing, fine]) is None
    failing._failed(ApiException(status=500, reason="x"))
    assert stuck_watches([failing, fine]) is None, "it counts anew"
