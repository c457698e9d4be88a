"""Events out of the bytes of a watch."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.client.exceptions import ApiException
from support.api.fake_cluster import line

from taskflow_controller.kube.watch_events import decode, lines

WIDGET = {"kind": "Widget", "metadata": {"name": "ä→😀", "resourceVersion": "7"}}


@given(st.lists(st.integers(0, 400)))
def test_a_line_may_come_in_pieces_also_within_a_character(cuts: list[int]) -> None:
    events = [("ADDED", WIDGET), ("MODIFIED", {**WIDGET, "spec": {"a": "ü" * 20}}), ("BOOKMARK", WIDGET)]
    whole = b"".join(line(*event) for event in events)
    borders = sorted({0, len(whole), *(cut for cut in cuts if cut < len(whole))})
    pieces = [whole[start:end] for start, end in itertools.pairwise(borders)]
    assert [decode(each) for each in lines(pieces)] == events


def test_empty_lines_and_a_line_without_an_end_are_no_lines() -> None:
    assert list(lines([b"\n a\n", b"\r\n", b"", b"b", b"\n\n", b"half"])) == [b" a", b"b"]
    assert list(lines([])) == []


def test_what_is_no_utf_8_is_replaced() -> None:
    bad = line("ADDED", WIDGET).replace("😀".encode(), b"\xf0\x9f")
    assert decode(bad)[1]["metadata"]["name"] == "ä→\ufffd"


@pytest.mark.parametrize(
    "bad",
    [
        b"no JSON",
        b"{",
        b"[]",
        b"null",
        b'{"type": "ADDED"}',
        b'{"type": "ADDED", "object": null}',
        b'{"type": "ERROR", "object": []}',
        b'{"type": "ADDED", "object": {"metadata": {}}}',
        b'{"type": "ADDED", "object": {"metadata": {"resourceVersion": 5}}}',
        b'{"type": "SYNCED", "object": {"metadata": {"resourceVersion": "5"}}}',
    ],
)
def test_what_is_no_event(bad: bytes) -> None:
    with pytest.raises(ValueError):
        decode(bad)


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        ({"code": 410, "reason": "Expired", "message": "too old"}, 410, "Expired: too old"),
        ({}, None, "None: None"),
    ],
)
def test_an_error_of_the_server(status: dict[str, Any], code: int | None, cause: str) -> None:
    with pytest.raises(ApiException) as caught:
        decode(json.dumps({"type": "ERROR", "object": status}).encode())
    assert (caught.value.status, caught.value.reason) == (code, cause)
