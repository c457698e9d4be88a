"""The API proxy before a real API server, with kubectl and the Python client."""

import contextlib
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from support.controller.controller_harness import GROUP, VERSION, Crd, until

from taskflow_controller.config.playbooks import Command
from taskflow_controller.config.watches import Watch
from taskflow_controller.kube.api import ApiServer
from taskflow_controller.kube.kinds import GroupVersionKind
from taskflow_controller.proxy import ApiProxy
from taskflow_controller.triggers.dependents import DependentKinds

CONFIG_MAP = GroupVersionKind("", "v1", "ConfigMap")


@pytest.fixture
def owner(crd: Crd, namespace: str) -> dict[str, Any]:
    return crd.create(namespace, size=1)


@pytest.fixture
def watch(crd: Crd) -> Watch:
    return Watch(
        GroupVersionKind(GROUP, VERSION, crd.kind),
        command=Command(playbook="play.yml"),
        vars={},
        reconcile_period=None,
        max_runner_artifacts=20,
        snake_case_parameters=True,
        watch_annotations_changes=False,
        dependents=(),
        max_concurrent=None,
        verbosity=None,
    )


@pytest.fixture
def kinds(api: client.ApiClient) -> Iterator[DependentKinds]:
    kinds = DependentKinds(ApiServer(api), (), lambda watch, change: None)
    yield kinds
    kinds.stop()


@pytest.fixture
def proxy(api: client.ApiClient, kinds: DependentKinds) -> Iterator[ApiProxy]:
    proxy = ApiProxy(api)
    proxy.start(kinds)
    yield proxy
    proxy.stop()


@pytest.fixture
def kubeconfig(proxy: ApiProxy, watch: Watch, owner: dict[str, Any], tmp_path: Path) -> Iterator[Path]:
    """A kubeconfig as a run gets it."""
    with proxy.session(watch, owner, tmp_path) as path:
        yield path


