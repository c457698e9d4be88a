"""A LabelSelector as the API server's ``labelSelector`` query wants it."""

import re
from collections.abc import Mapping
from typing import Any

_DNS_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_PLAIN_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
QUALIFIED_NAME = re.compile(rf"({_DNS_NAME}/)?{_PLAIN_NAME}")
"""What the API server takes as the name of a label, an annotation or a finalizer."""
_LABEL_VALUE = re.compile(rf"({_PLAIN_NAME})?")
_SELECTOR_KEYS = {"matchLabels", "matchExpressions"}
_EXPRESSION_KEYS = {"key", "operator", "values"}


def selector_string(selector: Mapping[str, Any]) -> str:
    """Turn a LabelSelector (matchLabels, matchExpressions) into a query string.

    Raises ValueError with a plain text for anything the API server would not take.
    """
    unknown = set(selector) - _SELECTOR_KEYS
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}; there are matchLabels and matchExpressions")
    labels = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("matchLabels must map label names to strings")
    if not isinstance(expressions, list):
        raise ValueError("matchExpressions must be a list")
    terms = [f"{_name(key)}={_value(key, value)}" for key, value in labels.items()]
    return ",".join(terms + [_expression(expression) for expression in expressions])


def _expression(expression: object) -> str:
    if not isinstance(expression, Mapping) or not isinstance(expression.get("key"), str):
        raise ValueError("each of matchExpressions needs a key and an operator")
    unknown = set(expression) - _EXPRESSION_KEYS
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r} in matchExpressions; there are key, operator and values")
    key = _name(expression["key"])
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise ValueError(f"operator {operator} of key {key!r} needs a list of strings in values")
        return f"{key} {operator.lower()} ({','.join(_value(key, value) for value in values)})"
    if operator not in ("Exists", "DoesNotExist"):
        raise ValueError(f"operator {operator!r} of key {key!r} is none of In, NotIn, Exists, DoesNotExist")
    if values:
        raise ValueError(f"operator {operator} of key {key!r} takes no values")
    return key if operator == "Exists" else f"!{key}"


def _name(key: str) -> str:
    if not QUALIFIED_NAME.fullmatch(key):
        raise ValueError(f"{key!r} can't be the name of a label")
    return key


def _value(key: str, value: str) -> str:
    if not _LABEL_VALUE.fullmatch(value):
        raise ValueError(f"{value!r} can't be the value of the label {key!r}")
    return value
