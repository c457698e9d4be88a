"""Which events are worth a run, and the reason given."""

from typing import Any

import pytest

from taskflow_controller.predicates import dependent_reason, keep_only, primary_reason


def widget(generation: int | None = 1, **metadata: Any) -> dict[str, Any]:
    return {"kind": "Widget", "metadata": {"name": "w", "generation": generation, **metadata}}


def pod(version: str = "1", **status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "resourceVersion": version, "managedFields": [version]}
    return {"kind": "Pod", "metadata": metadata, "spec": {"a": 1}, "status": status}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, widget(), "Widget seen for the first time"),
        (widget(), widget(resourceVersion="2", labels={"a": "b"}), None),
        (widget(1), widget(2), "Widget generation 1 -> 2"),
        (widget(), widget(deletionTimestamp="now"), "Widget is being deleted"),
        (widget(deletionTimestamp="now"), widget(deletionTimestamp="now"), None),
        (widget(None, resourceVersion="1"), widget(None, resourceVersion="2"), "Widget changed"),
        (widget(None, resourceVersion="1"), widget(None, resourceVersion="1"), None),
        (widget(), widget(annotations={"a": "b"}), None),
    ],
)
def test_primary(old: dict[str, Any] | None, new: dict[str, Any], reason: str | None) -> None:
    assert primary_reason(old, new, watch_annotations=False) == reason


def test_primary_annotations_if_asked() -> None:
    assert primary_reason(widget(), widget(annotations={"a": "b"}), watch_annotations=True) is not None
    assert primary_reason(widget(annotations=None), widget(annotations={}), watch_annotations=True) is None


@pytest.mark.parametrize(
    ("old", "new", "fields", "reason"),
    [
        (None, pod(), None, None),
        (None, pod(), ("status.phase",), "Pod p seen for the first time"),
        (pod(), None, ("status.phase",), "Pod p deleted"),
        (pod(phase="A"), pod("2", phase="A"), ("status.phase",), None),
        (pod(phase="A"), pod("2", phase="B"), ("status.phase", "spec"), "Pod p status.phase changed"),
        (pod(), pod("2", phase="B"), ("status.phase",), "Pod p status.phase changed"),
        (pod(), pod("2"), ("status.phase", "none.at.all"), None),
        (pod(phase="A"), pod("2", phase="B"), None, None),
        (pod(), {**pod("2"), "spec": {"a": 2}}, None, "Pod p changed"),
    ],
)
def test_dependent(
    old: dict[str, Any] | None, new: dict[str, Any] | None, fields: tuple[str, ...] | None, reason: str | None
) -> None:
    assert dependent_reason(old, new, fields=fields) == reason


def test_keep_only_keeps_what_predicates_and_owner_look_up_need() -> None:
    obj = pod(phase="A", podIP="1")
    obj["metadata"]["ownerReferences"] = ["o"]
    keep_only(obj, ("status.phase", "metadata.deletionTimestamp"))
    metadata = {"name": "p", "resourceVersion": "1", "ownerReferences": ["o"]}
    assert obj == {"kind": "Pod", "metadata": metadata, "status": {"phase": "A"}}
    obj = pod(phase="A")
    keep_only(obj, None)
    assert obj == {"kind": "Pod", "metadata": {"name": "p", "resourceVersion": "1"}, "spec": {"a": 1}}