class Kubectl:
    """The real kubectl, with a run's kubeconfig."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self._command = ["kubectl", "--namespace", namespace]

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [*self._command, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            env=self.environment,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextlib.contextmanager
    def following(self, *arguments: str) -> Iterator[Iterator[str]]:
        """Yield the lines of a command that does not end."""
        command = [*self._command, *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment) as process:
            assert process.stdout
            try:
                yield iter(process.stdout.readline, "")
            finally:
                process.kill()


@pytest.fixture
def kubectl(kubeconfig: Path, namespace: str) -> Kubectl:
    return Kubectl(kubeconfig, namespace)


def reference(owner: dict[str, Any]) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }


def owners(kubectl: Kubectl, name: str) -> Any:
    return json.loads(kubectl("get", "configmap", name, "-o", "json"))["metadata"].get("ownerReferences")


def test_kubectl_creates_changes_and_deletes(kubectl: Kubectl, owner: dict[str, Any], kinds: DependentKinds) -> None:
    mine = [reference(owner)]
    kubectl("create", "configmap", "a", "--from-literal=x=1")
    assert owners(kubectl, "a") == mine
    assert [informer.gvk for informer in kinds.informers()] == [CONFIG_MAP]
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}, "data": {"x": "1"}}
    for size in ("1", "2"):
        kubectl("apply", "-f", "-", stdin=json.dumps({**manifest, "data": {"x": size}}))
        assert owners(kubectl, "b") == mine
    manifest["metadata"]["name"] = "c"  # type: ignore[index]
    for size in ("1", "2"):
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps({**manifest, "data": {"x": size}}))
        assert owners(kubectl, "c") == mine
    kubectl("replace", "-f", "-", stdin=json.dumps({**manifest, "data": {"x": "3"}}))
    assert owners(kubectl, "c") == mine
    kubectl("patch", "configmap", "a", "-p", '{"data": {"x": "2"}}')
    assert kubectl("get", "configmap", "a", "-o", "jsonpath={.data.x}") == "2"
    table = kubectl("get", "configmaps")
    assert table.split()[:3] == ["NAME", "DATA", "AGE"] and "a " in table
    assert kubectl("get", "configmaps", "--field-selector", "metadata.name=a", "-o", "name") == "configmap/a\n"
    kubectl("delete", "configmap", "a", "--wait")
    assert "a " not in kubectl("get", "configmaps")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"  # its answer is stored nowhere


def test_what_others_created_stays_theirs(
    kubectl: Kubectl, api: client.ApiClient, namespace: str, owner: dict[str, Any]
) -> None:
    client.CoreV1Api(api).create_namespaced_config_map(namespace, {"metadata": {"name": "theirs"}})
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "theirs"}, "data": {"x": "1"}}
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    kubectl("replace", "-f", "-", stdin=json.dumps(manifest))
    assert owners(kubectl, "theirs") is None


def test_the_owner_in_another_namespace_and_of_a_cluster_scoped_object(
    kubectl: Kubectl, kubeconfig: Path, owner: dict[str, Any], other_namespace: str, api: client.ApiClient
) -> None:
    elsewhere = Kubectl(kubeconfig, other_namespace)
    elsewhere("create", "configmap", "a")
    name = f"{other_namespace}-role"
    kubectl("create", "clusterrole", name, "--verb=get", "--resource=pods")
    created = [
        json.loads(elsewhere("get", "configmap", "a", "-o", "json")),
        json.loads(kubectl("get", "clusterrole", name, "-o", "json")),
    ]
    kubectl("delete", "clusterrole", name)
    metadata = owner["metadata"]
    for obj in created:
        assert obj["metadata"]["annotations"] == {
            "operator-sdk/primary-resource": f"{metadata['namespace']}/{metadata['name']}",
            "operator-sdk/primary-resource-type": f"{owner['kind']}.{GROUP}",
        }
        assert "ownerReferences" not in obj["metadata"]


def test_kubectl_watches(kubectl: Kubectl) -> None:
    with kubectl.following("get", "configmaps", "--watch", "-o", "name") as lines:
        kubectl("create", "configmap", "seen")
        assert any(line == "configmap/seen\n" for line in lines)


@pytest.fixture
def pod(kubectl: Kubectl) -> str:
    script = "echo begun; trap exit TERM; while true; do sleep 0.2; echo on; done"
    container = {"name": "c", "image": "busybox:1.28", "command": ["sh", "-c", script]}
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }
    kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=110s")
    return "p"


def test_logs_and_exec(kubectl: Kubectl, kubeconfig: Path, pod: str, namespace: str) -> None:
    assert kubectl("logs", pod).startswith("begun\n")
    with kubectl.following("logs", "--follow", "--tail=1", pod) as lines:
        # The last line there is may be the first that there was.
        assert [next(lines) for _ in range(4)][1:] == ["on\n"] * 3
    text = "both ways\n" * 50_000
    assert kubectl("exec", "-i", pod, "--", "cat", stdin=text) == text
    # The Python client, as kubernetes.core.k8s_exec uses it, changes to WebSocket where kubectl changes to SPDY.
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    core = client.CoreV1Api(client.ApiClient(configuration))
    command = ["sh", "-c", "echo by websocket; exit 3"]
    session = stream(
        core.connect_get_namespaced_pod_exec, pod, namespace, command=command, stdout=True, _preload_content=False
    )
    session.run_forever(timeout=60)
    assert (session.read_stdout(), session.returncode) == ("by websocket\n", 3)


def test_the_secret_is_needed_and_dies(proxy: ApiProxy, watch: Watch, owner: dict[str, Any], tmp_path: Path) -> None:
    with proxy.session(watch, owner, tmp_path) as path:
        content = json.loads(path.read_text())
        configuration = client.Configuration()
        config.load_kube_config(str(path), client_configuration=configuration)
        core = client.CoreV1Api(client.ApiClient(configuration))
        core.read_namespace("default")
    with pytest.raises(ApiException) as failure:
        core.read_namespace("default")
    assert failure.value.status == 401
    content["users"][0]["user"]["token"] = "guessed"
    (tmp_path / "forged").write_text(json.dumps(content))
    kubectl = ["kubectl", "--kubeconfig", str(tmp_path / "forged"), "get", "namespaces"]
    done = subprocess.run(kubectl, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "You must be logged in" in done.stderr


def test_what_a_request_through_it_costs(kubeconfig: Path) -> None:
    """For the report only: machines differ too much for a limit. By turns, for they are seldom idle."""
    clients, times = [], [[], []]  # type: ignore[var-annotated]
    for path in (os.environ["KUBECONFIG"], str(kubeconfig)):
        configuration = client.Configuration()
        config.load_kube_config(path, client_configuration=configuration)
        clients.append(client.CoreV1Api(client.ApiClient(configuration)))
    for _ in range(200):
        for core, taken in zip(clients, times, strict=True):
            started = time.perf_counter()
            assert core.read_namespace("default", _preload_content=False).read()
            taken.append(time.perf_counter() - started)
    direct, proxied = (statistics.median(taken) * 1000 for taken in times)
    print(f"GET, median of 200: direct {direct:.2f} ms, through the proxy {proxied:.2f} ms")


def direct_and_cached(kubectl: Kubectl, path: str) -> tuple[Any, Any]:
    """What the API server and what the proxy's cache say; the first asks by a parameter that no cache answers."""
    direct = json.loads(kubectl("get", "--raw", f"{path}{'&' if '?' in path else '?'}pretty=false"))
    return direct, json.loads(kubectl("get", "--raw", path))


