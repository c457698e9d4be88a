"""Label selectors: turns a LabelSelector into the API server's query form, and applies such a query to labels. Pure."""

import re
from collections.abc import Callable, Mapping
from typing import Any

Matcher = Callable[[Mapping[str, str]], bool]
"""Returns whether labels match a selector."""

_DNS_NAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_PLAIN_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
QUALIFIED_NAME = re.compile(rf"({_DNS_NAME}/)?{_PLAIN_NAME}")
"""The names of labels, annotations and finalizers that the API server accepts."""
_LABEL_VALUE = re.compile(rf"({_PLAIN_NAME})?")
_SELECTOR_KEYS = {"matchLabels", "matchExpressions"}
_EXPRESSION_KEYS = {"key", "operator", "values"}

# The terms of a query.
_TERM_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9./_-]*)"
_EQUALITY = re.compile(rf"{_TERM_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)")
_SET = re.compile(rf"{_TERM_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[A-Za-z0-9._,\s-]*)\)")
_EXISTENCE = re.compile(rf"(?P<operator>!?)\s*{_TERM_KEY}")
_COMMA_OUTSIDE = re.compile(r",(?![^(]*\))")


def selector_string(selector: Mapping[str, Any]) -> str:
    """Turn a LabelSelector (matchLabels, matchExpressions) into a query string.

    Raises:
        ValueError: the API server would not accept it. The text says why.
    """
    unknown = set(selector) - _SELECTOR_KEYS
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}; the keys are matchLabels and matchExpressions")
    labels = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or []
    if not isinstance(labels, Mapping) or not all(isinstance(value, str) for value in labels.values()):
        raise ValueError("matchLabels must map label names to strings")
    if not isinstance(expressions, list):
        raise ValueError("matchExpressions must be a list")
    terms = [f"{_name(key)}={_value(key, value)}" for key, value in labels.items()]
    return ",".join(terms + [_expression(expression) for expression in expressions])


def parse_selector(text: str) -> Matcher | None:
    """Turn a query string into a matcher; None if this module does not understand it."""
    terms = [term.strip() for term in _COMMA_OUTSIDE.split(text)] if text.strip() else []
    matchers = [_matcher(term) for term in terms]
    understood = [matcher for matcher in matchers if matcher is not None]
    if len(understood) != len(matchers):
        return None
    return lambda labels: all(matches(labels) for matches in understood)


def _expression(expression: object) -> str:
    if not isinstance(expression, Mapping) or not isinstance(expression.get("key"), str):
        raise ValueError("each of matchExpressions needs a key and an operator")
    unknown = set(expression) - _EXPRESSION_KEYS
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r} in matchExpressions; the keys are key, operator and values")
    key = _name(expression["key"])
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator in ("In", "NotIn"):
        if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
            raise ValueError(f"operator {operator} of key {key!r} needs a list of strings in values")
        return f"{key} {operator.lower()} ({','.join(_value(key, value) for value in values)})"
    if operator not in ("Exists", "DoesNotExist"):
        raise ValueError(f"operator {operator!r} of key {key!r} is not one of In, NotIn, Exists, DoesNotExist")
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


def _matcher(term: str) -> Matcher | None:
    if match := _EQUALITY.fullmatch(term):
        return _among(match["key"], {match["value"]}, wanted=match["operator"] != "!=")
    if match := _SET.fullmatch(term):
        values = {value.strip() for value in match["values"].split(",")}
        return _among(match["key"], values, wanted=match["operator"] == "in")
    if match := _EXISTENCE.fullmatch(term):
        key, wanted = match["key"], not match["operator"]
        return lambda labels: (key in labels) is wanted
    return None


def _among(key: str, values: set[str], *, wanted: bool) -> Matcher:
    # A missing label is among no values.
    return lambda labels: (key in labels and labels[key] in values) is wanted
