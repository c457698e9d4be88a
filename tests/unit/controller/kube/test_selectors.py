"""Label selectors: as a query, and a query applied to labels."""

from typing import Any

import pytest

from taskflow_controller.kube.selectors import parse_selector, selector_string


def expression(**fields: Any) -> dict[str, Any]:
    return {"matchExpressions": [{"key": "a", **fields}]}


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        ({}, ""),
        ({"matchLabels": None, "matchExpressions": None}, ""),
        ({"matchLabels": {"a": "b", "example.com/c": "D.e_f-1", "g": ""}}, "a=b,example.com/c=D.e_f-1,g="),
        (expression(operator="In", values=["b", "c"]), "a in (b,c)"),
        (expression(operator="NotIn", values=["b"]), "a notin (b)"),
        (expression(operator="Exists"), "a"),
        (expression(operator="DoesNotExist", values=[]), "!a"),
        ({"matchLabels": {"z": "1"}, **expression(operator="Exists")}, "z=1,a"),
    ],
)
def test_query(selector: dict[str, Any], query: str) -> None:
    assert selector_string(selector) == query


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ({"app": "x"}, "unknown key 'app'; the keys are matchLabels and matchExpressions"),
        ({"matchLabels": ["a"]}, "matchLabels must map label names to strings"),
        ({"matchLabels": {"a": 1}}, "matchLabels must map label names to strings"),
        ({"matchLabels": {"a b": "c"}}, "'a b' can't be the name of a label"),
        ({"matchLabels": {"a": "b,c"}}, "'b,c' can't be the value of the label 'a'"),
        ({"matchLabels": {"a": "b" * 64}}, "can't be the value of the label 'a'"),
        ({"matchExpressions": {"key": "a"}}, "matchExpressions must be a list"),
        ({"matchExpressions": ["a"]}, "each of matchExpressions needs a key and an operator"),
        ({"matchExpressions": [{"operator": "Exists"}]}, "each of matchExpressions needs a key"),
        (expression(operator="Exists", value="x"), "unknown key 'value' in matchExpressions"),
        (expression(operator="In"), "operator In of key 'a' needs a list of strings in values"),
        (expression(operator="NotIn", values=[1]), "operator NotIn of key 'a' needs a list of strings"),
        (expression(operator="In", values=["b)"]), r"'b\)' can't be the value of the label 'a'"),
        (expression(operator="Exists", values=["b"]), "operator Exists of key 'a' takes no values"),
        (expression(operator="exists"), "operator 'exists' of key 'a' is not one of In, NotIn, Exists, DoesNotExist"),
        (expression(), "operator None of key 'a' is not one of"),
    ],
)
def test_refused(selector: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        selector_string(selector)


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("", [{}, {"a": "b"}], []),
        ("a=b", [{"a": "b"}], [{}, {"a": "c"}]),
        ("a==b , c=d", [{"a": "b", "c": "d"}], [{"a": "b"}]),
        ("a=", [{"a": ""}], [{}, {"a": "b"}]),
        ("a!=b", [{}, {"a": "c"}], [{"a": "b"}]),
        ("example.com/a in (b, c),d", [{"example.com/a": "c", "d": ""}], [{"example.com/a": "d", "d": ""}]),
        ("a notin (b,c)", [{}, {"a": "d"}], [{"a": "b"}, {"a": "c"}]),
        ("a", [{"a": ""}], [{}]),
        ("!a", [{}], [{"a": ""}]),
        ("in", [{"in": ""}], [{}]),
    ],
)
def test_what_a_query_selects(text: str, matching: list[dict[str, str]], other: list[dict[str, str]]) -> None:
    matches = parse_selector(text)
    assert matches
    assert all(matches(labels) for labels in matching) and not any(matches(labels) for labels in other)


@pytest.mark.parametrize("text", ["a>1", "a in b", "=b", "a=b=c", "a,,b", "a in (b", "(a)"])
def test_what_is_no_query_here(text: str) -> None:
    assert parse_selector(text) is None
