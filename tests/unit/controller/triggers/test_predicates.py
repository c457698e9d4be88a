"""Which events are worth a run, and the reason given."""

from typing import Any

import pytest

from taskflow_controller.kube.field_paths import FieldPath
from taskflow_controller.triggers.predicates import dependent_reason, keep_only, primary_reason

PHASE, SPEC = ("status", "phase"), ("spec",)


def widget(generation: int | None = 1, **metadata: Any) -> dict[str, Any]:
    return {"kind": "Widget", "metadata": {"name": "w", "generation": generation, **metadata}}


def pod(version: str = "1", **status: Any) -> dict[str, Any]:
    metadata = {"name": "p", "resourceVersion": version, "managedFields": [version]}
    return {"kind": "Pod", "metadata": metadata, "spec": {"a": 1}, "status": status}


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (None, widget(), "Widget seen for the first time"),
        (widget(), widget(resourceVersion="2", managedFields=[1]), None),
        (widget(), widget(labels={"a": "b"}), None),
        (widget(), widget(finalizers=["a/b"]), None),
        (widget(finalizers=["a/b"]), widget(finalizers=[]), None),
        (widget(), widget(ownerReferences=[{"uid": "u"}]), None),
        (widget(), {**widget(), "status": {"a": 1}}, None),
        (widget(), widget(annotations={"a": "b"}), None),
        (widget(1), widget(2), "Widget generation 1 -> 2"),
        (widget(1), widget(2, annotations={"a": "b"}), "Widget generation 1 -> 2"),
        (widget(), widget(deletionTimestamp="now", finalizers=["a/b"]), "Widget is being deleted"),
        (widget(), widget(2, deletionTimestamp="now"), "Widget is being deleted"),
        (widget(deletionTimestamp="now"), widget(deletionTimestamp="now", finalizers=["a/b"]), None),
    ],
)
def test_primary(old: dict[str, Any] | None, new: dict[str, Any], reason: str | None) -> None:
    assert primary_reason(old, new, watch_annotations=False) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"resourceVersion": "2", "managedFields": [1]}, None),
        ({"finalizers": ["a/b"]}, None),
        ({"ownerReferences": [{"uid": "u"}]}, None),
        ({"annotations": {}}, None),
        ({"annotations": {"a": "b"}}, "Widget changed"),
        ({"labels": {"a": "b"}}, "Widget changed"),
        ({"deletionTimestamp": "now"}, "Widget is being deleted"),
    ],
)
@pytest.mark.parametrize("generation", [None, 0])
def test_primary_without_generation(generation: int | None, change: dict[str, Any], reason: str | None) -> None:
    before = widget(generation, resourceVersion="1", annotations=None)
    after = widget(generation, **{"resourceVersion": "1", "annotations": None, **change})
    assert primary_reason(before, after, watch_annotations=False) == reason


@pytest.mark.parametrize("field", ["data", "status"])
def test_primary_without_generation_runs_for_its_content(field: str) -> None:
    before, after = ({**widget(None), field: {"a": number}} for number in (1, 2))
    assert primary_reason(before, after, watch_annotations=False) == "Widget changed"


def test_primary_annotations_if_asked() -> None:
    reason = primary_reason(widget(), widget(annotations={"a": "b"}), watch_annotations=True)
    assert reason == "Widget annotations changed"
    assert primary_reason(widget(annotations=None), widget(annotations={}), watch_annotations=True) is None
    assert primary_reason(widget(), widget(labels={"a": "b"}), watch_annotations=True) is None


@pytest.mark.parametrize(
    ("old", "new", "fields", "reason"),
    [
        (None, pod(), None, None),
        (None, pod(), (PHASE,), "Pod p seen for the first time"),
        (pod(), None, (PHASE,), "Pod p deleted"),
        (pod(), None, None, "Pod p deleted"),
        (pod(phase="A"), pod("2", phase="A", other="B"), (PHASE,), None),
        (pod(phase="A"), pod("2", phase="B"), (PHASE, SPEC), "Pod p status.phase changed"),
        (pod(phase="A"), {**pod("2", phase="B"), "spec": 2}, (PHASE, SPEC), "Pod p status.phase, spec changed"),
        (pod(), pod("2", phase="B"), (PHASE,), "Pod p status.phase changed"),
        (pod(phase="A"), pod("2"), (PHASE,), "Pod p status.phase changed"),
        (pod(), pod("2"), (PHASE, ("none", "at", "all")), None),
        (pod(phase="A"), pod("2", phase="B"), None, None),
        (pod(), {**pod("2"), "spec": {"a": 2}}, None, "Pod p changed"),
    ],
)
def test_dependent(
    old: dict[str, Any] | None, new: dict[str, Any] | None, fields: tuple[FieldPath, ...] | None, reason: str | None
) -> None:
    assert dependent_reason(old, new, fields=fields) == reason


@pytest.mark.parametrize("change", ["labels", "annotations", "finalizers", "ownerReferences", "deletionTimestamp"])
def test_dependent_metadata_counts(change: str) -> None:
    new = pod("2")
    new["metadata"][change] = ["x"]
    assert dependent_reason(pod(), new, fields=None) == "Pod p changed"


def test_keep_only_keeps_what_predicates_and_owner_look_up_need() -> None:
    obj = pod(phase="A", podIP="1")
    annotations = {"operator-sdk/primary-resource": "ns/w", "operator-sdk/primary-resource-type": "Widget.example.com"}
    obj["metadata"].update(ownerReferences=["o"], annotations={**annotations, "other": "x"})
    keep_only(obj, (PHASE, ("metadata", "deletionTimestamp")))
    metadata = {"name": "p", "resourceVersion": "1", "ownerReferences": ["o"], "annotations": annotations}
    assert obj == {"kind": "Pod", "metadata": metadata, "status": {"phase": "A"}}
    obj = pod(phase="A")
    keep_only(obj, None)
    assert obj == {"kind": "Pod", "metadata": {"name": "p", "resourceVersion": "1"}, "spec": {"a": 1}}
