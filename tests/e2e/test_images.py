"""Steps that run what their image says: how it is looked up, and what is said when it can't be."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import json
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import OPERATOR_NAMESPACE, Cluster, condition, make_task, shell
from support.facts import facts, needs_own_cluster
from support.installation import install_variables, run_playbook, wait_ready
from support.nodes import ctr, node_run
from support.registry.registries import MANIFEST, PASSWORD, USER, Authority, Registry, Repository

pytestmark = needs_own_cluster
# Each time that a node pulls, it reads here what is said of the registry.
REGISTRIES_OF_NODE = "/etc/containerd/certs.d"
PULL_SECRET = {"imagePullSecrets": [{"name": "mine"}]}


def lookup_condition(cluster: Cluster, name: str) -> dict:
    """Wait until a Task is Pending because of a look-up that failed, and return its condition."""
    return condition(cluster.pending(name, "ImageLookupFailed"))


class SilentHost:
    """A host that takes connections and never says a word. ``connections`` are the times at which they came."""

    def __init__(self) -> None:
        self._listener = socket.create_server((facts().gateway, 0))
        self.name = f"{facts().gateway}:{self._listener.getsockname()[1]}"
        self.connections: list[float] = []
        self._held: list[socket.socket] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._held.append(self._listener.accept()[0])
                self.connections.append(time.monotonic())

    def close(self) -> None:
        for taken in (self._listener, *self._held):
            taken.close()


@pytest.fixture
def silent() -> Iterator[SilentHost]:
    host = SilentHost()
    yield host
    host.close()


def test_a_registry_that_does_not_answer_keeps_no_other_task_waiting(cluster, silent):
    """There are more Tasks with such an image than the operator runs playbooks at once.

    Whoever connects waits some seconds. One does, and nobody else for ten seconds at least: the others fail at once.
    """
    names = [f"stuck-{number}" for number in range(6)]
    for name in names:
        cluster.apply(make_task(name, {"name": "a", "image": f"{silent.name}/{name}"}))
    cluster.apply(make_task("free", {"name": "a", "image": "devopscube/kubernetes-job-demo:latest", "args": ["1"]}))
    assert cluster.finished("free")["status"]["status"] == "Successful"
    for name in names:
        said = f"the ENTRYPOINT of image {silent.name}/{name} could not be read: {silent.name}: no answer within "
        assert said in lookup_condition(cluster, name)["message"]
        assert cluster.pods_of(name) == []
    pauses = [second - first for first, second in itertools.pairwise(silent.connections)]
    assert all(pause >= 10 for pause in pauses), pauses


@pytest.fixture(scope="module")
def private(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A registry with users and a CA of its own, which the nodes and the operator know. ``image`` is one of its own."""
    authority = Authority(tmp_path_factory.mktemp("ca"), facts().gateway)
    folder = tmp_path_factory.mktemp("private")
    with Registry(folder, authority, users=True, address=facts().gateway) as registry, contextlib.ExitStack() as stack:
        repository = registry.repository()
        push_shell(repository, "v1", ["sh", "-c"], ["echo this is private"])
        image = f"{repository.image}:v1"
        ca = Path(authority.ca).read_text()
        for node in facts().nodes:
            stack.enter_context(trusted_by(node, registry, ca))
            # One that is not there is no failure.
            stack.callback(ctr, node, "images", "rm", image)
        before = install_variables()
        stack.callback(install, before)
        install({**before, "taskflow_operator_registry_ca": ca})
        yield SimpleNamespace(registry=registry, host=registry.host, image=image)


def install(variables: dict[str, object]) -> None:
    """Install the operator anew."""
    run_playbook("install", variables)
    wait_ready()


@contextlib.contextmanager
def trusted_by(node: str, registry: Registry, ca: str) -> Iterator[None]:
    """Have a node know a registry's CA."""
    folder = f"{REGISTRIES_OF_NODE}/{registry.host}"
    told = f'server = "{registry.url}"\n[host."{registry.url}"]\n  ca = "{folder}/ca.crt"\n'
    try:
        for name, content in (("ca.crt", ca), ("hosts.toml", told)):
            node_run(node, "sh", "-c", f"mkdir -p {folder} && cat > {folder}/{name}", stdin=content)
        yield
    finally:
        node_run(node, "rm", "-r", folder)


