"""Variables that the command gets beside those of its container."""

import sys

import pytest

SHOW = ["--command", "sh", "-c", "cat /proc/$$/environ; :"]
EXECVE = """
import ctypes, sys
def array(items): return (ctypes.c_char_p * (len(items) + 1))(*items, None)
arguments = [word.encode() for word in sys.argv[1:]]
ctypes.CDLL(None).execve(arguments[0], array(arguments), array({environment!r}))
"""


def shown(step):
    return step.output.split(b"\0")[:-1]


def test_they_are_added_and_the_rest_is_untouched(pod):
    environment = [b"PATH=/usr/bin:/bin", b"SET=old", b"=nameless", b"odd", b"TWICE=1", b"SET=twice", b"TWICE=2"]
    prefix = [sys.executable, "-I", "-c", EXECVE.format(environment=environment)]
    flags = ["--env", "NEW=a=b c\n", "--env", "SET=new", "--env", "EMPTY="]
    step = pod.run(*flags, *SHOW, prefix=prefix)
    assert step.errors == b""
    rest = [b"PATH=/usr/bin:/bin", b"=nameless", b"odd", b"TWICE=1", b"TWICE=2"]
    assert shown(step) == [*rest, b"NEW=a=b c\n", b"SET=new", b"EMPTY="]


def test_the_last_of_a_name_counts(pod):
    assert shown(pod.run("--env", "A=1", "--env", "A=2", *SHOW, env={})) == [b"A=2"]


@pytest.mark.parametrize("text", [b"\xff\xfe", "é世".encode(), b"{m:a/x}", b"$HOME '\""])
def test_their_text_arrives_byte_for_byte(pod, text):
    assert shown(pod.run("--env", b"A=" + text, *SHOW, env={})) == [b"A=" + text]


def test_programs_are_looked_for_in_the_path_that_is_given(pod, tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\necho found\n")
    (tmp_path / "tool").chmod(0o755)
    step = pod.run("--env", f"PATH={tmp_path}", "--command", "tool")
    assert step.output == b"found\n"


def test_every_try_gets_them_once(pod):
    step = pod.run("--retries", "2", "--env", "A=1", "--command", "sh", "-c", "cat /proc/$$/environ; exit 1", env={})
    assert shown(step) == [b"A=1"] * 3
