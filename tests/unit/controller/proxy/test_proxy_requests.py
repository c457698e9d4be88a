"""What a request to the API is about."""

from urllib.parse import urlsplit

import h11
import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from taskflow_controller.kube.selectors import parse_selector
from taskflow_controller.proxy.bodies import media_type, objects_in, read_object
from taskflow_controller.proxy.headers import Headers, end_to_end, for_upstream
from taskflow_controller.proxy.protobuf import MEDIA_TYPE, add_owner
from taskflow_controller.proxy.requests import ResourcePath, is_long_running, is_watch, parse_path
from taskflow_controller.triggers.ownership import with_owner

OWNER = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"namespace": "ns", "name": "w", "uid": "u1"}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/x/pods/y/log", ("", "v1", "pods", "x", "y", "log")),
        ("/api/v1/namespaces/x/pods/y", ("", "v1", "pods", "x", "y", "")),
        ("/api/v1/namespaces/x/pods", ("", "v1", "pods", "x", "", "")),
        ("/api/v1/namespaces/x/pods/", ("", "v1", "pods", "x", "", "")),
        ("/api/v1/pods", ("", "v1", "pods", "", "", "")),
        ("/api/v1/nodes/n", ("", "v1", "nodes", "", "n", "")),
        ("/api/v1/nodes/n/proxy/a/b", ("", "v1", "nodes", "", "n", "proxy/a/b")),
        ("/api/v1/namespaces", ("", "v1", "namespaces", "", "", "")),
        ("/api/v1/namespaces/x", ("", "v1", "namespaces", "", "x", "")),
        ("/api/v1/namespaces/x/status", ("", "v1", "namespaces", "", "x", "status")),
        ("/api/v1/namespaces/x/finalize", ("", "v1", "namespaces", "", "x", "finalize")),
        ("/api/v1/namespaces/x/status/y", ("", "v1", "status", "x", "y", "")),
        ("/apis/apps/v1/namespaces/x/deployments/y/scale", ("apps", "v1", "deployments", "x", "y", "scale")),
        ("/apis/a.b/v1/things", ("a.b", "v1", "things", "", "", "")),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Aa",
            ("rbac.authorization.k8s.io", "v1", "clusterroles", "", "system:a", ""),
        ),
        ("/api/v1/watch/pods", None),
        ("/apis/apps/v1/watch/namespaces/x/deployments", None),
        ("/api/v1/namespaces//pods", None),
        ("/api/v1", None),
        ("/apis/apps/v1", None),
        ("/apis", None),
        ("/version", None),
        ("/", None),
        ("", None),
        ("/openapi/v2", None),
    ],
)
def test_paths(path: str, expected: tuple[str, ...] | None) -> None:
    assert parse_path(path) == (ResourcePath(*expected) if expected else None)


@pytest.mark.parametrize(
    ("target", "watch", "long"),
    [
        ("/api/v1/pods?watch=true", True, True),
        ("/api/v1/pods?limit=5&watch", True, True),
        ("/api/v1/pods?watch=0", False, False),
        ("/api/v1/pods?watch=false", False, False),
        ("/api/v1/namespaces/x/pods/y/log?follow=true", False, True),
        ("/api/v1/namespaces/x/pods/y/exec?command=a", False, True),
        ("/api/v1/namespaces/x/services/y/proxy/path", False, True),
        ("/api/v1/namespaces/x/pods/y/status", False, False),
        ("/metrics", False, True),
    ],
)
def test_requests_that_may_take_long(target: str, watch: bool, long: bool) -> None:
    request = h11.Request(method="GET", target=target, headers=[("Host", "x")])
    assert (is_watch(request), is_long_running(request)) == (watch, long)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        (b"application/json", b'{"kind": "Pod"}', {"kind": "Pod"}),
        (b"", b'{"kind": "Pod"}', {"kind": "Pod"}),
        (b"application/yaml; charset=utf-8", b"kind: Pod\nd: 2024-01-01", {"kind": "Pod", "d": "2024-01-01"}),
        (b"Application/Apply-Patch+YAML", b"{kind: Pod}", {"kind": "Pod"}),
        (b"application/json", b"kind: Pod", None),
        (b"application/yaml", b"a: [", None),
        (b"application/yaml", b"\xff", None),
        (b"application/json", b"[]", None),
        (b"application/json", b'{"metadata": []}', None),
        (b"application/json", b"", None),
        (b"application/yaml", b"[" * 100_000, None),
    ],
)
def test_bodies(content_type: bytes, body: bytes, expected: object) -> None:
    assert read_object(media_type(content_type), body) == expected


def test_objects_of_an_answer() -> None:
    one, other = {"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}
    assert [*objects_in(one)] == [one]
    assert [*objects_in({"kind": "PodList", "items": [one, other, None]})] == [one, other]
    assert [*objects_in({"kind": "Table", "rows": [{"object": one}, {"object": None}, {}, None]})] == [one]
    assert [*objects_in({"kind": "Table", "rows": None})] == []


@for_any(path=st.text(), query=st.text(), body=st.binary())
def test_nothing_is_too_odd(path: str, query: str, body: bytes) -> None:
    """What a client sends is not understood at worst."""
    parse_path(path)
    parse_selector(query)
    for media in ("application/json", "application/yaml", MEDIA_TYPE, "image/png"):
        read_object(media, body)
    framed = read_object(MEDIA_TYPE, b"k8s\0" + body)
    if framed is not None:
        owned = with_owner(framed, OWNER, namespace="ns", namespaced=True)
        assert read_object(MEDIA_TYPE, add_owner(b"k8s\0" + body, framed, owned)) == owned


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(b"Content-Length", b"5"), (b"Connection", b"content-length, X-Hop"), (b"X-Hop", b"1")], {b"Content-Length"}),
        ([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], {b"Transfer-Encoding"}),
        ([(b"Authorization", b"Bearer run"), (b"Proxy-Authorization", b"x")], set()),
    ],
)
def test_the_api_server_sees_a_body_end_where_the_proxy_does(given: Headers, expected: set[bytes]) -> None:
    sent = for_upstream(given, urlsplit("https://api:6443"), [(b"authorization", b"Bearer own")])
    assert {name for name, _ in sent} == expected | {b"Host", b"authorization"}
    assert (b"authorization", b"Bearer own") in sent


def test_an_answer_with_an_encoding_has_no_length() -> None:
    assert end_to_end([(b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"date", b"x")]) == [
        (b"date", b"x")
    ]
