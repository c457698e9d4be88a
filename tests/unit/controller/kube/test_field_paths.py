"""Paths to fields."""

import pytest

from taskflow_controller.kube.field_paths import MISSING, FieldPath, only, parse_path, path_text, value_at


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec", ("spec",)),
        ("status.phase", ("status", "phase")),
        ("metadata.annotations[example.com/x]", ("metadata", "annotations", "example.com/x")),
        ("data[a.b].c", ("data", "a.b", "c")),
        ("metadata.annotations.operator-sdk/x", ("metadata", "annotations", "operator-sdk/x")),
    ],
)
def test_path_and_its_text(text: str, path: FieldPath) -> None:
    assert parse_path(text) == path
    assert path_text(path) == text


def test_brackets_where_none_are_needed() -> None:
    assert parse_path("[data][x]") == ("data", "x")


@pytest.mark.parametrize("text", ["", ".", "a..b", ".a", "a.", "a[", "a[]", "a]b", "a[b]c", "a.[b]", "a[b[c]]"])
def test_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="is not a path such as"):
        parse_path(text)


def test_value_at() -> None:
    obj = {"a": {"b.c": None, "list": [{"x": 1}]}}
    assert value_at(obj, ("a", "b.c")) is None
    assert value_at(obj, ("a", "list")) == [{"x": 1}]
    for path in (("b",), ("a", "b"), ("a", "b.c", "d"), ("a", "list", "x")):
        assert value_at(obj, path) is MISSING


def test_only_keeps_the_fields_and_leaves_the_object_alone() -> None:
    obj = {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4}
    assert only(obj, [("a", "b", "c"), ("none", "x"), ("f", "x")]) == {"a": {"b": {"c": 1}}}
    assert only(obj, [("a", "b", "c"), ("a", "b"), ("a", "e")]) == {"a": {"b": {"c": 1, "d": 2}, "e": 3}}
    assert obj == {"a": {"b": {"c": 1, "d": 2}, "e": 3}, "f": 4}