def push_shell(repository: Repository, tag: str, entrypoint: list[str], cmd: list[str]) -> None:
    """Push an image that has a shell, and nothing else."""
    default = Cluster("default")
    name = f"busybox-{time.time_ns()}"
    spec = {"restartPolicy": "Never", "containers": [{"image": "busybox:1.28", **shell("a", "base64 /bin/busybox")}]}
    default.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    default.wait("the Pod to end", lambda: default.get("pod", name)["status"]["phase"] == "Succeeded")
    program = base64.b64decode(default.logs(name, "a"))
    default.run("delete", "pod", name, "--wait=false")
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        entry = tarfile.TarInfo("bin/sh")
        entry.size, entry.mode = len(program), 0o755
        archive.addfile(entry, io.BytesIO(program))
    config = {
        "architecture": machine(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint, "Cmd": cmd, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": repository.push_blob(json.dumps(config).encode()),
        "layers": [
            {**repository.push_blob(layer.getvalue()), "mediaType": "application/vnd.oci.image.layer.v1.tar"},
        ],
    }
    repository.push_manifest(tag, manifest)


def machine() -> str:
    """Return the architecture of the cluster's nodes, as images have it."""
    labels: dict[str, str] = Cluster("default").list("nodes")[0]["metadata"]["labels"]
    return labels["kubernetes.io/arch"]


def make_pull_secret(cluster: Cluster, name: str, host: str, password: str = PASSWORD) -> None:
    """Make a pull secret as `kubectl create secret docker-registry` does."""
    words = [f"--docker-server={host}", f"--docker-username={USER}", f"--docker-password={password}"]
    cluster.run("create", "secret", "docker-registry", name, *words)


def test_pull_secret_of_the_task(cluster, private):
    make_pull_secret(cluster, "mine", private.host)
    cluster.apply(make_task("secret", {"name": "a", "image": private.image}, podTemplate=PULL_SECRET))
    task = cluster.finished("secret")
    assert task["status"]["status"] == "Successful"
    assert cluster.logs(task["status"]["podName"], "a") == "this is private\n"


def test_pull_secret_of_the_service_account_in_the_legacy_form(cluster, private):
    entry = {f"https://{private.host}": {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}}
    data = {".dockercfg": base64.b64encode(json.dumps(entry).encode()).decode()}
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "old"},
            "type": "kubernetes.io/dockercfg",
            "data": data,
        }
    )
    cluster.patch("serviceaccount", "default", {"imagePullSecrets": [{"name": "old"}]})
    cluster.apply(make_task("account", {"name": "a", "image": private.image}))
    task = cluster.finished("account")
    assert task["status"]["status"] == "Successful"
    assert cluster.logs(task["status"]["podName"], "a") == "this is private\n"


def test_without_a_pull_secret_or_with_a_wrong_one_it_is_said(cluster, private):
    cluster.apply(make_task("none", {"name": "a", "image": private.image}))
    said = f"image {private.image} could not be read: {private.host}: it asks for credentials (HTTP 401), and neither"
    assert said in lookup_condition(cluster, "none")["message"]
    make_pull_secret(cluster, "wrong", private.host, "wrong-word")
    secrets = {"imagePullSecrets": [{"name": "wrong"}, {"name": "gone"}]}
    cluster.apply(make_task("wrong", {"name": "a", "image": private.image}, podTemplate=secrets))
    message = lookup_condition(cluster, "wrong")["message"]
    assert f'{private.host}: it refuses the credentials of pull secret "wrong" (HTTP 401)' in message
    assert f'pull secret "gone" is not there in namespace {cluster.namespace}' in message
    assert "wrong-word" not in Cluster(OPERATOR_NAMESPACE).run("logs", "deployment/taskflow-operator").stdout
    # It is tried again, and goes on as soon as the secret is there.
    make_pull_secret(cluster, "gone", private.host)
    assert cluster.finished("wrong")["status"]["status"] == "Successful"


def test_an_image_with_neither_entrypoint_nor_cmd_fails_the_task_and_is_named(cluster, private):
    repository = private.registry.repository()
    repository.push_image("v1")
    image = f"{repository.image}:v1"
    make_pull_secret(cluster, "mine", private.host)
    cluster.apply(make_task("empty", {"name": "a", "image": image}, podTemplate=PULL_SECRET))
    task = cluster.finished("empty")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "InvalidSpec")
    assert f"the image {image} has neither ENTRYPOINT nor CMD: say what to run" in condition(task)["message"]
    assert cluster.pods_of("empty") == []


def test_an_image_that_is_not_there_is_named_with_what_its_registry_said(cluster, private):
    image = f"{private.registry.repository().image}:v9"
    make_pull_secret(cluster, "mine", private.host)
    cluster.apply(make_task("missing", {"name": "a", "image": image}, podTemplate=PULL_SECRET))
    found = lookup_condition(cluster, "missing")
    assert f"the ENTRYPOINT of image {image} could not be read: " in found["message"]
    assert f"{private.host}: it has no such image or tag (HTTP 404 Not Found)" in found["message"]
    assert "Check the image's name and tag; or give the step a command" in found["message"]
