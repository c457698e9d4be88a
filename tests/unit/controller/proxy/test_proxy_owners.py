"""What the API proxy adds to what a play creates, and which kinds it has watched."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support.api.proxy_harness import WATCH, Client, FakeApiServer, ServerRequest

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.proxy import ApiProxy, forward, handler
from taskflow_controller.proxy.protobuf import MEDIA_TYPE, read_object
from taskflow_controller.triggers.dependents import DependentKind

OWNER = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"namespace": "ns", "name": "w", "uid": "u1"}}
REFERENCE = {"apiVersion": "example.com/v1", "kind": "Widget", "name": "w", "uid": "u1"}
ANNOTATIONS = {
    "operator-sdk/primary-resource": "ns/w",
    "operator-sdk/primary-resource-type": "Widget.example.com",
}
CONFIG_MAPS = "/api/v1/namespaces/ns/configmaps"
CONFIG_MAP = DependentKind(GroupVersionKind("", "v1", "ConfigMap"), True, True)


def resource(name: str, kind: str, *, namespaced: bool = True, verbs: str = "create get list watch") -> dict[str, Any]:
    return {"name": name, "kind": kind, "namespaced": namespaced, "verbs": verbs.split()}


class Kinds:
    """Notes what is to be watched."""

    def __init__(self) -> None:
        self.ensured: list[DependentKind] = []

    def wants(self, watch: Watch, kind: DependentKind) -> bool:
        return watch is WATCH and kind not in self.ensured

    def watched(self, gvk: GroupVersionKind) -> None:
        """Nothing is read from a cache here."""

    def ensure(self, watch: Watch, kind: DependentKind) -> None:
        if self.wants(watch, kind):
            self.ensured.append(kind)


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    server = FakeApiServer()
    server.kinds = {
        "/api/v1": [
            resource("configmaps", "ConfigMap"),
            resource("namespaces", "Namespace", namespaced=False),
            resource("pods", "Pod"),
            resource("pods/log", "Pod"),
        ],
        "/apis/example.com/v1": [resource("widgets", "Widget")],
        "/apis/authentication.k8s.io/v1": [resource("tokenreviews", "TokenReview", namespaced=False, verbs="create")],
    }
    yield server
    server.close()


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


@pytest.fixture
def play(server: FakeApiServer, kinds: Kinds, tmp_path: Path) -> Iterator[Client]:
    proxy = ApiProxy(client.ApiClient(client.Configuration(host=server.url)))
    proxy.start(kinds)
    with proxy.session(WATCH, OWNER, tmp_path) as kubeconfig:
        yield Client(kubeconfig)
    proxy.stop()


def sent(server: FakeApiServer, method: str) -> dict[str, Any]:
    """The body that the API server got."""
    (request,) = [request for request in server.requests if request.command == method]
    assert int(request.headers["Content-Length"]) == len(request.body)
    return json.loads(request.body)


def config_map(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "b"}}


def test_what_is_created_gets_its_owner_and_is_watched(play: Client, server: FakeApiServer, kinds: Kinds) -> None:
    assert play.json("POST", CONFIG_MAPS + "?fieldManager=x", config_map(name="a")) == config_map(
        name="a", ownerReferences=[REFERENCE]
    )
    assert sent(server, "POST") == config_map(name="a", ownerReferences=[REFERENCE])
    assert kinds.ensured == [CONFIG_MAP]
    play.json("POST", CONFIG_MAPS, config_map(name="b"))
    assert [request.path for request in server.requests].count("/api/v1") == 1


@pytest.mark.parametrize(
    ("path", "body", "metadata"),
    [
        (CONFIG_MAPS, config_map(generateName="a-"), {"generateName": "a-", "ownerReferences": [REFERENCE]}),
        (CONFIG_MAPS, {"data": {}}, {"ownerReferences": [REFERENCE]}),
        (CONFIG_MAPS.replace("/ns/", "/other/"), config_map(name="a"), {"name": "a", "annotations": ANNOTATIONS}),
        ("/api/v1/namespaces", {"metadata": {"name": "a"}}, {"name": "a", "annotations": ANNOTATIONS}),
        (
            "/apis/example.com/v1/namespaces/ns/widgets",
            {"kind": "Widget", "metadata": {"name": "other"}},
            {"name": "other", "ownerReferences": [REFERENCE]},
        ),
    ],
)
def test_how_the_owner_is_named(
    play: Client, server: FakeApiServer, path: str, body: dict[str, Any], metadata: dict[str, Any]
) -> None:
    play.json("POST", path, body)
    assert sent(server, "POST") == {**body, "metadata": metadata}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", CONFIG_MAPS, config_map(name="a", ownerReferences=[{**REFERENCE, "controller": True}])),
        ("POST", CONFIG_MAPS + "/a/scale", config_map(name="a")),
        ("POST", "/api/v1/namespaces/ns/pods/p/log", {"kind": "Pod"}),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"kind": "TokenReview", "spec": {}}),
        ("POST", "/apis/example.com/v1/namespaces/ns/widgets", {"kind": "Widget", "metadata": {"name": "w"}}),
        ("PUT", "/apis/example.com/v1/namespaces/ns/widgets/w", {"kind": "Widget", "metadata": {"name": "w"}}),
        ("POST", CONFIG_MAPS, {"kind": "List", "items": [config_map(name="a")]}),
        ("POST", CONFIG_MAPS, [1]),
        ("POST", "/api/v1/namespaces/ns/unknowns", config_map(name="a")),
        ("POST", "/apis/none.example.com/v1/nones", {"metadata": {"name": "a"}}),
        ("PATCH", CONFIG_MAPS + "/a", {"metadata": {"labels": {"a": "b"}}}),
        ("DELETE", CONFIG_MAPS + "/a", {"kind": "DeleteOptions"}),
    ],
)
def test_what_passes_as_it_is(play: Client, server: FakeApiServer, method: str, path: str, body: Any) -> None:
    play.json(method, path, body)
    assert sent(server, method) == body


@pytest.mark.parametrize("media", ["application/cbor", "application/apply-patch+cbor"])
def test_a_body_that_cannot_be_read_passes(
    play: Client, server: FakeApiServer, caplog: pytest.LogCaptureFixture, media: str
) -> None:
    method, path = ("POST", CONFIG_MAPS) if media == "application/cbor" else ("PUT", CONFIG_MAPS + "/a")
    body = b"\xd9\xd9\xf7\xff"
    play.send(method, path, body, {"Content-Type": media}).read()
    assert server.requests[-1].body == body
    assert "ConfigMap (v1) gets no owner" in caplog.text


def protobuf(name: bytes, *more: tuple[int, bytes]) -> bytes:
    """A ConfigMap of a few bytes, as kubectl would send it."""

    def field(number: int, content: bytes) -> bytes:
        size = bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
        return bytes([number << 3 | 2]) + size + content

    metadata = b"".join(field(number, content) for number, content in ((1, name), *more))
    raw = field(1, metadata) + b"\x10\x05" + b"\x1d1234" + b"\x2112345678" + field(6, b"data")
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, b"ConfigMap")) + field(2, raw) + field(3, b"") + field(4, b"")


def test_protobuf_is_added_to(play: Client, server: FakeApiServer) -> None:
    headers = {"Content-Type": MEDIA_TYPE}
    play.send("POST", CONFIG_MAPS, protobuf(b"a"), headers).read()
    body = server.requests[-1].body
    assert read_object(body) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "ownerReferences": [REFERENCE]},
    }
    assert b"\x10\x05\x1d1234\x2112345678" in body and int(server.requests[-1].headers["Content-Length"]) == len(body)
    play.send("POST", CONFIG_MAPS, body, headers).read()  # it is there already
    assert server.requests[-1].body == body
    play.send("POST", CONFIG_MAPS.replace("/ns/", "/other/"), protobuf(b"b"), headers).read()
    assert read_object(server.requests[-1].body)["metadata"] == {"name": "b", "annotations": ANNOTATIONS}


@pytest.mark.parametrize(
    "body", [b"", b"k8s\0", b"k8s\0\x12\xff", b"k8s\0\x13", b"k8s\0" + b"\x12\x04\x0a\x02\x0a\x05", protobuf(b"\xff")]
)
def test_protobuf_that_is_none_passes(play: Client, server: FakeApiServer, body: bytes) -> None:
    play.send("POST", CONFIG_MAPS, body, {"Content-Type": MEDIA_TYPE}).read()
    assert server.requests[-1].body == body


def test_yaml_is_read_too(play: Client, server: FakeApiServer) -> None:
    body = b"kind: ConfigMap\nmetadata: {name: a}\ndata: {a: 2024-01-01}"
    play.send("POST", CONFIG_MAPS, body, {"Content-Type": "application/yaml"}).read()
    metadata = {"name": "a", "ownerReferences": [REFERENCE]}
    assert sent(server, "POST") == {"kind": "ConfigMap", "metadata": metadata, "data": {"a": "2024-01-01"}}
    assert server.requests[-1].headers["Content-Type"] == "application/yaml"


def test_a_body_in_chunks_is_read_too(play: Client, server: FakeApiServer) -> None:
    body = json.dumps(config_map(name="a")).encode()
    play.send("POST", CONFIG_MAPS, iter([body[:9], body[9:]]), encode_chunked=True).read()
    assert sent(server, "POST")["metadata"]["ownerReferences"] == [REFERENCE]


def test_a_body_that_is_too_large_is_refused(
    play: Client, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "MAX_BODY", 100)
    status = play.json("POST", CONFIG_MAPS, config_map(name="a" * 200))
    assert (status["code"], status["reason"]) == (413, "RequestEntityTooLarge")


OWNED = config_map(name="a", namespace="ns", ownerReferences=[REFERENCE])
FOREIGN = config_map(name="a", namespace="ns")
APPLY = {"Content-Type": "application/apply-patch+yaml"}


@pytest.mark.parametrize(
    ("method", "headers", "existing", "given", "expected"),
    [
        # one that creates
        ("PUT", {}, None, {"name": "a"}, [REFERENCE]),
        ("PATCH", APPLY, None, {"name": "a"}, [REFERENCE]),
        # one that would lose the owner: a replacement, and an apply of what was applied with it
        ("PUT", {}, OWNED, {"name": "a"}, [REFERENCE]),
        ("PATCH", APPLY, OWNED, {"name": "a"}, [REFERENCE]),
        # an owner that is taken away on purpose
        ("PUT", {}, OWNED, {"name": "a", "ownerReferences": []}, []),
        # what others created does not become the owner's
        ("PUT", {}, FOREIGN, {"name": "a"}, None),
        ("PATCH", APPLY, FOREIGN, {"name": "a"}, None),
    ],
)
def test_a_request_that_creates_or_replaces(
    play: Client,
    server: FakeApiServer,
    *,
    method: str,
    headers: dict[str, str],
    existing: dict[str, Any] | None,
    given: dict[str, Any],
    expected: Any,
) -> None:
    def answer(request: ServerRequest) -> None:
        if request.command == "GET":
            assert request.headers["Impersonate-User"] == "jane"
            request.reply(existing or {"kind": "Status"}, 200 if existing else 404)
        else:
            request.reply(request.body)

    server.answer = answer
    fields = {"Impersonate-User": "jane", **headers}
    answered = play.json(method, CONFIG_MAPS + "/a?force=true", config_map(**given), fields)
    assert answered["metadata"].get("ownerReferences") == expected
    assert sent(server, method) == answered


def test_who_may_not_read_is_not_helped(play: Client, server: FakeApiServer) -> None:
    server.answer = lambda request: request.reply(request.body or b"{}", 403 if request.command == "GET" else 200)
    assert "ownerReferences" not in play.json("PUT", CONFIG_MAPS + "/a", config_map(name="a"))["metadata"]


@pytest.mark.parametrize(
    ("method", "path", "answered"),
    [
        ("GET", CONFIG_MAPS + "/a", OWNED),
        ("GET", CONFIG_MAPS, {"kind": "ConfigMapList", "items": [FOREIGN, OWNED]}),
        ("GET", "/api/v1/configmaps", {"kind": "Table", "rows": [{"cells": [], "object": OWNED}]}),
        ("PATCH", CONFIG_MAPS + "/a", OWNED),
        ("GET", CONFIG_MAPS + "/b", config_map(name="b", annotations=ANNOTATIONS)),
        ("GET", CONFIG_MAPS + "/c", config_map(name="c", ownerReferences=[{**REFERENCE, "name": "v", "uid": "u9"}])),
    ],
)
def test_a_kind_is_watched_once_an_owned_object_is_seen(
    play: Client, server: FakeApiServer, kinds: Kinds, *, method: str, path: str, answered: dict[str, Any]
) -> None:
    """After a restart of the controller a play may find all in place, and create nothing."""
    server.answer = lambda request: request.reply(FOREIGN if request.path.endswith("/none") else answered)
    play.json("GET", CONFIG_MAPS + "/none")
    assert kinds.ensured == []
    assert play.json(method, path, {} if method == "PATCH" else None) == answered
    assert kinds.ensured == [CONFIG_MAP]
    assert server.requests[-1].headers["Accept-Encoding"] == "identity"
    play.send(method, path, headers={"Accept-Encoding": "gzip"}).read()  # from now on there is no need to look
    assert server.requests[-1].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        (CONFIG_MAPS + "/a", 404, b'{"kind": "Status"}'),
        (CONFIG_MAPS + "/a", 409, json.dumps(OWNED).encode()),
        (CONFIG_MAPS + "/a", 200, b"not JSON"),
        (CONFIG_MAPS + "/a", 200, b"[]"),
        (CONFIG_MAPS, 200, json.dumps({"items": [OWNED], "padding": "x" * 200_000}).encode()),
    ],
)
def test_other_answers_pass_unseen(
    play: Client,
    server: FakeApiServer,
    kinds: Kinds,
    monkeypatch: pytest.MonkeyPatch,
    *,
    path: str,
    status: int,
    body: bytes,
) -> None:
    monkeypatch.setattr(handler, "LOOK_BYTES", 100_000)
    server.answer = lambda request: request.reply(body, status)
    answer = play.send("GET", path)
    assert (answer.status, answer.read()) == (status, body)
    assert kinds.ensured == []


def test_a_kind_that_was_just_installed(play: Client, server: FakeApiServer, kinds: Kinds) -> None:
    body = {"kind": "Gadget", "metadata": {"name": "g"}}
    path = "/apis/example.com/v1/namespaces/ns/gadgets"
    play.json("POST", path, body)
    server.kinds["/apis/example.com/v1"].append(resource("gadgets", "Gadget"))
    assert "ownerReferences" in play.json("POST", path, body)["metadata"]
    assert kinds.ensured == [DependentKind(GroupVersionKind("example.com", "v1", "Gadget"), True, True)]


def test_no_object_is_created_without_its_owner_when_the_kinds_are_not_told(
    play: Client, server: FakeApiServer
) -> None:
    server.kinds = {}
    server.answer = lambda request: request.reply({"kind": "Status"}, 503)
    status = play.json("POST", CONFIG_MAPS, config_map(name="a"))
    assert status["code"] == 502 and "does not say which kinds /api/v1 has: HTTP 503" in status["message"]
    assert all(request.command == "GET" for request in server.requests)


def test_a_run_for_several_resources_has_no_owner(server: FakeApiServer, kinds: Kinds, tmp_path: Path) -> None:
    proxy = ApiProxy(client.ApiClient(client.Configuration(host=server.url)))
    proxy.start(kinds)
    with proxy.session(WATCH, None, tmp_path) as kubeconfig:
        assert Client(kubeconfig).json("POST", CONFIG_MAPS, config_map(name="a")) == config_map(name="a")
    proxy.stop()
    assert kinds.ensured == []


def test_the_api_server_s_tables_are_not_waited_for_without_end(
    play: Client, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ANSWER_SECONDS", 0.2)
    release = threading.Event()
    server.answer = lambda request: (release.wait(20), request.reply())[0] and None
    status = play.json("GET", "/apis/not.there/v1/namespaces/x/things")
    release.set()
    assert (status["code"], status["reason"]) == (504, "Timeout")
