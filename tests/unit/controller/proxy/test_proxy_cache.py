"""Reads that the API proxy answers from what the informers know, and those that it must not."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from support.api.proxy_harness import WATCH, Client, FakeApiServer, ServerRequest

from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.informers import WatchedKind
from taskflow_controller.kube.kinds import GroupVersionKind, Object, namespace_and_name
from taskflow_controller.kube.store import Store, Stored
from taskflow_controller.proxy import ApiProxy, freshness
from taskflow_controller.triggers.dependents import DependentKind

CONFIG_MAP, NODE = GroupVersionKind("", "v1", "ConfigMap"), GroupVersionKind("", "v1", "Node")
OWNER = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"namespace": "ns", "name": "w", "uid": "u1", "resourceVersion": "90"},
}
PATH = "/api/v1/namespaces/ns/configmaps"


def config_map(name: str = "a", version: str = "100", namespace: str = "ns", **labels: str) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid of {name}", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, "labels": labels}, "data": {"é": "ü"}}


class FakeInformer:
    """Has come to a version; None while it is not synced."""

    def __init__(self, version: int | None = 100, namespace: str | None = None) -> None:
        self.version, self.namespace = version, namespace


class Kinds:
    """ConfigMaps, Nodes and Widgets are watched, by an informer each."""

    def __init__(self) -> None:
        self.kinds = {
            gvk: WatchedKind(gvk, Store(), [FakeInformer()])  # type: ignore[list-item]
            for gvk in (CONFIG_MAP, NODE, WATCH.gvk)
        }
        self.watch_namespaces()

    def watch_namespaces(self, *namespaces: str) -> list[Any]:
        """Have an informer of ConfigMaps for each of these namespaces; none: for all."""
        informers = [FakeInformer(namespace=namespace) for namespace in namespaces or (None,)]
        self.kinds[CONFIG_MAP] = WatchedKind(CONFIG_MAP, Store(), informers)  # type: ignore[arg-type]
        return informers

    def put(self, *objects: Object, gvk: GroupVersionKind = CONFIG_MAP) -> None:
        for obj in objects:
            self.kinds[gvk].store.put(namespace_and_name(obj), Stored.of(obj))

    def watched(self, gvk: GroupVersionKind) -> WatchedKind | None:
        return self.kinds.get(gvk)

    def wants(self, watch: Watch, kind: DependentKind) -> bool:
        return False

    def ensure(self, watch: Watch, kind: DependentKind) -> None:
        pass


@pytest.fixture
def kinds() -> Kinds:
    return Kinds()


@pytest.fixture
def server() -> Iterator[FakeApiServer]:
    server = FakeApiServer()
    names = {"configmaps": "ConfigMap", "pods": "Pod", "nodes": "Node"}
    server.kinds = {
        "/api/v1": [
            {"name": name, "kind": kind, "namespaced": kind != "Node", "verbs": ["get", "list", "watch"]}
            for name, kind in names.items()
        ],
        "/apis/example.com/v1": [
            {"name": "widgets", "kind": "Widget", "namespaced": True, "verbs": ["get", "list", "watch"]}
        ],
    }
    server.answer = lambda request: request.reply({"from": "the API server"})
    yield server
    server.close()


@pytest.fixture
def watch() -> Watch:
    return WATCH


@pytest.fixture
def play(server: FakeApiServer, kinds: Kinds, watch: Watch, tmp_path: Path) -> Iterator[Client]:
    proxy = ApiProxy(client.ApiClient(client.Configuration(host=server.url)))
    proxy.start(kinds)
    with proxy.session(watch, OWNER, tmp_path) as kubeconfig:
        yield Client(kubeconfig)
    proxy.stop()


def cached(play: Client, path: str, headers: dict[str, str] | None = None) -> Any:
    """Return what the cache answers, None if it was the API server."""
    answer = play.send("GET", path, headers=headers)
    content = json.loads(answer.read())
    if content == {"from": "the API server"}:
        assert "X-Cache" not in answer.headers
        return None
    assert (answer.status, answer.headers["X-Cache"]) == (200, "HIT")
    assert answer.headers["Content-Type"] == "application/json"
    return content


def test_one_object(play: Client, server: FakeApiServer, kinds: Kinds) -> None:
    kinds.put(config_map())
    assert cached(play, PATH + "/a") == config_map()
    assert cached(play, PATH + "/a?labelSelector=&fieldSelector=&resourceVersion=0") == config_map()
    assert [request.path for request in server.requests] == ["/api/v1"]
    assert cached(play, PATH + "/b") is None  # it may have been created a moment ago


def test_lists(play: Client, kinds: Kinds) -> None:
    one, two, other = config_map("b", app="x"), config_map("a", app="y"), config_map("c", namespace="other", app="x")
    kinds.put(one, two, other)
    listed = cached(play, PATH)
    assert listed == {
        "kind": "ConfigMapList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "100"},
        "items": [two, one],
    }
    assert cached(play, PATH + "?labelSelector=app%3Dx&fieldSelector=")["items"] == [one]
    assert cached(play, "/api/v1/configmaps?labelSelector=app=x&limit=2")["items"] == [one, other]
    assert cached(play, PATH + "?labelSelector=none")["items"] == []
    assert cached(play, "/api/v1/configmaps?limit=2") is None  # it would need pages


def test_a_cluster_scoped_kind(play: Client, kinds: Kinds) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "uid": "u", "resourceVersion": "5"}}
    kinds.put(node, gvk=NODE)
    assert cached(play, "/api/v1/nodes/n") == node
    assert cached(play, "/api/v1/nodes")["items"] == [node]


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (PATH + "?fieldSelector=metadata.name=a", {}),
        (PATH + "?continue=x", {}),
        (PATH + "?limit=many", {}),
        (PATH + "?resourceVersion=50", {}),
        (PATH + "?labelSelector=a>1", {}),
        (PATH + "?watch=true", {}),
        (PATH + "/a?pretty=true", {}),
        (PATH + "/a?limit=5", {}),
        (PATH + "/a/status", {}),
        ("/api/v1/namespaces/ns/pods", {}),  # of a kind that is not watched
        (PATH + "/a", {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}),
        (PATH + "/a", {"Accept": "application/vnd.kubernetes.protobuf,application/json"}),
        (PATH + "/a", {"Accept": "application/yaml"}),
        (PATH + "/a", {"Impersonate-User": "jane"}),
    ],
)
def test_what_the_api_server_answers(play: Client, kinds: Kinds, path: str, headers: dict[str, str]) -> None:
    kinds.put(config_map())
    assert cached(play, path, headers) is None
    for accepted in ("application/json", "application/json, */*", "*/*"):
        assert cached(play, PATH + "/a", {"Accept": accepted})


@pytest.mark.parametrize("watch", [dataclasses.replace(WATCH, blacklist=frozenset({CONFIG_MAP}))])
def test_a_blacklisted_kind_is_not_read_from_the_cache(play: Client, kinds: Kinds) -> None:
    kinds.put(config_map())
    assert cached(play, PATH + "/a") is None


def test_an_informer_that_is_not_up_to_date_is_not_asked(play: Client, kinds: Kinds) -> None:
    (informer,) = kinds.watch_namespaces()
    kinds.put(config_map())
    informer.version = None
    assert cached(play, PATH + "/a") is None and cached(play, PATH) is None
    informer.version = 100
    assert cached(play, PATH + "/a") and cached(play, PATH)


def test_only_the_watched_namespaces_are_answered_for(play: Client, kinds: Kinds) -> None:
    kinds.watch_namespaces("ns", "two")
    kinds.put(config_map())
    assert cached(play, PATH)["items"] == [config_map()]
    assert cached(play, PATH.replace("/ns/", "/two/"))["items"] == []
    assert cached(play, PATH.replace("/ns/", "/three/")) is None
    assert cached(play, "/api/v1/configmaps") is None


def test_the_runs_own_resource_is_no_older_than_it_was_given(play: Client, kinds: Kinds) -> None:
    kinds.put({**OWNER, "spec": {}}, gvk=WATCH.gvk)
    path = "/apis/example.com/v1/namespaces/ns/widgets/w"
    kinds.kinds[WATCH.gvk].informers[0].version = 89  # type: ignore[misc]
    assert cached(play, path) is None
    kinds.kinds[WATCH.gvk].informers[0].version = 90  # type: ignore[misc]
    assert cached(play, path) == {**OWNER, "spec": {}}


def written(server: FakeApiServer, body: dict[str, Any], status: int = 200) -> None:
    """Have the API server answer writes so, and nothing else."""

    def answer(request: ServerRequest) -> None:
        if request.command == "GET":
            request.reply({"from": "the API server"})
        else:
            request.reply(body, status)

    server.answer = answer


@pytest.mark.parametrize(
    ("method", "path"), [("POST", PATH), ("PUT", PATH + "/a"), ("PATCH", PATH + "/a"), ("PUT", PATH + "/a/status")]
)
def test_a_run_reads_what_it_wrote(play: Client, server: FakeApiServer, kinds: Kinds, method: str, path: str) -> None:
    (informer,) = kinds.watch_namespaces()
    kinds.put(config_map())
    assert cached(play, PATH + "/a")
    written(server, config_map(version="105"))
    play.json(method, path, {"kind": "ConfigMap"})
    assert cached(play, PATH + "/a") is None and cached(play, PATH) is None
    informer.version = 104
    assert cached(play, PATH + "/a") is None
    informer.version = 105
    kinds.put(config_map(version="105"))
    assert cached(play, PATH + "/a") == config_map(version="105")
    written(server, config_map(version="105"))  # a write that changes nothing
    play.json("PATCH", PATH + "/a", {})
    assert cached(play, PATH + "/a")


def test_other_namespaces_need_not_catch_up(play: Client, server: FakeApiServer, kinds: Kinds) -> None:
    kinds.watch_namespaces("ns", "two")
    written(server, config_map(version="105"))
    play.json("POST", PATH, {"kind": "ConfigMap"})
    assert cached(play, PATH) is None
    assert cached(play, PATH.replace("/ns/", "/two/"))


STATUS = {"kind": "Status", "status": "Success"}


@pytest.mark.parametrize(
    "answer",
    [
        {**STATUS, "details": {"name": "a", "uid": "uid of a"}},
        config_map(version="100"),  # its last state
        config_map(version="105"),  # it has finalizers, or a time to end
    ],
)
@pytest.mark.parametrize("end", ["gone", "another", "changed"])
def test_a_run_does_not_read_what_it_deleted(
    play: Client, server: FakeApiServer, kinds: Kinds, answer: dict[str, Any], end: str
) -> None:
    (informer,) = kinds.watch_namespaces()
    kinds.put(config_map(), config_map("b"))
    written(server, answer)
    play.json("DELETE", PATH + "/a")
    informer.version = 110
    if answer["kind"] == "ConfigMap":
        kinds.put(config_map(version="100"))
    assert cached(play, PATH + "/a") is None and cached(play, PATH) is None and cached(play, PATH + "/b") is None
    if end == "gone":
        kinds.kinds[CONFIG_MAP].store.pop(("ns", "a"))
    elif end == "another":
        other = config_map()
        other["metadata"]["uid"] = "another"
        kinds.put(other)
    else:
        kinds.put(config_map(version="106"))
        if answer["kind"] == "Status":  # it was gone at once, so this is from before
            assert cached(play, PATH) is None
            return
    assert cached(play, PATH) and cached(play, PATH + "/b")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("DELETE", PATH, {"kind": "ConfigMapList", "metadata": {"resourceVersion": "100"}, "items": []}, 200),
        ("DELETE", PATH + "/a", STATUS, 200),
        ("POST", PATH + "/a/eviction", STATUS, 201),
        ("POST", PATH, config_map(version="not a number"), 201),
        ("POST", PATH, {}, 201),
        ("PUT", PATH + "/a", STATUS, 409),  # the play knows by this that there is a newer one
        ("PATCH", PATH + "/a", STATUS, 404),
        ("POST", PATH, STATUS, 500),
    ],
)
def test_after_a_write_that_leaves_doubts(
    play: Client,
    server: FakeApiServer,
    kinds: Kinds,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    path: str,
    body: dict[str, Any],
    status: int,
) -> None:
    kinds.put(config_map())
    written(server, body, status)
    play.json(method, path, {"kind": "ConfigMap"})
    assert cached(play, PATH + "/a") is None
    monkeypatch.setattr(freshness, "DOUBT_SECONDS", -1.0)
    play.json(method, path, {"kind": "ConfigMap"})
    assert cached(play, PATH + "/a")  # the doubt passes


def test_after_a_write_without_an_answer(play: Client, server: FakeApiServer, kinds: Kinds) -> None:
    kinds.put(config_map())
    server.answer = lambda request: setattr(request, "close_connection", True)
    assert play.json("POST", PATH, {"kind": "ConfigMap"})["code"] == 502
    server.answer = lambda request: request.reply({"from": "the API server"})
    assert cached(play, PATH + "/a") is None


@pytest.mark.parametrize("status", [400, 403, 422])
def test_after_a_write_that_was_refused(play: Client, server: FakeApiServer, kinds: Kinds, status: int) -> None:
    kinds.put(config_map())
    written(server, STATUS, status)
    play.json("PUT", PATH + "/a", {"kind": "ConfigMap"})
    assert cached(play, PATH + "/a")


def test_a_write_that_is_never_seen_does_not_count_for_ever(
    play: Client, server: FakeApiServer, kinds: Kinds, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the API server was restored from a backup: its versions start over."""
    monkeypatch.setattr(freshness, "CATCH_UP_SECONDS", -1.0)
    kinds.put(config_map())
    written(server, config_map(version="900"))
    play.json("PATCH", PATH + "/a", {})
    assert cached(play, PATH + "/a")
    written(server, {**STATUS, "details": {"uid": "uid of a"}})
    play.json("DELETE", PATH + "/a")
    assert cached(play, PATH + "/a")
