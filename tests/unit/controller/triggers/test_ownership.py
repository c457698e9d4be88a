"""The rules by which an object names its owner, and by which owners are found."""

import copy
from typing import Any

import pytest

from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.triggers.ownership import OwnerName, names_owner, owner_names, with_owner

WIDGET = GroupVersionKind("example.com", "v1", "Widget")
REFERENCE = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u1"}
ANNOTATIONS = {
    "operator-sdk/primary-resource": "ns/w",
    "operator-sdk/primary-resource-type": "Widget.example.com",
}


def widget(namespace: str = "ns") -> dict[str, Any]:
    metadata = {"name": "w", "uid": "u1", **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata}


@pytest.mark.parametrize(
    ("owner_namespace", "namespace", "namespaced", "by"),
    [
        ("ns", "ns", True, "reference"),
        ("ns", "other", True, "annotations"),
        ("ns", "", False, "annotations"),  # a cluster-scoped object of a namespaced owner
        ("", "other", True, "reference"),
        ("", "", False, "reference"),
        ("ns", "ns", False, "annotations"),  # a kind without namespaces is in none
    ],
)
def test_how_an_owner_is_named(owner_namespace: str, namespace: str, namespaced: bool, by: str) -> None:
    before = {"metadata": {"generateName": "a-", "labels": {"a": "b"}}, "data": {"x": "y"}}
    obj = copy.deepcopy(before)
    marked = with_owner(obj, widget(owner_namespace), namespace=namespace, namespaced=namespaced)
    added = {"ownerReferences": [REFERENCE]} if by == "reference" else {"annotations": ANNOTATIONS}
    assert marked == {**before, "metadata": {**before["metadata"], **added}}
    assert obj == before


def test_what_is_there_stays() -> None:
    other = {"apiVersion": "v1", "kind": "ConfigMap", "name": "w", "uid": "u2"}
    obj = {"metadata": {"ownerReferences": [other], "annotations": {"a": "b"}}}
    marked = with_owner(obj, widget(), namespace="ns", namespaced=True)
    assert marked["metadata"] == {"ownerReferences": [other, REFERENCE], "annotations": {"a": "b"}}
    marked = with_owner(obj, widget(), namespace="elsewhere", namespaced=True)
    assert marked["metadata"] == {"ownerReferences": [other], "annotations": {"a": "b", **ANNOTATIONS}}


@pytest.mark.parametrize("metadata", [None, {}, {"ownerReferences": None, "annotations": None}])
@pytest.mark.parametrize("namespace", ["ns", "other"])
def test_metadata_that_is_empty(metadata: Any, namespace: str) -> None:
    marked = with_owner({"metadata": metadata}, widget(), namespace=namespace, namespaced=True)
    assert [*owner_names(marked, WIDGET)]
    assert with_owner({}, widget(), namespace=namespace, namespaced=True)["metadata"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"ownerReferences": [{**REFERENCE, "controller": True, "apiVersion": "example.com/v2"}]}, True),
        ({"ownerReferences": [{**REFERENCE, "uid": "of an earlier w"}]}, False),
        ({"namespace": "other", "annotations": ANNOTATIONS}, True),
        ({"annotations": {**ANNOTATIONS, "operator-sdk/primary-resource": "ns/other"}}, False),
    ],
)
def test_an_owner_is_not_named_twice(metadata: dict[str, Any], expected: bool) -> None:
    obj = {"metadata": metadata}
    assert names_owner(obj, widget()) is expected
    assert (with_owner(obj, widget(), namespace="ns", namespaced=True) is obj) is expected


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        (None, []),
        ({"namespace": "ns", "ownerReferences": [REFERENCE]}, [("ns", "w", "u1"), ("", "w", "u1")]),
        ({"ownerReferences": [{**REFERENCE, "apiVersion": "example.com/v2"}]}, [("", "w", "u1")]),
        ({"ownerReferences": [{**REFERENCE, "kind": "Other"}]}, []),
        ({"ownerReferences": [{**REFERENCE, "apiVersion": "v1"}]}, []),
        ({"ownerReferences": ["odd", {"kind": "Widget"}]}, []),
        ({"annotations": ANNOTATIONS}, [("ns", "w", "")]),
        ({"annotations": {**ANNOTATIONS, "operator-sdk/primary-resource": "w"}}, [("", "w", "")]),
        ({"annotations": {**ANNOTATIONS, "operator-sdk/primary-resource": ""}}, []),
        ({"annotations": {**ANNOTATIONS, "operator-sdk/primary-resource-type": "Widget"}}, []),
        ({"annotations": {"operator-sdk/primary-resource": "ns/w"}}, []),
    ],
)
def test_the_owners_that_an_object_names(metadata: Any, names: list[tuple[str, str, str]]) -> None:
    assert [*owner_names({"metadata": metadata}, WIDGET)] == [OwnerName(*name) for name in names]


def test_the_controlling_owner_only() -> None:
    obj = {"metadata": {"ownerReferences": [REFERENCE, {**REFERENCE, "name": "x", "uid": "u2", "controller": True}]}}
    assert [name.name for name in owner_names(obj, WIDGET, controlling=True)] == ["x"]
    assert [name.name for name in owner_names(obj, WIDGET)] == ["w", "x"]


def test_an_owner_of_the_core_group() -> None:
    owner = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "ns", "name": "s", "uid": "u"}}
    marked = with_owner({}, owner, namespace="other", namespaced=True)
    assert marked["metadata"]["annotations"]["operator-sdk/primary-resource-type"] == "Secret"
    assert [*owner_names(marked, GroupVersionKind("", "v1", "Secret"))] == [OwnerName("ns", "s")]
