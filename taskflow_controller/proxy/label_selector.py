"""Label selectors in a query, applied to labels. Pure functions."""

import re
from collections.abc import Callable, Mapping

Matcher = Callable[[Mapping[str, str]], bool]

_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9./_-]*)"
_EQUALITY = re.compile(rf"{_KEY}\s*(?P<operator>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*)")
_SET = re.compile(rf"{_KEY}\s+(?P<operator>in|notin)\s*\((?P<values>[A-Za-z0-9._,\s-]*)\)")
_EXISTENCE = re.compile(rf"(?P<operator>!?)\s*{_KEY}")
_COMMA_OUTSIDE = re.compile(r",(?![^(]*\))")


def parse_selector(text: str) -> Matcher | None:
    """Return what tells whether labels match a selector, None if it is not one that is understood here."""
    terms = [term.strip() for term in _COMMA_OUTSIDE.split(text)] if text.strip() else []
    matchers = [_matcher(term) for term in terms]
    understood = [matcher for matcher in matchers if matcher is not None]
    if len(understood) != len(matchers):
        return None
    return lambda labels: all(matches(labels) for matches in understood)


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
    """A label that is not there is among no values."""
    return lambda labels: (key in labels and labels[key] in values) is wanted
