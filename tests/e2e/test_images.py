"""Steps that run what their image says: how it is looked up, and what is said when it can't be."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from installation import install_variables, run_playbook, wait_ready
from support import OPERATOR_NAMESPACE, ROOT, Cluster, condition, make_task

sys.path.insert(0, str(ROOT / "tests" / "integration" / "plugins"))

from registries import PASSWORD, USER, Authority, Registry, Repository

CLUSTER_DIR = Path(os.environ.get("KUBECONFIG", "")).parent
FACTS = json.loads((CLUSTER_DIR / "cluster.json").read_text()) if (CLUSTER_DIR / "cluster.json").exists() else {}
# The node's address, which Pods reach too.
NODE = "10.244.0.1"

native = pytest.mark.skipif(FACTS.get("provider") != "native", reason="the node is not this machine")


@pytest.fixture
def repository() -> Repository:
    """A repository in the cluster's registry, from which both the nodes and the operator take Docker Hub's images."""
    host = FACTS["registry_push"]
    return Repository(SimpleNamespace(host=host, url=f"http://{host}", session=requests.Session()))


def lookup_condition(cluster: Cluster, name: str) -> dict:
    """Wait until a Task is Pending because of a look-up that failed, and return its condition."""
    return condition(cluster.pending(name, "ImageLookupFailed"))


def test_an_image_with_neither_entrypoint_nor_cmd_fails_the_task_and_is_named(cluster, repository):
    repository.push_image("v1")
    image = f"docker.io/{repository.name}:v1"
    cluster.apply(make_task("empty", {"name": "a", "image": image}))
    task = cluster.finished("empty")
    assert (task["status"]["status"], condition(task)["reason"]) == ("Failure", "InvalidSpec")
    assert f"the image {image} has neither ENTRYPOINT nor CMD: say what to run" in condition(task)["message"]
    assert cluster.pods_of("empty") == []


def test_an_image_that_is_not_there_is_named_with_what_each_registry_said(cluster, repository):
    image = f"docker.io/{repository.name}:v9"
    cluster.apply(make_task("missing", {"name": "a", "image": image}))
    found = lookup_condition(cluster, "missing")
    assert f"the ENTRYPOINT of image {image} could not be read: " in found["message"]
    assert f"{FACTS['registry_pull']}: it has no such image or tag (HTTP 404 Not Found)" in found["message"]
    assert "Check the image's name and tag; or give the step a command" in found["message"]


class SilentHost:
    """A host that takes connections and never says a word. ``connections`` are the times at which they came."""

    def __init__(self) -> None:
        self._listener = socket.create_server((NODE, 0))
        self.name = f"{NODE}:{self._listener.getsockname()[1]}"
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


@native
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
    """A registry with users and a CA of its own, and the operator with that CA.

    Its image is busybox, which is on the node under this name already: the node does not know the CA.
    """
    authority = Authority(tmp_path_factory.mktemp("ca"), NODE)
    with Registry(tmp_path_factory.mktemp("private"), authority, users=True, address=NODE) as registry:
        repository = registry.repository()
        repository.push_image("v1", Entrypoint=["sh", "-c"], Cmd=["echo this is private"])
        image = f"{repository.image}:v1"
        have_on_node("docker.io/library/busybox:1.28", image)
        before = install_variables()
        install({**before, "taskflow_operator_registry_ca": Path(authority.ca).read_text()})
        yield SimpleNamespace(host=registry.host, image=image)
        install(before)
        containerd("images", "rm", image)


def install(variables: dict[str, object]) -> None:
    """Install the operator anew."""
    run_playbook("install", variables)
    wait_ready()


def containerd(*words: str) -> None:
    """Run ctr on the images of the cluster's node."""
    command = ["ctr", "--address", str(CLUSTER_DIR / "containerd" / "sock"), "--namespace", "k8s.io", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def have_on_node(source: str, name: str) -> None:
    """Have an image of the cluster's registry on the node under another name."""
    place = source.replace("docker.io", FACTS["registry_pull"])
    containerd("images", "pull", "--plain-http", place)
    containerd("images", "tag", place, name)


def make_pull_secret(cluster: Cluster, name: str, host: str, password: str = PASSWORD) -> None:
    """Make a pull secret as `kubectl create secret docker-registry` does."""
    words = [f"--docker-server={host}", f"--docker-username={USER}", f"--docker-password={password}"]
    cluster.run("create", "secret", "docker-registry", name, *words)


@native
def test_pull_secret_of_the_task(cluster, private):
    make_pull_secret(cluster, "mine", private.host)
    cluster.apply(
        make_task("secret", {"name": "a", "image": private.image}, podTemplate={"imagePullSecrets": [{"name": "mine"}]})
    )
    task = cluster.finished("secret")
    assert task["status"]["status"] == "Successful"
    assert cluster.logs(task["status"]["podName"], "a") == "this is private\n"


@native
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


@native
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
