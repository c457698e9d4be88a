"""The small JSON agrees with Python's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent import flatjson

VALUES = st.one_of(st.text(), st.integers())
# Python escapes a character beyond these as two halves; nobody here writes such a thing.
BASIC_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))
OBJECTS = st.dictionaries(st.text(), VALUES)


@given(OBJECTS)
def test_python_reads_what_is_written(fields):
    written = flatjson.dumps(fields)
    assert json.loads(written) == fields
    assert b"\n" not in written


@given(
    st.dictionaries(BASIC_TEXT, st.one_of(BASIC_TEXT, st.integers())),
    st.booleans(),
    st.sampled_from([None, 1]),
)
def test_what_python_writes_is_read(fields, ascii_only, indent):
    written = json.dumps(fields, ensure_ascii=ascii_only, indent=indent)
    assert flatjson.loads(written.encode()) == fields


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"1", b'{"a"', b'{"a":', b'{"a":1', b'{"a":1,}', b'{"a":1}x', b'{"a":"\\q"}', b"\xff"],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        flatjson.loads(text)


def test_half_a_character_does_not_stop_a_report():
    assert json.loads(flatjson.dumps({"message": "a\udcffb"})) == {"message": "a?b"}