def without_names(answer: dict[str, Any]) -> dict[str, Any]:
    """Lists of built-in kinds leave these two out of their items; and a list's version goes on all the time."""
    items = [{key: item[key] for key in item if key not in ("kind", "apiVersion")} for item in answer["items"]]
    return {**answer, "items": items, "metadata": {}}


def test_a_cached_read_is_as_the_api_servers(
    kubectl: Kubectl, kubeconfig: Path, kinds: DependentKinds, namespace: str
) -> None:
    for name in ("b", "a"):
        kubectl("create", "configmap", name, f"--from-literal=x={name}")
        kubectl("label", "configmap", name, f"name={name}")
    until(lambda: kinds.informers()[0].version, what="the informer's first list")
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    until(lambda: is_cached(kubeconfig, path), what="a cached answer")
    direct, cached = direct_and_cached(kubectl, f"{path}/a")
    assert direct == cached
    for query in ("", "?labelSelector=name%3Da", "?labelSelector=name+in+(a,b)", "?labelSelector=!name"):
        assert is_cached(kubeconfig, path + query)
        direct, cached = direct_and_cached(kubectl, path + query)
        assert without_names(direct) == without_names(cached)
        assert cached["metadata"]["resourceVersion"].isdigit()


def sender(kubeconfig: Path) -> Callable[..., tuple[int, Any, bool]]:
    """Return a function that sends JSON and returns (status, JSON, whether from the cache)."""
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    api = client.ApiClient(configuration)

    def send(method: str, path: str, body: Any = None) -> tuple[int, Any, bool]:
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = api.param_serialize(method, path, header_params=headers, body=body, auth_settings=["BearerToken"])
        response = api.call_api(*request)
        response.read()
        return response.status, json.loads(response.data), response.response.headers.get("X-Cache") == "HIT"

    return send


def is_cached(kubeconfig: Path, path: str) -> bool:
    return sender(kubeconfig)("GET", path)[2]


def test_a_run_reads_its_own_writes(kubeconfig: Path, kinds: DependentKinds, namespace: str) -> None:
    """Over and over, each read at once after the write, while the cache follows."""
    send = sender(kubeconfig)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    hits = 0
    for number in range(60):
        name = f"{path}/c{number % 3}"
        if number < 3:
            send("POST", path, {"metadata": {"name": f"c{number}"}, "data": {"n": str(number)}})
        elif number % 10 == 9:
            assert send("DELETE", name)[0] == 200
            status, listed, hit = send("GET", path)
            assert name.rpartition("/")[2] not in [item["metadata"]["name"] for item in listed["items"]]
            assert send("GET", name)[0] == 404
            send("POST", path, {"metadata": {"name": f"c{number % 3}"}, "data": {"n": str(number)}})
        else:
            send("PATCH", name, {"data": {"n": str(number)}})
        status, read, hit = send("GET", name)
        assert (status, read["data"]["n"]) == (200, str(number))
        hits += hit
        status, listed, hit = send("GET", path)
        assert str(number) in [item.get("data", {}).get("n") for item in listed["items"]]
        hits += hit
        if number % 4 == 0:
            until(lambda name=name: send("GET", name)[2], what="the cache's catching up")
            assert send("GET", name)[1] == read
    print(f"of 120 reads right after a write the cache answered {hits}")


def test_what_a_cached_read_costs(kubeconfig: Path, kinds: DependentKinds, namespace: str) -> None:
    """For the report only."""
    send = sender(kubeconfig)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    send("POST", path, {"metadata": {"name": "a"}})
    until(lambda: send("GET", f"{path}/a")[2], what="a cached answer")
    times = []
    for _ in range(200):
        started = time.perf_counter()
        assert send("GET", f"{path}/a")[2]
        times.append(time.perf_counter() - started)
    print(f"GET from the cache, median of 200: {statistics.median(times) * 1000:.2f} ms")
