"""Pull secrets: what is read from them, and which images it is for."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.taskflow.operator.plugins.module_utils._image import credentials as c


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def secret(content: object, kind: str = "kubernetes.io/dockerconfigjson") -> dict:
    return {"type": kind, "data": {c.DATA_KEYS[kind]: encode(json.dumps(content))}}


def for_key(key: str, name: str = "s") -> c.Credential:
    return c.Credential(name, c.normalise_key(key), "user-" + key, "word")


def test_both_types_of_pull_secret_are_read():
    entries = {"https://registry.example.com": {"auth": encode("me:pass:word"), "email": "x@example.com"}}
    expected = ([c.Credential("s", "registry.example.com", "me", "pass:word")], [])
    assert c.read_secret("s", secret({"auths": entries, "credsStore": "desktop"})) == expected
    assert c.read_secret("s", secret(entries, "kubernetes.io/dockercfg")) == expected


@pytest.mark.parametrize(
    ("entry", "user"),
    [
        ({"username": "u", "password": "p"}, ("u", "p")),
        ({"username": "u", "password": "p", "auth": encode("a:b")}, ("a", "b")),
        ({"username": "u"}, ("u", "")),
        ({"auth": encode("u:p"), "identitytoken": "t"}, ("u", "p")),
    ],
)
def test_user_and_password_stand_alone_or_in_auth(entry, user):
    credentials, problems = c.read_secret("s", secret({"auths": {"r.example": entry}}))
    assert ([(found.username, found.password) for found in credentials], problems) == ([user], [])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"auth": encode("no colon SECRET")}, "its auth is not USER:PASSWORD in base64"),
        ({"auth": "SECRET!"}, "its auth is not USER:PASSWORD in base64"),
        ({"auth": 7}, "its auth is not USER:PASSWORD in base64"),
        ({"auth": encode("u:"), "identitytoken": "SECRET"}, "it holds an identity token only, which is not supported"),
        ({"identitytoken": "SECRET"}, "it holds an identity token only, which is not supported"),
        ({"password": "SECRET"}, "it holds no user name and password"),
        ({}, "it holds no user name and password"),
        ("SECRET", "its entry is no JSON object"),
    ],
)
def test_an_entry_of_no_use_is_named_without_what_it_holds(entry, words):
    content = {"auths": {"https://r.example/v1/": entry, "good": {"auth": encode("u:p")}}}
    credentials, problems = c.read_secret("s", secret(content))
    assert [found.key for found in credentials] == ["good"]
    assert problems == [f'pull secret "s" is of no use for r.example: {words}']


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"type": "Opaque", "data": {}}, 'pull secret "s" is of type Opaque, not kubernetes.io/dockerconfigjson or'),
        ({"type": "kubernetes.io/dockerconfigjson"}, 'pull secret "s" holds no Docker configuration under .dockerconf'),
        (
            {"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "%"}},
            "holds no Docker configuration under .docker",
        ),
        (secret([]), "holds no Docker configuration"),
        (secret({"auths": ["x"]}), "holds no Docker configuration"),
    ],
)
def test_a_secret_of_no_use_is_named(broken, words):
    credentials, (problem,) = c.read_secret("s", broken)
    assert credentials == []
    assert words in problem


def test_a_secret_without_entries_is_no_problem():
    assert c.read_secret("s", secret({"auths": {}})) == ([], [])
    assert c.read_secret("s", secret({})) == ([], [])


def test_a_credentials_text_tells_no_secret():
    text = repr(c.Keyring((c.Credential("s", "k", "USERNAME", "PASSWORD"),)))
    assert "USERNAME" not in text
    assert "PASSWORD" not in text


@pytest.mark.parametrize(
    ("key", "normal"),
    [
        ("r.example", "r.example"),
        ("https://r.example", "r.example"),
        ("http://r.example:5000/", "r.example:5000"),
        ("https://index.docker.io/v1/", "index.docker.io"),
        ("r.example/v2/", "r.example"),
        ("https://r.example/v1/team", "r.example/team"),
        ("r.example/team/x", "r.example/team/x"),
        ("https://user:word@r.example", "r.example"),
        ("https://[x", "[x"),
    ],
)
def test_scheme_and_version_of_a_key_mean_nothing(key, normal):
    assert c.normalise_key(key) == normal


# Most of these are what the tests of the kubelet's keyring say.
@pytest.mark.parametrize(
    ("key", "host", "repository", "matches"),
    [
        ("r.example", "r.example", "x", True),
        ("https://r.example/v1/", "r.example", "team/x", True),
        ("r.example", "s.example", "x", False),
        ("r.example", "r.example.org", "x", False),
        ("r.example", "r.example:5000", "x", False),
        ("r.example:5000", "r.example", "x", False),
        ("r.example:5000", "r.example:5000", "x", True),
        ("r.example:5000", "r.example:50000", "x", False),
        ("r.example/team", "r.example", "team/x", True),
        ("r.example/team/", "r.example", "team/x", True),
        ("r.example/team", "r.example", "other/x", False),
        ("r.example/team", "r.example", "team2/x", True),  # the kubelet compares spellings, not words
        ("*.example", "r.example", "x", True),
        ("*.example", "a.r.example", "x", False),
        ("*.*.example", "a.r.example", "x", True),
        ("prefix*.example", "prefix-1.example", "x", True),
        ("*.example:5000/team", "r.example:5000", "team/x", True),
        ("*.example:5000/team", "r.example", "team/x", False),
        ("*", "r.example", "x", False),
        ("r[0-9].example", "r1.example", "x", True),
        ("[::1]:5000", "[::1]:5000", "x", True),
        ("[::1]", "[::1]:5000", "x", False),
        ("https://index.docker.io/v1/", "docker.io", "library/busybox", True),
        ("index.docker.io", "docker.io", "team/x", True),
        ("docker.io", "docker.io", "library/busybox", True),
        ("docker.io/team", "docker.io", "team/x", True),
        ("docker.io/team", "docker.io", "library/x", False),
        ("https://index.docker.io/v1/", "mirror.example", "library/busybox", False),
        ("registry-1.docker.io", "docker.io", "library/busybox", False),
        ("*.docker.io", "docker.io", "library/busybox", False),
    ],
)
def test_keys_match_as_the_kubelet_has_it(key, host, repository, matches):
    assert bool(c.matching([for_key(key)], host, repository)) is matches


def test_the_most_specific_comes_first_and_the_others_after_it():
    keys = ["r.example", "*.example", "r.example/a", "r.example/a/b", "index.docker.io", "r.example/c"]
    found = c.matching([for_key(key) for key in keys], "r.example", "a/b/x")
    assert [credential.key for credential in found] == ["r.example/a/b", "r.example/a", "r.example", "*.example"]


def test_secrets_with_the_same_key_are_tried_in_their_order():
    found = c.matching([for_key("r.example", "one"), for_key("r.example", "two")], "r.example", "x")
    assert [credential.secret for credential in found] == ["one", "two"]
