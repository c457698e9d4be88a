"""Results of earlier steps are put in where their marks stand, once and literally."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from taskflow_agent import fill, tries
from taskflow_agent.flags import StepOptions
from taskflow_agent.outcome import StepError

OPENING = "{m:"
PLAIN = st.text().filter(lambda text: OPENING not in text and not (OPENING[0] in text or OPENING[:2] in text))


def look_up(values):
    return lambda step, name: values[step, name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("nothing", "nothing"),
        ("{m:a/x}", "VALUE"),
        ("<{m:a/x}{m:a/x}>", "<VALUEVALUE>"),
        ("{n:a/x}", "{n:a/x}"),
        ("{m:a}", "{m:a}"),
        ("{m:a/x", "{m:a/x"),
        ("{m:", "{m:"),
        ("{m:{m:a/x}}", "{m:VALUE}"),
        ("{{m:a/x}}", "{VALUE}"),
        ("$(a/x) {m a/x}", "$(a/x) {m a/x}"),
    ],
)
def test_where_a_value_goes(text, expected):
    assert fill.filled(text, OPENING, look_up({("a", "x"): "VALUE"})) == expected


@given(PLAIN, st.text(), PLAIN, st.text(), PLAIN)
def test_a_value_is_put_in_literally_and_never_looked_at_again(start, first, middle, second, end):
    values = {("a", "x"): first, ("b", "y-z"): second}
    text = f"{start}{{m:a/x}}{middle}{{m:b/y-z}}{end}"
    assert fill.filled(text, OPENING, look_up(values)) == start + first + middle + second + end


def options_with(tmp_path, content):
    options = StepOptions()
    options.fill = "m"
    options.results_of = [("a", str(tmp_path / "done"))]
    options.arguments = ["echo", "{m:a/x}"]
    options.env = [("NAME", "<{m:a/x}>")]
    if content is not None:
        (tmp_path / "done").write_bytes(content)
    return options


def test_command_and_variables_are_filled(tmp_path):
    content = json.dumps({"state": "Succeeded", "exitCode": 0, "result.x": "{m:a/x}\n'"}, indent=1)
    options = options_with(tmp_path, content.encode())
    assert fill.fill_in(options, "m") == (["echo", "{m:a/x}\n'"], [("NAME", "<{m:a/x}\n'>")])


def test_without_a_mark_nothing_is_filled(tmp_path):
    options = options_with(tmp_path, None)
    options.fill = None
    assert tries.filled_in(options) == (options.arguments, options.env)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b'{"state":"Succeeded","exitCode":0}',
        b'{"state":"Succeeded","exitCode":0,"result.y":"other"}',
        b'{"state":"Succeeded","exitCode":0,"x":"no result"}',
        b'{"state":"Succeeded","exitCode":0,"result.x":1}',
        b'{"state":"Succeeded","exitCode":0,"result.x":"a\\u0000b"}',
        b'{"state":"Succeeded","exitCode":0,"result.x":"\\ud800"}',
        b'{"state":"Succeeded","exitCode":0,"result.x":"\\udcff"}',
    ],
)
def test_a_done_file_without_a_usable_result(tmp_path, content):
    with pytest.raises(StepError, match=r"^step 'a' wrote no result 'x'$") as caught:
        fill.fill_in(options_with(tmp_path, content), "m")
    assert (caught.value.outcome.reason, caught.value.outcome.exit_code) == ("ResultMissing", 1)


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b"{}", b'{"result.x":"1"}', b'{"result.x":{"y":1}}', b'{"result.x":"cut']
)
def test_a_damaged_done_file_is_named(tmp_path, content):
    with pytest.raises(StepError, match=f"^the done file {tmp_path}/done is damaged") as caught:
        fill.fill_in(options_with(tmp_path, content), "m")
    assert caught.value.outcome.reason == "BadDoneFile"


def test_an_unknown_step(tmp_path):
    options = options_with(tmp_path, b'{"state":"Succeeded","exitCode":0,"result.x":"value"}')
    options.arguments = ["{m:b/x}"]
    with pytest.raises(StepError, match="step 'b' wrote no result 'x'"):
        fill.fill_in(options, "m")
