"""A LabelSelector as the API server's ``labelSelector`` query wants it."""

from collections.abc import Mapping
from typing import Any


def selector_string(selector: Mapping[str, Any]) -> str:
    """Turn a LabelSelector (matchLabels, matchExpressions) into a query string.

    Raises ValueError with a plain text for anything the API server would not take.
    """
    unknown = set(selector) - {"matchLabels", "matchExpressions"}
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}; there are matchLabels and matchExpressions")
    labels = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("matchLabels must map label names to strings")
    if not isinstance(expressions, list):
        raise ValueError("matchExpressions must be a list")
    terms = [f"{key}={value}" for key, value in labels.items()]
    return ",".join(terms + [_expression(expression) for expression in expressions])


def _expression(expression: object) -> str:
    if not isinstance(expression, Mapping) or not isinstance(expression.get("key"), str):
        raise ValueError("each of matchExpressions needs a key and an operator")
    key: str = expression["key"]
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise ValueError(f"operator {operator} of key {key!r} needs a list of strings in values")
        return f"{key} {operator.lower()} ({','.join(values)})"
    if operator == "Exists":
        return key
    if operator == "DoesNotExist":
        return f"!{key}"
    raise ValueError(f"operator {operator!r} of key {key!r} is none of In, NotIn, Exists, DoesNotExist")
